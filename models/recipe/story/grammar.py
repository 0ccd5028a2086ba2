"""The little template language that every sentence of the corpus is written in.

    [a|b|c]   one of the alternatives, which may nest; an empty one makes the text optional
    {slot}    a value of the story's plan: a string, or another template

A template is parsed once and told many times. Which slots were told is remembered, so that a question is only asked about
what the story really said.
"""

import random
import re
from functools import lru_cache

Node = str | tuple  # text, ("slot", name) or ("choice", [sequence, ...])


@lru_cache(maxsize=None)
def parse(template: str) -> tuple[Node, ...]:
    nodes, end = _sequence(template, 0)
    assert end == len(template), f"unbalanced template: {template!r}"
    return nodes


LONG, RARE = 12, 6.0  # words; decimal digits
DIGITS = {"Hn": 1.8, "Fn": 1.8, "obj": 1.8, "look": 1.3, "trait": 1.4, "ftrait": 1.2, "home": 4.4,
          "spot": 2.9, "spot2": 2.9, "spot3": 2.9, "high": 2.8, "place": 1.3, "tool": 2.1, "lure": 1.3, "mishap": 1.0,
          "mishap2": 1.0, "barrier_say": 1.2, "giver": 1.0, "lie": 0.9, "bake": 0.9, "a_look": 1.2, "b_look": 1.2}


class Teller:
    """One story's voice: its random choices, the values of its slots and what it has told so far."""

    def __init__(self, rng: random.Random, slots: dict[str, str]):
        self.rng = rng
        self.slots = slots
        self.told: set[str] = set()
        self._used: set[str] = set()

    def say(self, templates: list[str]) -> str:
        """One sentence (or a few) from a list of templates, never the same template twice in a story.

        A sentence long enough to be noticed when it comes again must be one of a million; else another is drawn.
        """
        drawn = []
        for _ in range(12):
            fresh = [t for t in templates if t not in self._used] or templates
            template, told = self.rng.choice(fresh), set(self.told)
            text = polish(self.expand(template))
            commonest = min((self.rarity(s) for s in sentences(text) if len(s.split()) > LONG), default=9.9)
            drawn.append((commonest, len(drawn), text, template, self.told))
            self.told = told
            if commonest >= RARE:
                break
        _, _, text, template, self.told = max(drawn)
        self._used.add(template)
        return text

    def rarity(self, sentence: str) -> float:
        """Decimal digits of how many sentences like this one the plans can give."""
        return sum(digits for slot, digits in DIGITS.items() if slot in self.slots and self.slots[slot] in sentence)

    def expand(self, template: str) -> str:
        out: list[str] = []
        self._walk(parse(template), out)
        return "".join(out)

    def _walk(self, nodes: tuple[Node, ...], out: list[str]) -> None:
        for node in nodes:
            if isinstance(node, str):
                out.append(node)
            elif node[0] == "choice":
                self._walk(self.rng.choice(node[1]), out)
            else:
                self.told.add(node[1])
                self._walk(parse(self.slots[node[1]]), out)


def polish(text: str) -> str:
    """Spaces, "a" or "an", and a capital at the head of each sentence."""
    text = re.sub(r" +", " ", text).strip()
    text = re.sub(r" ([,.!?])", r"\1", text)
    text = re.sub(r"\b([Aa]) (?=[aeiou]|honest)(?!uni|use|one\b)", r"\1n ", text)
    return re.sub(r'(^"?|[.!?] "?|[.]" "?)([a-z])', lambda m: m[1] + m[2].upper(), text)


def sentences(text: str) -> list[str]:
    """Roughly: quoted speech that ends a sentence ends it here too."""
    return [s for part in text.split("\n") for s in re.split(r'(?<=[.!?])"? (?=["A-Z])', part) if s]


def _sequence(template: str, at: int) -> tuple[tuple[Node, ...], int]:
    nodes: list[Node] = []
    while at < len(template) and template[at] not in "|]":
        if template[at] == "[":
            options = []
            while template[at] != "]":
                option, at = _sequence(template, at + 1)
                options.append(option)
            nodes.append(("choice", options))
            at += 1
        elif template[at] == "{":
            end = template.index("}", at)
            nodes.append(("slot", template[at + 1 : end]))
            at = end + 1
        else:
            end = re.compile(r"[\[\]|{]|$").search(template, at).start()
            nodes.append(template[at:end])
            at = end
    return tuple(nodes), at
