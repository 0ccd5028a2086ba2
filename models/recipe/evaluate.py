"""How good is the shipped model? Measured on the exported weights, as read back from the GGUF file.

- perplexity on 1,000 held-out documents, per token;
- 200 stories asked for at temperature 0.8: do hero and thing last to the end, does it stop by itself;
- are they copied: sentences of over 12 words, and 4-grams, that stand in the training text;
- questions about 100 held-out stories, answered greedily;
- 100 stories about a hero whose name is stated, half of the names known, half of them never seen in training;
- small talk at temperature 0.8: is it answered as it should be.
"""

import json
import random
import re
from pathlib import Path

import numpy as np
import torch

from . import gguf
from .check import load_model
from .model import Llama, loss_of
from .sample import generate
from .story import world
from .story.grammar import LONG, sentences
from .tokenizer import ASSISTANT, BOS, END, EOS, USER, Tokenizer

NAMES = set(world.CAST.values()) | set(world.OTHER_HE) | set(world.OTHER_SHE)
LOOKS = set(world.COLOURS + world.LOOKS) - {"new"}  # a story may say "a new kite, red and fine"
STORIES, QUESTIONED, PER_STORY, STATED, TALKS = 200, 100, 3, 100, 10
UNHEARD = """Bartholomew Fenwick Gretchen Hamish Ludwig Marlowe Oskari Pascale Quimby Rupert Sigrid Thaddeus Ulric Wendell
Yuki Zacharias""".split()
# What a user may say, and what an answer must contain. Some of it (Norway, bicycles, Laura) is not in the corpus.
TALK = [("Hello!", r"story|about\?"), ("hi", r"story|about\?"), ("Good morning!", r"story|about\?"), ("How are you?",
                                                                                                      "thank you"),
        ("Who are you?", "gust"), ("What is your name?", "gust"), ("What can you do?", "stories"), ("Thank you!", "welcome"),
        ("Goodbye!", "[Gg]oodbye|Bye|Good night"), ("What is the capital of Norway?", "not know"), ("How do bicycles work?",
                                                                                                    "not know"),
        ("What is 6 times 7?", "not know"), ("My name is Laura.", "Laura"), ("I am bored.", "story|about"),
        ("Tell me something.", "stories")]


def evaluate(work: Path, out: Path, files: list[str]) -> None:
    held = [json.loads(line) for line in open(work / "held-out.jsonl", encoding="utf-8")]
    tokenizer = Tokenizer.load(work / "stories-tokenizer.json")
    for name in files:
        model = load_model(*gguf.read(out / name))
        result: dict[str, object] = {"file": name, "perplexity": perplexity(model, np.load(work / "stories-held-out.npy"))}
        told = tell(model, tokenizer, held[:STORIES])
        result |= lasting(told) | copied([text for _, text, _ in told], work / "train.jsonl")
        result |= questions(model, tokenizer, held[STORIES : STORIES + QUESTIONED])
        result |= stated(model, tokenizer, held[-STATED:]) | small_talk(model, tokenizer)
        (work / f"{name}.json").write_text(json.dumps({**result, "samples": [t for _, t, _ in told]}, indent=1))
        for key, value in result.items():
            print(f"{key:32} {value:.4g}" if isinstance(value, float) else f"{key:32} {value}")


@torch.no_grad()
def perplexity(model: Llama, rows: np.ndarray) -> float:
    total, count = 0.0, 0
    for part in torch.from_numpy(rows.astype(np.int64)).split(8):
        n = int((part[:, 1:] >= 0).sum())
        total, count = total + loss_of(model, part, torch.ones(part.shape)).item() * n, count + n
    return float(np.exp(total / count))


def tell(model: Llama, tokenizer: Tokenizer, held: list[dict]) -> list[tuple[dict, str, bool]]:
    """A story for each plan's kind of hero and thing: (plan, text, stopped by itself)."""
    asked = [f"Tell me a story about a {h['kind']} and a {h['object']}." for h in held]
    asked = [re.sub(r"\ba (?=[aeiou](?!ni))", "an ", text) for text in asked]
    prompts = [[BOS, USER, *tokenizer.encode(text), END, ASSISTANT] for text in asked]
    made = generate(model, prompts, {EOS, END}, temperature=0.8, seed=7)
    return [(h, tokenizer.decode(ids), ids[-1] in (EOS, END)) for h, ids in zip(held, made)]


def lasting(told: list[tuple[dict, str, bool]]) -> dict[str, float]:
    """The hero is who is named first. To last is to be there in the first and in the last paragraph."""
    hero, thing, both, kind, cast, look = [], [], [], [], [], []
    for plan, text, _ in told:
        first, last = text.split("\n\n")[0], text.split("\n\n")[-1]
        names = [word for word in re.findall(r"[A-Z][a-z]+", text) if word in NAMES]
        hero.append(bool(names) and names[0] in last)
        thing.append(text.count(plan["object"]) >= 3 and plan["object"] in last)
        kind.append(plan["kind"] in first)
        cast.append(len(set(names)) <= 2)
        look.append(len(LOOKS.intersection(re.findall(rf"(\w+) {plan['object']}", text))) <= 1)
        both.append(hero[-1] and thing[-1])
    words = [len(text.split()) for _, text, _ in told]
    return {"stops by itself": float(np.mean([stopped for _, _, stopped in told])), "words a story": float(np.mean(words)),
            "keeps the hero": float(np.mean(hero)), "keeps the asked-for thing": float(np.mean(thing)),
            "keeps both": float(np.mean(both)), "hero is of the asked-for kind": float(np.mean(kind)),
            "no stranger's name slips in": float(np.mean(cast)), "the thing keeps its look": float(np.mean(look))}


def copied(texts: list[str], corpus: Path) -> dict[str, float]:
    long = [{s for s in sentences(text) if len(s.split()) > LONG} for text in texts]
    grams = [gram for text in texts for gram in four_grams(text)]
    wanted_sentences, wanted_grams = set().union(*long), set(grams)
    seen_sentences: set[str] = set()
    seen_grams: set[tuple[str, ...]] = set()
    for line in open(corpus, encoding="utf-8"):
        for turn in json.loads(line):
            seen_sentences.update(wanted_sentences.intersection(sentences(turn)))
            seen_grams.update(wanted_grams.intersection(four_grams(turn)))
    return {"share no long sentence with the corpus": float(np.mean([not (part & seen_sentences) for part in long])),
            "long sentences a story": float(np.mean([len(part) for part in long])),
            "distinct 4-grams among all sampled": len(wanted_grams) / len(grams),
            "distinct 4-grams not in the corpus": 1 - len(seen_grams) / len(wanted_grams)}


def four_grams(text: str) -> list[tuple[str, ...]]:
    words = text.split()
    return list(zip(words, words[1:], words[2:], words[3:]))


def questions(model: Llama, tokenizer: Tokenizer, held: list[dict]) -> dict[str, float]:
    prompts, wanted, rng = [], [], random.Random(11)
    for h in held:
        for question, _, keys in rng.sample(h["questions"], min(PER_STORY, len(h["questions"]))):
            turns = [(USER, h["request"]), (ASSISTANT, h["story"]), (USER, question)]
            prompts.append([BOS] + [i for role, text in turns for i in (role, *tokenizer.encode(text), END)] + [ASSISTANT])
            wanted.append(keys)
    answers = [tokenizer.decode(ids) for ids in generate(model, prompts, {EOS, END}, 0.0, seed=1, limit=40)]
    right = [all(key in re.findall(r"\w+", answer) for key in keys) for keys, answer in zip(wanted, answers)]
    return {"questions asked": len(right), "answered right": float(np.mean(right))}


def stated(model: Llama, tokenizer: Tokenizer, held: list[dict]) -> dict[str, float]:
    """The name must be told three times at least, the last paragraph included."""
    known = world.OTHER_HE + world.OTHER_SHE
    names = [(UNHEARD[i // 2 % len(UNHEARD)] if i % 2 else known[i % len(known)]) for i in range(len(held))]
    asked = [f"Tell me a story about a {h['kind']} named {name} and a {h['object']}." for h, name in zip(held, names)]
    asked = [re.sub(r"\ba (?=[aeiou](?!ni))", "an ", text) for text in asked]
    prompts = [[BOS, USER, *tokenizer.encode(text), END, ASSISTANT] for text in asked]
    texts = [tokenizer.decode(ids) for ids in generate(model, prompts, {EOS, END}, temperature=0.8, seed=13)]
    kept = [text.count(name) >= 3 and name in text.split("\n\n")[-1] for name, text in zip(names, texts)]
    return {"keeps a stated name": float(np.mean(kept[::2])), "keeps a stated name it never saw": float(np.mean(kept[1::2]))}


def small_talk(model: Llama, tokenizer: Tokenizer) -> dict[str, float]:
    prompts = [[BOS, USER, *tokenizer.encode(text), END, ASSISTANT] for text, _ in TALK for _ in range(TALKS)]
    answers = [tokenizer.decode(ids) for ids in generate(model, prompts, {EOS, END}, temperature=0.8, seed=17, limit=60)]
    wanted = [pattern for _, pattern in TALK for _ in range(TALKS)]
    return {"small talk answered": float(np.mean([bool(re.search(p, answer)) for p, answer in zip(wanted, answers)]))}
