"""The tokenizer: byte-pair merges learned from the corpus, stored and used in SentencePiece's way.

GGUF's "llama" tokenizer has no list of merges. It joins, again and again, the two neighbours whose concatenation is the
piece with the highest score. So scores are minus the rank in which pieces were learned, and the corpus is encoded with that
very algorithm: what the model was trained on is what an engine will feed it.
"""

import heapq
import json
import re
from collections import Counter
from pathlib import Path

SPACE = "\u2581"
SPECIALS = ["<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]
UNK, BOS, EOS, USER, ASSISTANT, END = range(6)
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
# No piece crosses these borders: a word with the space before it, a contraction, or one other character.
WORD = re.compile(rf"{SPACE}?[A-Za-z]+|{SPACE}?'[A-Za-z]+|{SPACE}?[^A-Za-z{SPACE}]|{SPACE}")
CHARS = [SPACE] + [chr(c) for c in range(0x21, 0x7F)]


class Tokenizer:
    def __init__(self, pieces: list[str]):
        """`pieces` in the order learned; the single characters come last, since they are never the result of a merge."""
        self.tokens = SPECIALS + [f"<0x{b:02X}>" for b in range(256)] + pieces
        self.types = [UNKNOWN] + [CONTROL] * 5 + [BYTE] * 256 + [NORMAL] * len(pieces)
        first = len(SPECIALS) + 256
        self.scores = [0.0] * first + [float(-rank) for rank in range(len(pieces))]
        self.ids = {piece: first + i for i, piece in enumerate(pieces)}
        self.cache: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Text that follows nothing or a special token, so it gets the space prefix. Word by word: the same as merge()."""
        out: list[int] = []
        for word in WORD.findall(escape(text)):
            if word not in self.cache:
                self.cache[word] = self.merge(word)
            out += self.cache[word]
        return out

    def merge(self, text: str) -> list[int]:
        """The reference: llama.cpp's llm_tokenizer_spm on escaped text (highest score first, then the leftmost)."""
        parts: list[str] = list(text)
        left, right = list(range(-1, len(parts) - 1)), list(range(1, len(parts) + 1))
        queue: list[tuple[float, int, int, str]] = []

        def offer(a: int, b: int) -> None:
            if a >= 0 and b < len(parts) and (joined := parts[a] + parts[b]) in self.ids:
                heapq.heappush(queue, (-self.scores[self.ids[joined]], a, b, joined))

        for i in range(len(parts) - 1):
            offer(i, i + 1)
        while queue:
            _, a, b, joined = heapq.heappop(queue)
            if parts[a] + parts[b] != joined or not parts[a] or not parts[b]:
                continue  # one of the two was merged since
            parts[a], parts[b] = joined, ""
            right[a] = right[b]
            if right[a] < len(parts):
                left[right[a]] = a
            offer(left[a], a)
            offer(a, right[a])
        out: list[int] = []
        for part in filter(None, parts):
            out += [self.ids[part]] if part in self.ids else [len(SPECIALS) + b for b in part.encode()]
        return out

    def encode_document(self, turns: list[str]) -> list[int]:
        if len(turns) == 1:
            return [BOS, *self.encode(turns[0]), EOS]
        out = [BOS]
        for i, turn in enumerate(turns):
            out += [ASSISTANT if i % 2 else USER, *self.encode(turn), END]
        return [*out, EOS]

    def decode(self, ids: list[int]) -> str:
        data = b""
        for i in ids:
            kind = self.types[i]
            data += bytes([i - len(SPECIALS)]) if kind == BYTE else self.tokens[i].encode() if kind == NORMAL else b""
        return data.decode(errors="replace").replace(SPACE, " ").removeprefix(" ")

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.tokens[len(SPECIALS) + 256 :], ensure_ascii=False, indent=0))

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        return cls(json.loads(path.read_text()))


def escape(text: str) -> str:
    return (" " + text).replace(" ", SPACE)


def train(texts: list[str], size: int) -> Tokenizer:
    """Plain BPE over word counts; then pieces that the score-driven merging cannot reach are dropped and replaced."""
    counts = Counter(word for text in texts for word in WORD.findall(escape(text)))
    words = [(list(word), n) for word, n in counts.items()]
    wanted = size - len(SPECIALS) - 256 - len(CHARS)
    merges: list[str] = []
    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[int]] = {}
    for w, (parts, n) in enumerate(words):
        for pair in zip(parts, parts[1:]):
            pairs[pair] += n
            where.setdefault(pair, set()).add(w)
    while len(merges) < wanted and pairs:
        best = max(pairs, key=lambda p: (pairs[p], p))
        if pairs[best] < 2:
            break
        joined = best[0] + best[1]
        if joined not in merges:
            merges.append(joined)
        for w in where.pop(best):
            parts, n = words[w]
            for pair in zip(parts, parts[1:]):
                pairs[pair] -= n
            at = 0
            while at < len(parts) - 1:
                if (parts[at], parts[at + 1]) == best:
                    parts[at : at + 2] = [joined]
                at += 1
            for pair in zip(parts, parts[1:]):
                pairs[pair] += n
                where.setdefault(pair, set()).add(w)
        pairs = +pairs if len(merges) % 64 == 0 else pairs
        pairs.pop(best, None)
    made = Tokenizer(merges + CHARS)
    unreachable = [p for p in merges if len(made.merge(p)) != 1]
    if unreachable:
        made = Tokenizer([p for p in merges if p not in set(unreachable)] + CHARS)
    return made
