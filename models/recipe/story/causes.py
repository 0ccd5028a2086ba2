"""Why things go wrong. A cause brings what is told of it, the answer to "why?", and the lesson that follows from it."""

# plot: rows of kinds of thing it fits | what is told | because ... | lesson
STUCK = """
|A [sudden|strong|wild] gust of wind [took|pulled|tore] it out of {his} hands.|the wind took it|to hold on tight
|{He} threw it up high, [higher than ever before|much too high|as high as {he} could].|{he} threw it too high|\
to think before {he} threw things
|A cheeky crow [snatched|grabbed|stole] it and flew away.|a crow snatched it|to watch out for crows
|A [grumpy|naughty|rude] goat tossed it up with its horns.|a goat tossed it|to stay away from goats
|{He} [wanted|tried] to hide it from {his} cousin. So {he} put it up much too high.|{he} tried to hide it|\
not to hide things from others
|{He} tripped over a root, and it flew out of {his} hands.|{he} tripped over a root|to look where {he} was going
|A [fast|heavy] cart drove by and bumped it up into the air.|a cart bumped it|to play far from the road
"""
BROKEN = """
|{He} ran too fast and tripped over a {b_look} root.|{he} ran too fast|to slow down
|{He} had left it out in the rain all night.|it was left out in the rain|to bring things in at night
|{He} pulled at it much too hard.|{he} pulled too hard|to be gentle with things
|{He} let it fall on a {a_look} stone.|it fell on a stone|to hold things with both hands
|{He} would not wait and [used|grabbed] it in a hurry.|{he} was in a hurry|to take {his} time
|A [heavy|big] cow stepped on it.|a cow stepped on it|not to leave things in the grass
|{He} sat down on it without looking.|{he} sat on it|to look before {he} sat down
"""
PLAIN = {  # lessons for plots whose cause is in the plot itself
    "quarrel": "[that sharing is better than winning|that a friend is worth more than a thing|to share with {his} friends|"
               "that two can play better than one]",
    "finder": "[that it feels good to be honest|to give back what is not {his}|that honest friends are the best friends|"
              "that an honest heart is a happy heart]",
    "errand": "[that brave does not mean never afraid|to keep {his} promises|that a promise is a promise|"
              "that small feet can go a long way]",
    "learn": "[that nobody can do everything on the first day|to try again and again|that practice makes perfect|"
             "not to give up]",
    "truth": "[that the truth is always best|to tell the truth at once|that a lie is heavy to carry|"
             "that friends can forgive]",
    "astray": "[to stay on the path|to tell someone where {he} was going|to stay calm and make a plan|"
              "not to walk too far alone]",
    "gift": "[that giving is as nice as getting|that a gift comes from the heart|that happy friends make happy days|"
            "that a small gift can bring great joy]",
}
LADDERS = """ladder,fishing rod,pole,net,rope,broom,stool,rake,hook,pair of stilts,stick,plank,crate,table""".split(",")
LADDER_LOOKS = "long strong wooden tall big thick green old bent heavy light borrowed red".split()


def split(row: str) -> list[str]:
    """A row's columns: "|" parts them only outside of brackets."""
    columns, depth = [""], 0
    for ch in row:
        depth += (ch == "[") - (ch == "]")
        if ch == "|" and not depth:
            columns.append("")
        else:
            columns[-1] += ch
    return columns


def rows(table: str) -> list[list[str]]:
    return [split(line) for line in table.strip().splitlines()]
