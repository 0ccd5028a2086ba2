"""Telling: from a plan to a story, and to the questions that may be asked about it."""

import random
from dataclasses import dataclass

from . import beats, causes, phrases, plan, plots_a, plots_b, world
from .grammar import Teller, polish

PLOTS = {"lost": plots_a.LOST, "stuck": plots_a.STUCK, "broken": plots_a.BROKEN, "quarrel": plots_a.QUARREL,
         "finder": plots_a.FINDER, "errand": plots_b.ERRAND, "learn": plots_b.LEARN, "truth": plots_b.TRUTH,
         "astray": plots_b.ASTRAY, "gift": plots_b.GIFT}


@dataclass
class Story:
    plan: plan.Plan
    text: str
    request: str  # what a user could have asked for
    questions: list[tuple[str, str, list[str]]]  # question, answer, the words a right answer contains


def story(rng: random.Random) -> Story:
    name = rng.choice(list(PLOTS))
    plot = PLOTS[name]
    # Who asks without a name gets the cast; who states one gets it, mostly another than the cast's.
    stated = rng.choices([0, 1, 2], [0.7, 0.25, 0.05])[0]
    renamed = stated if rng.random() < 0.75 else 0
    made = plan.draw(rng, name, plot.get("things", ""), renamed)
    _add_cause(rng, made)
    teller = Teller(rng, made.slots)
    text = "\n\n".join(" ".join(_paragraph(teller, part)) for part in plot["paragraphs"])
    # The plot is asked for in half of the requests.
    of_plot = rng.random() < 0.5
    requests = [[PLOT_REQUESTS, REQUESTS][not of_plot], NAMED_REQUESTS, BOTH_NAMED_REQUESTS][stated]
    ask = rng.choice([a for a in plot["ask"] if not stated or "{kind}" in a])
    if stated and "{Hn}" not in ask:
        ask = ask.replace("{kind}", "{kind} [named|called] {Hn}", 1)
    known = [q for q in plot["questions"] + COMMON if set(q[2]) <= teller.told]
    request = polish(teller.expand(rng.choice(requests).replace("{story}", ask)))
    questions = [(polish(teller.expand(q)), polish(teller.expand(a)), [keyword(made.slots[k]) for k in keys])
                 for q, a, keys in known]
    return Story(made, text, request, questions)


PLOT_REQUESTS = [
    "Tell me a story about {story}.",
    "[Tell|Please tell|Can you tell] me a [|short |nice |new ]story about {story}.",
    "[Write|Please write] [me |]a [|short |little |happy ]story about {story}.",
    "I [want|would like] [to hear |]a story about {story}.",
    "[A|One more] story about {story}[, please|].",
    "Tell me about {story}.",
]
REQUESTS = [
    "Tell me a story about a {kind} and a {obj}.", "Tell me a story about a {kind} and {aobj}.",
    "Tell me a story about a {trait} {kind} and a {obj}.",
    "[Tell|Write] me a story with a {kind}, a {fkind} and a {obj}.", "Tell me a story about a {kind} and a {fkind}.",
    "[A|About a] {kind} and a {obj}[, please|].", "[A|About a] {kind}[, please|].",
    "Tell me a story about a {obj}.", "Tell me a story about a {kind}.", "Tell me a [|bedtime |short |good ]story.",
]
NAMED_REQUESTS = [
    "Tell me a story about a {kind} [named|called] {Hn}.", "[Tell|Write] me a story about {Hn}[| the {kind}].",
    "Tell me a story about a {trait} {kind} [named|called] {Hn}.",
    "Tell me a story about a {kind} [named|called] {Hn} and {his} {obj}.",
    "[Tell|Write] me a story about {Hn} the {kind} and [a {obj}|{aobj}].", "Tell me a story about {Hn} and {aobj}.",
    "Tell me a story about a {kind} and a {obj}. The {kind} is called {Hn}.",
    "A story about a {kind} [named|called] {Hn}, please.",
    "Tell me a story about {story}.", "[Please tell|Can you tell|Write] me a story about {story}.",
]
BOTH_NAMED_REQUESTS = [
    "Tell me a story about {Hn} the {kind} and {Fn} the {fkind}.", "Tell me a story about {Hn} and {Fn}.",
    "Tell me a story about a {kind} [named|called] {Hn} and a {fkind} [named|called] {Fn}.",
]
COMMON = [
    ("What was the {kind}'s name?", "The {kind}'s name was {Hn}.", ["Hn"]),
    ("Who is the story about?", "The story is about {Hn} the {kind}.", ["Hn"]),
    ("Where did {Hn} live?", "{Hn} lived {home}.", ["home"]),
    ("What did {Hn} learn?", "{Hn} learned {lesson}.", ["lesson"]),
    ("What was the {fkind}'s name?", "The {fkind}'s name was {Fn}.", ["Fn", "fkind"]),
    ("Who gave {Hn} the {obj}?", "{Hn}'s {donor} gave {him} the {obj}.", ["donor"]),
    ("[What did the {obj} look like|How did the {obj} look]?", "The {obj} was {look}.", ["look"]),
]


def keyword(phrase: str) -> str:
    """The word by which an answer is known to be right: "the", "oak" of "at the top of an old oak"."""
    long = [word.strip('.,!?"') for word in phrase.split() if len(word) > 2]
    return long[-1]


def _paragraph(teller: Teller, parts: list) -> list[str]:
    said = []
    for beat, chance in parts:
        if teller.rng.random() < chance:
            if beat == "opening":
                beat = beats.OPENING if teller.rng.random() < 0.65 else beats.OTHER_OPENING
            said.append(teller.say(beat))
    return said


def _add_cause(rng: random.Random, made: plan.Plan) -> None:
    """The plot's own slots: why it went wrong, what stands in the way, what is learned."""
    s, plot = made.slots, PLOTS[made.plot]
    kinds = world.OBJECTS[made.object].split("|")[0]
    if made.plot == "lost":
        fitting = [c for c in plots_a.CAUSES.values() if c[0] == "|" or c[0] in kinds]
        _, s["hint"], s["reveal"], s["because"], s["lesson"] = causes.split(rng.choice(fitting))
    elif made.plot in ("stuck", "broken", "truth"):
        table = causes.STUCK if made.plot == "stuck" else causes.BROKEN
        _, s["causeline"], s["because"], s["lesson"] = rng.choice(causes.rows(table))
    if made.plot == "truth":  # the helper spoke last, so "he" would be unclear
        s["causeline"] = s["causeline"].replace("{He}", "{Hn}")
    s["lesson"] = causes.PLAIN.get(made.plot) or s["lesson"]
    s["barrier_say"], s["crossing"] = rng.choice(phrases.BARRIERS).split("|")
    s["lure"], s["lie"] = rng.choice(phrases.LURES), rng.choice(phrases.LIES)
    s["mishap"], s["mishap2"] = rng.sample(phrases.MISHAPS, 2)
    s["bake"], s["flowers"] = rng.choice(phrases.BAKED), rng.choice(phrases.FLOWERS)
    s["night"] = "[supper|the evening|tomorrow|the end of the day|next week]"
    s["days"] = rng.choice("three four five six seven eight nine ten twelve twenty many".split())
    s["day_low"] = f"one {rng.choice(['morning', 'evening', 'day', 'afternoon'])}"
    if made.plot == "astray":
        kind = rng.choice([k for k in "nv" if k in kinds])
        s["signal"], s["noticed"] = rng.choice(plots_b.SIGNALS[kind]), "heard" if kind == "n" else "saw"
    s["whenever"] = rng.choice(["when", "whenever", "every time"])
    s["tool"] = f"a {rng.choice(causes.LADDER_LOOKS)} {rng.choice(causes.LADDERS)}"
    s["himself"] = "himself" if s["he"] == "he" else "herself"
    # One wording each, so that question and story agree.
    fixed = Teller(rng, s)
    s["trouble"] = rng.choice(causes.split(plot["trouble"]))
    for key in ("he", "his", "fhe", "fhis", "at", "broke", "barrier_say"):
        s[key.capitalize()] = s[key][0].upper() + s[key][1:]
    s["task"] = s["smalltask"]
    for key in sorted({"because", "lesson", "trouble", "task"} & set(s)):
        s[key] = fixed.expand(s[key])
