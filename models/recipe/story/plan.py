"""Planning: everything that must stay true in a story is chosen here, before a word of it is told."""

import random
from dataclasses import dataclass, field

from . import world


@dataclass
class Character:
    name: str
    kind: str
    trait: str
    he: str  # "he" or "she"


@dataclass
class Plan:
    plot: str
    hero: Character
    helper: Character
    object: str  # the noun
    look: str  # its adjective
    place: str
    slots: dict[str, str] = field(default_factory=dict)  # every fixed phrase, by name


def character(rng: random.Random, traits: list[str], avoid: "Character | None" = None) -> Character:
    while True:
        kind, name = rng.choice(list(world.CAST.items()))
        he = "he" if name in world.HE else "she"
        if avoid is None or (kind != avoid.kind and (he != avoid.he or rng.random() < 0.35)):
            return Character(name, kind, rng.choice(traits), he)


def rename(rng: random.Random, who: Character, taken: str) -> None:
    """Another name than the cast's, as a user may wish it: a friend's, a common one, or one that nobody has heard."""
    own = who.name
    while who.name in (own, taken):
        who.name, who.he = any_name(rng)


def any_name(rng: random.Random) -> tuple[str, str]:
    """A name, and "he" or "she"."""
    draw, he = rng.random(), rng.choice(["he", "she"])
    if draw < 0.4:
        name = rng.choice(list(world.CAST.values()))
        return name, "he" if name in world.HE else "she"
    if draw < 0.8:
        return rng.choice(world.OTHER_HE if he == "he" else world.OTHER_SHE), he
    return "".join(rng.choices(world.SYLLABLES, k=rng.choice([1, 2]))).capitalize() + rng.choice(world.ENDINGS), he


def draw(rng: random.Random, plot: str, allowed: str = "", renamed: int = 0) -> Plan:
    """The cast, the thing and the place. `allowed` lists the kinds of thing the plot can use ("" is any); so many of the two
    have another name than the cast gives them."""
    hero = character(rng, world.TRAITS)
    helper = character(rng, world.HELPER_TRAITS, hero)
    if renamed > 0:
        rename(rng, hero, helper.name)
    if renamed > 1:
        rename(rng, helper, hero.name)
    nouns = [n for n, row in world.OBJECTS.items() if not allowed or set(allowed) & set(row.split("|")[0])]
    noun = rng.choice(nouns)
    look = rng.choice(world.COLOURS if rng.random() < 0.6 else world.LOOKS)
    plan = Plan(plot, hero, helper, noun, look, rng.choice(list(world.PLACES)))
    plan.slots = slots(rng, plan)
    return plan


def slots(rng: random.Random, plan: Plan) -> dict[str, str]:
    """The phrases that every plot may use. A name may be replaced by "the little fox" or, on purpose, never be."""
    hero, helper, noun = plan.hero, plan.helper, plan.object
    kinds, use, broke, fix = world.OBJECTS[noun].split("|")
    his = {"he": "his", "she": "her"}
    him = {"he": "him", "she": "her"}
    house = f"a {rng.choice(world.SIZES)} {rng.choice(world.HOUSES)}"
    home = f"in {house} {rng.choice(world.NEAR)} the {rng.choice(world.LANDMARKS)}"
    a_look, b_look = rng.sample(world.SPOT_ADJ, 2)
    low = [low_spot(rng) for _ in range(3)]
    named = rng.choice([f"the {hero.kind}", f"the {hero.trait} {hero.kind}"])
    f_named = rng.choice([f"the {helper.kind}", f"the {helper.trait} {helper.kind}"])
    return {
        "Hn": hero.name, "H": f"[{hero.name}|{hero.name}|{hero.name}|{hero.name}|{named}]", "kind": hero.kind,
        "trait": hero.trait, "he": hero.he, "him": him[hero.he], "his": his[hero.he],
        "Fn": helper.name, "F": f"[{helper.name}|{helper.name}|{helper.name}|{helper.name}|{f_named}]",
        "fkind": helper.kind, "ftrait": helper.trait, "fhe": helper.he, "fhim": him[helper.he], "fhis": his[helper.he],
        "obj": noun, "look": plan.look, "aobj": "a {look} {obj}",
        "theobj": "the [{obj}|{obj}|{look} {obj}]", "hisobj": "{his} [{obj}|{obj}|{look} {obj}]",
        "use": use, "broke": broke, "fix": fix, "home": home,
        "giver": (giver := rng.choice(world.GIVERS)), "donor": giver,
        "place": plan.place, "view": world.PLACES[plan.place], "at": f"{world.AT[plan.place]} the {plan.place}",
        "spot": low[0], "spot2": low[1], "spot3": low[2], "high": high_spot(rng),
        "a_look": a_look, "b_look": b_look,
        **FREE,
    }


def low_spot(rng: random.Random) -> str:
    where, things = rng.choice(world.LOW_SPOTS).split(":")
    thing = rng.choice(things.split(","))
    look = rng.choice(world.SPOT_ADJ)
    return f"{where} {look} {thing}" if where.endswith("two") else f"{where} a {look} {thing}"


def high_spot(rng: random.Random) -> str:
    where, things = rng.choice(world.HIGH_SPOTS).split(":")
    return f"{where} a {rng.choice(world.SPOT_ADJ)} {rng.choice(things.split(','))}"


# Phrases that are free to differ each time they are told.
FREE = {
    "weather": "[sunny|windy|cold|warm|rainy|foggy|snowy|bright|grey|frosty|quiet|stormy|golden|misty|hot]",
    "time": "[morning|afternoon|evening|day]",
    "day": "[[One|One|On a|On one] {weather} {time}|One {time}[ in [spring|summer|autumn|winter|May|June|April|October]|]]",
    "sad": "[sad|unhappy|upset|worried|gloomy|miserable|close to tears]",
    "glad": "[happy|glad|joyful|cheerful|merry|delighted|pleased|full of joy]",
    "ran": "[ran|hurried|walked|skipped|rushed|trotted|marched|crept|wandered]",
    "said": "[said|answered|replied|whispered|called|cried]",
    "slowly": "[slowly|quickly|carefully|quietly|at once|bravely|softly|gently]",
    "junk": "[a sleepy|an old|a cross|a fat|a small|a wet|a rusty|a surprised] [beetle|nail|toad|worm|sock|spider|leaf|shoe|"
            "tin|"
                  "caterpillar|acorn|bone|moth|cork|snail shell]",
    "food": "[warm|sweet|fresh|hot|tasty|crunchy] [bread|soup|pie|cake|pancakes|apples|berries|porridge|cookies|plums|nuts|"
            "honey]",
    "animalsound": "[birds sang|bees hummed|leaves rustled|frogs croaked|crickets chirped|clouds drifted by|rain fell|"
                   "sun shone|wind blew|doves cooed]",
    "smalltask": "[pick berries|watch the ducks|chase a butterfly|smell the roses|eat a sandwich|tie {his} shoe|"
                 "look at a rainbow|"
                 "feed the birds|climb a tree|talk to a snail|count the clouds|drink from the stream]",
}
