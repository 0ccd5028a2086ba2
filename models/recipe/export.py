"""From the checkpoint to GGUF: names, metadata, tokenizer, chat template, and the two quantised forms."""

from pathlib import Path

import numpy as np
import torch

from . import gguf
from .gguf import ARRAY, BOOL, F32, I32, STRING, U32
from .model import Config
from .tokenizer import BOS, END, EOS, UNK, Tokenizer

# Only two roles: the model knows no system prompt, so one is passed over.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] + '<|end|>' }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
FILE_TYPES = {"q4_0": 2, "q8_0": 7}  # general.file_type: what most tensors are
FORMS = {"stories": [("gust-stories-q8_0.gguf", "q8_0"), ("gust-stories-q4_0.gguf", "q4_0")],
         "tiny": [("gust-tiny.gguf", "q8_0")]}


def export(work: Path, size: str, out: Path) -> None:
    state = torch.load(work / f"{size}-run" / "checkpoint.pt", map_location="cpu")
    config = Config(**state["config"])
    tokenizer = Tokenizer.load(work / f"{size}-tokenizer.json")
    weights = {name: w.float().numpy() for name, w in state["model"].items()}
    for filename, form in FORMS[size]:
        tensors = [(name, tensor_type(name, w, form), w) for name, w in weights.items()]
        parameters = sum(w.size for w in weights.values())
        gguf.write(out / filename, metadata(config, tokenizer, filename.removesuffix(".gguf"), form, parameters), tensors)
        print(f"{out / filename}: {(out / filename).stat().st_size:,} bytes, {parameters:,} parameters, step {state['step']}")


def tensor_type(name: str, w: np.ndarray, form: str) -> int:
    """Norms stay f32. The embedding is also the output matrix, where four bits would cost most: it stays Q8_0."""
    if w.ndim == 1:
        return gguf.TENSOR_F32
    return gguf.TENSOR_Q4_0 if form == "q4_0" and name != "token_embd.weight" else gguf.TENSOR_Q8_0


def metadata(c: Config, tokenizer: Tokenizer, name: str, form: str, parameters: int) -> list:
    assert len(tokenizer.tokens) == c.vocab, f"{len(tokenizer.tokens)} tokens for {c.vocab} rows of the embedding"
    label = f"{parameters / 1e6:.1f}M"
    return [
        ("general.architecture", STRING, "llama"), ("general.type", STRING, "model"),
        ("general.name", STRING, "gust-tiny" if "tiny" in name else "gust-stories"),
        ("general.author", STRING, "the gust authors"), ("general.license", STRING, "MIT OR Apache-2.0"),
        ("general.description", STRING, "A small story-teller, trained from scratch on text that its own recipe "
         "(models/recipe) writes: short children's stories, and simple questions about them, in English."),
        ("general.size_label", STRING, label), ("general.languages", ARRAY, (STRING, ["en"])),
        ("general.tags", ARRAY, (STRING, ["stories", "text-generation"])),
        ("general.file_type", U32, FILE_TYPES[form]), ("general.quantization_version", U32, 2),
        ("general.alignment", U32, gguf.ALIGNMENT),
        ("llama.vocab_size", U32, c.vocab), ("llama.context_length", U32, c.context),
        ("llama.embedding_length", U32, c.dim), ("llama.block_count", U32, c.layers),
        ("llama.feed_forward_length", U32, c.ffn), ("llama.attention.head_count", U32, c.heads),
        ("llama.attention.head_count_kv", U32, c.kv_heads), ("llama.rope.dimension_count", U32, c.dim // c.heads),
        ("llama.rope.freq_base", F32, c.theta), ("llama.attention.layer_norm_rms_epsilon", F32, c.eps),
        ("tokenizer.ggml.model", STRING, "llama"), ("tokenizer.ggml.pre", STRING, "default"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, tokenizer.tokens)),
        ("tokenizer.ggml.scores", ARRAY, (F32, tokenizer.scores)),
        ("tokenizer.ggml.token_type", ARRAY, (I32, tokenizer.types)),
        ("tokenizer.ggml.bos_token_id", U32, BOS), ("tokenizer.ggml.eos_token_id", U32, EOS),
        ("tokenizer.ggml.eot_token_id", U32, END), ("tokenizer.ggml.unknown_token_id", U32, UNK),
        ("tokenizer.ggml.padding_token_id", U32, EOS),
        ("tokenizer.ggml.add_bos_token", BOOL, True), ("tokenizer.ggml.add_eos_token", BOOL, False),
        ("tokenizer.ggml.add_space_prefix", BOOL, True),
        ("tokenizer.chat_template", STRING, CHAT_TEMPLATE),
    ]
