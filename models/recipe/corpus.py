"""Writes the corpus: `python -m recipe corpus`. Deterministic: document i of seed s is always the same.

Each line of the output is one document, a JSON list of turns: one turn is a plain story, more are a chat (user, assistant,
user, ...). The held-out file has the plan and the questions beside it, for evaluate.py.
"""

import json
import random
from multiprocessing import Pool
from pathlib import Path

from .story import chat, tell

CHAT_SHARE = 0.45


def document(seed: int, index: int) -> list[str]:
    rng = random.Random(f"{seed}:{index}")
    if rng.random() < chat.SMALL_TALK_SHARE:
        return chat.small_talk(rng)
    made = tell.story(rng)
    return chat.conversation(rng, made, second(rng, made)) if rng.random() < CHAT_SHARE else [made.text]


def second(rng: random.Random, made: tell.Story) -> tell.Story | None:
    """Now and then another story in the same chat, where both fit in the context."""
    other = tell.story(rng) if rng.random() < 0.08 else None
    both = other and max(len(s.text.split()) for s in (made, other)) <= chat.STORY_WORDS
    return other if both else None


def held_out(seed: int, index: int) -> dict:
    rng = random.Random(f"held-out:{seed}:{index}")
    made = tell.story(rng)
    return {"turns": [made.text] if rng.random() < 1 - CHAT_SHARE else chat.conversation(rng, made),
            "story": made.text, "request": made.request, "questions": made.questions, "hero": made.plan.hero.name,
            "kind": made.plan.hero.kind, "object": made.plan.object}


def write(folder: Path, seed: int, documents: int, held: int = 1000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with Pool(2) as pool, open(folder / "train.jsonl", "w", encoding="utf-8") as out:
        jobs = ((seed, i) for i in range(documents))
        for doc in pool.imap(_document, jobs, chunksize=200):
            out.write(json.dumps(doc, ensure_ascii=False) + "\n")
    with open(folder / "held-out.jsonl", "w", encoding="utf-8") as out:
        for i in range(held):
            out.write(json.dumps(held_out(seed, i), ensure_ascii=False) + "\n")


def _document(job: tuple[int, int]) -> list[str]:
    return document(*job)
