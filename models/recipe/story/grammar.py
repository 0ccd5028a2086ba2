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


class Teller:
    """One story's voice: its random choices, the values of its slots and what it has told so far."""

    def __init__(self, rng: random.Random, slots: dict[str, str]):
        self.rng = rng
        self.slots = slots
        self.told: set[str] = set()
        self._used: set[str] = set()

    def say(self, templates: list[str]) -> str:
        """One sentence (or a few) from a list of templates, never the same template twice in a story."""
        fresh = [t for t in templates if t not in self._used] or templates
        template = self.rng.choice(fresh)
        self._used.add(template)
        return polish(self.expand(template))

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
    text = re.sub(r"\b([Aa]) (?=[aeiou])(?!uni|use|one\b)", r"\1n ", text)
    return re.sub(r'(^"?|[.!?] "?|[.]" "?)([a-z])', lambda m: m[1] + m[2].upper(), text)


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
