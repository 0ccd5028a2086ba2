"""Chats: a story that was asked for, questions about it, and a little small talk."""

import random

from .grammar import Teller, polish
from .tell import Story

SMALL_TALK_SHARE = 0.02
SMALL_TALK = [
    ("[Hello|Hi|Hey|Good morning|Good evening][!|.|]", "[Hello|Hi there]! Would you like [to hear |]a story?"),
    ("[Who|What] are you?", "I am gust, a [tiny|very small] language model. I tell [short|little] stories."),
    ("What can you do?", "I can tell [short|little] stories and answer [easy |simple |]questions about them."),
    ("How are you[ today|]?", "I am [fine|very well], thank you. Shall I tell you a story?"),
    ("[Thank you|Thanks][!|.|]", "You are welcome! Would you like another story?"),
    ("[Bye|Goodbye|Good night][!|.|]", "[Goodbye|Good night]! [Sleep well|See you soon|Come back for another story]."),
    ("[Why is the sky blue|What is two plus two|Who is the king of France|How do planes fly]?",
     "I do not know. I am a [tiny|very small] model, and I only know [little|short] stories."),
]


def conversation(rng: random.Random, made: Story) -> list[str]:
    turns = [made.request, made.text]
    for question, answer, _ in rng.sample(made.questions, min(len(made.questions), rng.choice([0, 1, 2, 3, 3, 4]))):
        turns += [question, answer]
    if rng.random() < 0.05:
        turns += ["Thank you!", "You are welcome! Would you like another story?"]
    return turns


def small_talk(rng: random.Random) -> list[str]:
    teller = Teller(rng, {})
    turns = []
    for user, answer in rng.sample(SMALL_TALK, rng.choice([1, 2])):
        turns += [polish(teller.expand(user)), polish(teller.expand(answer))]
    return turns
