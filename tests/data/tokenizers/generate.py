"""Writes the `tokenizer.json` files in this folder, and what Python's `tokenizers` makes of texts with them.

    python3 -m venv target/venv && target/venv/bin/pip install tokenizers==0.22.2
    target/venv/bin/python tests/data/tokenizers/generate.py

The small ones are trained on this project's own text; `stories.json` has the vocabulary of `models/stories260K-f32.gguf`.
All fit its 512 rows.
"""

import base64
import json
import random
import struct
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers import models, trainers

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
CORPUS = ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md", "SECURITY.md", "guest/src/sampler.rs", "guest/src/stop.rs"]
SIZE = 480

# The expression of Qwen 2.
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def special(*names, **rules):
    return [AddedToken(name, special=True, normalized=False, **rules) for name in names]


def train(tokenizer, trainer):
    texts = [(ROOT / name).read_text() for name in CORPUS]
    lines = [line for text in texts for line in text.splitlines()]
    # Enough of other alphabets to have letters of them.
    lines += ["Καλημέρα κόσμε", "Доброе утро", "你好,世界", "こんにちは世界", "안녕하세요", "naïve café – “déjà vu”"] * 20
    tokenizer.train_from_iterator(lines, trainer)


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN), "isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    train(tokenizer, trainer)
    tokenizer.add_special_tokens(special("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    tokenizer.add_special_tokens(special("<|user|>", rstrip=True))
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in ["<tool_call>", "</tool_call>", "    "]])
    tokenizer.add_tokens([AddedToken("word", single_word=True, normalized=True)])
    return tokenizer


def gpt2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>", "<mask>"],
        show_progress=False,
    )
    train(tokenizer, trainer)
    tokenizer.add_special_tokens(special("<mask>", lstrip=True))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return tokenizer


def fallback():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=names, limit_alphabet=100, max_token_length=12, show_progress=False
    )
    # Trained on words, because there are no sentences in 500 tokens.
    tokenizer.pre_tokenizer.split = True
    train(tokenizer, trainer)
    tokenizer.pre_tokenizer.split = False
    file = json.loads(tokenizer.to_str())
    # The names of bytes are tokens of the model alone, as in the files of real models.
    file["added_tokens"] = file["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(file))
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])
    return tokenizer


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    train(tokenizer, trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=names, show_progress=False))
    tokenizer.add_special_tokens(special("[MASK]", lstrip=True))
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", pair, [("[CLS]", 2), ("[SEP]", 3)])
    # Files of embedding models have these; a prompt is neither cut nor filled up.
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    return tokenizer


def charsmap(table):
    """A double array as SentencePiece writes it, with a block of 256 units for each node."""
    texts, offsets = b"", {}
    for text in sorted(set(table.values())):
        offsets[text] = len(texts)
        texts += text.encode() + b"\0"
    tree = {}
    for key, text in table.items():
        node = tree
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[None] = offsets[text]
    units = {}
    blocks = 0

    def place(node, at, label):
        nonlocal blocks
        blocks += 1
        base = blocks * 256
        units[at] = (at ^ base) << 10 | (None in node) << 8 | label
        if None in node:
            units[base] = 1 << 31 | node[None]
        for byte, child in node.items():
            if byte is not None:
                place(child, base ^ byte, byte)

    place(tree, 0, 0)
    array = [units.get(at, 0) for at in range((blocks + 1) * 256)]
    return struct.pack("<I", 4 * len(array)) + struct.pack(f"<{len(array)}I", *array) + texts


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    table = {"ﬁ": "fi", "Ａ": "A", "①": "1", "é": "é", "\u00a0": " ", "\t": " ", "\n": " ", "\u200b": ""}
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap(table)), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    names = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=SIZE, special_tokens=names, unk_token="<unk>", show_progress=False)
    train(tokenizer, trainer)
    pair = "$A </s> $B </s>"
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", pair, [("</s>", 1)])
    return tokenizer


def word_level():
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), digits])
    trainer = trainers.WordLevelTrainer(vocab_size=SIZE, special_tokens=["<unk>", "<eos>"], show_progress=False)
    train(tokenizer, trainer)
    return tokenizer


def gguf_vocabulary(path):
    """The tokens, scores and types of a GGUF file."""
    data = path.read_bytes()
    at = 8
    simple = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def take(form):
        nonlocal at
        (value,) = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return value

    def value(kind):
        nonlocal at
        if kind == 8:
            length = take("Q")
            at += length
            return data[at - length : at].decode()
        if kind == 9:
            element = take("I")
            return [value(element) for _ in range(take("Q"))]
        return take(simple[kind])

    take("Q")
    entries = {}
    for _ in range(take("Q")):
        key = value(8)
        entries[key] = value(take("I"))
    return [entries[f"tokenizer.ggml.{name}"] for name in ("tokens", "scores", "token_type")]


def stories():
    """As `transformers` converts a SentencePiece model: each token's halves are merges, the best score first."""
    tokens, scores, _ = gguf_vocabulary(HERE.parent / "models/stories260K-f32.gguf")
    numbers = {token: id for id, token in enumerate(tokens)}
    merges = []
    for token, score in zip(tokens, scores):
        halves = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        halves = [(left, right) for left, right in halves if left in numbers and right in numbers]
        halves.sort(key=lambda pair: (numbers[pair[0]], numbers[pair[1]]))
        merges += [(-score, pair) for pair in halves]
    merges.sort(key=lambda merge: merge[0])
    model = models.BPE(numbers, [pair for _, pair in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(special(*(tokens[id].strip("\n") for id in range(3))))
    first = tokens[1]
    tokenizer.post_processor = processors.TemplateProcessing(
        f"{first} $A".split(" "), f"{first} $A {first} $B".split(" "), [(first, 1)]
    )
    return tokenizer


KINDS = {
    "byte-level": byte_level,
    "gpt2": gpt2,
    "fallback": fallback,
    "wordpiece": word_piece,
    "unigram": unigram,
    "wordlevel": word_level,
    "stories": stories,
}

TEXTS = [
    "",
    " ",
    "  ",
    "a",
    " a",
    "Hello, world!",
    "Once upon a time, there was a little girl named Lily.",
    "The engine computes a token; the host writes it.",
    "I'm you're HE'LL 'S ſ'ſ don't",
    "1234567890 3.14159 ½ ² ①",
    "\t\ttabs\n\n\nlines\r\nand   spaces  ",
    " " * 40 + "x" + " " * 17,
    "naïve café e\u0301 Å \u212b ﬁ Ａ",
    "Καλημέρα κόσμε Доброе утро",
    "你好,世界!こんにちは世界 안녕하세요",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪",
    "\u0000\u0001\u001b[31m\u007f\u0085\u200b\ufeff\u2028",
    "supercalifragilisticexpialidocious" * 4,
    "fn main() {\n    println!(\"{}\", 1 + 2);\n}\n",
    "<|im_start|>user\nhi<|im_end|>",
    "<|user|>   spaces go<|endoftext|>",
    "<s>a</s> <mask> b <unk>[MASK] [CLS][SEP] [UNK]",
    "a <tool_call>{}</tool_call> b    c",
    "word words a word-word sword word",
    "<0x41><0x00>",
    "▁under▁score▁",
    "\U0001f600\U00010348\U000e0001\uffff",
]


def random_texts():
    dice = random.Random(20)
    alphabets = [
        "abcdefghij ",
        "etaoin shrdlu.,'\"!?\n",
        "0123456789 .,-",
        " \t\n\r\u00a0\u3000",
        "éèàüñßøåçœ ",
        "αβγδεабвгд ",
        "世界你好日本語한국어かな",
        "😀🎉👍🏽‍🇩🇪❤️",
        "<|im_end>_sSUNK[]/ ",
        "".join(map(chr, range(0x20))) + "\u200b\u0301\u0600",
    ]
    for _ in range(60):
        yield "".join(dice.choice(dice.choice(alphabets)) for _ in range(dice.randrange(1, 40)))


def main():
    texts = TEXTS + list(random_texts())
    # What UTF-8 has no bytes for, Python's strings have.
    assert all(text.encode() is not None for text in texts)
    expected = {"texts": texts, "ids": {}, "pairs": {}, "decoded": {}}
    for name, make in KINDS.items():
        tokenizer = make()
        path = HERE / f"{name}.json"
        tokenizer.save(str(path), pretty=False)
        path.write_text(path.read_text() + "\n")
        tokenizer = Tokenizer.from_file(str(path))
        assert tokenizer.get_vocab_size() <= 512, name
        tokenizer.no_truncation()
        tokenizer.no_padding()
        ids = [tokenizer.encode(text).ids for text in texts]
        expected["ids"][name] = ids
        expected["pairs"][name] = [tokenizer.encode(a, b).ids for a, b in zip(texts[:12], texts[5:17])]
        expected["decoded"][name] = [tokenizer.decode(ids, skip_special_tokens=True) for ids in ids]
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in expected.items()]
    (HERE / "expected.json").write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
