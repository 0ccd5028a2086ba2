"""`python -m recipe STEP`: corpus, tokenizer, train, export, check, evaluate. See README.md."""

import argparse
import json
import os
from pathlib import Path

import numpy as np

WORK = Path("/tmp/gust-stories")
# Threads that wait must not spin: on a machine that is also used otherwise, spinning steals the core of the thread awaited.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipe", description=__doc__)
    parser.add_argument("step", choices=["corpus", "tokenizer", "train", "export", "check", "evaluate"])
    parser.add_argument("--work", type=Path, default=WORK, help="folder for the corpus and the checkpoints")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent, help="folder for the GGUF files")
    parser.add_argument("--size", choices=["stories", "tiny"], default="stories")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--documents", type=int, default=110_000)
    parser.add_argument("--minutes", type=float, default=45, help="of work by all threads, see train.py")
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--files", nargs="*", default=["gust-stories-q8_0.gguf", "gust-stories-q4_0.gguf"],
                        help="to evaluate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--gust", type=Path, default=Path(__file__).parents[2] / "target" / "release" / "gust",
                        help="the built command, for check")
    parser.add_argument("--no-compile", dest="compiled", action="store_false")
    args = parser.parse_args()
    if args.step == "corpus":
        from .corpus import write

        write(args.work, args.seed, args.documents)
    elif args.step == "tokenizer":
        prepare(args.work, args.size)
    elif args.step == "train":
        from .train import train

        train(args.work, args.size, args.minutes, args.batch, args.lr, args.threads, args.compiled)
    elif args.step == "export":
        from .export import export

        export(args.work, args.size, args.out)
    elif args.step == "check":
        from .check import check

        check(args.work, args.out, args.gust)
    else:
        from .evaluate import evaluate

        evaluate(args.work, args.out, args.files)


def prepare(work: Path, size: str) -> None:
    """Learns the tokenizer from a tenth of the corpus and encodes all of it."""
    from . import data, tokenizer
    from .model import SIZES

    with open(work / "train.jsonl", encoding="utf-8") as lines:
        texts = [turn for i, line in enumerate(lines) if i % 10 == 0 for turn in json.loads(line)]
    made = tokenizer.train(texts, SIZES[size].vocab)
    made.save(work / f"{size}-tokenizer.json")
    for text in texts[:50]:
        assert made.encode(text) == made.merge(tokenizer.escape(text)), "word by word must equal the whole"
    width = SIZES[size].context + 1
    for name in ("train", "held-out"):
        documents = data.encode_file(work / f"{name}.jsonl", made)
        rows = data.pack(documents, width, seed=1)
        np.save(work / f"{size}-{name}.npy", rows)
        np.save(work / f"{size}-{name}-repeats.npy", data.repeats(rows))
        total = sum(map(len, documents))
        print(f"{name}: {len(made.tokens)} tokens in the vocabulary, {len(documents):,} documents, {total:,} tokens, "
              f"{len(rows):,} rows, {(rows >= 0).mean():.1%} full, longest {max(map(len, documents))}")


main()
