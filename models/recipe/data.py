"""From documents to rows: each row of context + 1 ids holds whole documents, so that every story is seen from its start."""

import json
import random
from pathlib import Path

import numpy as np

from .tokenizer import BOS, Tokenizer

PAD = -1


def pack(documents: list[list[int]], width: int, seed: int) -> np.ndarray:
    """Best fit from a pool of open rows; the rest of a row is padding. Returns [rows, width] int16."""
    open_rows: list[list[int]] = []
    done: list[list[int]] = []
    for ids in documents:
        if len(ids) > width:
            continue
        fits = [r for r in open_rows if len(r) + len(ids) <= width]
        row = max(fits, key=len, default=None)
        if row is None:
            row = []
            open_rows.append(row)
        row += ids
        if len(row) > width - 40 or len(open_rows) > 60:
            full = max(open_rows, key=len)
            open_rows = [r for r in open_rows if r is not full]
            done.append(full)
    done += open_rows
    random.Random(seed).shuffle(done)
    rows = np.full((len(done), width), PAD, np.int16)
    for i, row in enumerate(done):
        rows[i, : len(row)] = row
    return rows


def repeats(rows: np.ndarray, common: int = 120) -> np.ndarray:
    """Which tokens say again what their document said before: the hero's name, the thing, the place. [rows, width] bool

    The `common` most frequent tokens are left out: "the" is no repetition. (Names begin to follow soon after.)
    """
    counts = np.bincount(rows[rows >= 0])
    frequent = np.argsort(-counts)[:common]
    again = np.zeros(rows.shape, bool)
    for row, marks in zip(rows, again):
        starts = np.flatnonzero(row == BOS)
        for start, end in zip(starts, [*starts[1:], len(row)]):
            marks[start:end] = True
            marks[start + np.unique(row[start:end], return_index=True)[1]] = False
    return again & ~np.isin(rows, frequent) & (rows >= 0)


def encode_file(path: Path, tokenizer: Tokenizer) -> list[list[int]]:
    with open(path, encoding="utf-8") as lines:
        docs = (json.loads(line) for line in lines)
        return [tokenizer.encode_document(d["turns"] if isinstance(d, dict) else d) for d in docs]
