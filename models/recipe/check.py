"""Is the file what PyTorch trained? Reads each GGUF back, runs it in numpy, written apart from model.py, and compares.

Three questions are kept apart: does the file mean what we think (same weights, numpy against PyTorch: must be nearly equal),
what did quantisation cost (the checkpoint's weights in PyTorch against the file's), and do engines agree (engines.py).
"""

from pathlib import Path

import numpy as np
import torch

from . import gguf
from .engines import check_gust, check_llama_cpp
from .export import FORMS
from .model import Config, Llama
from .tokenizer import Tokenizer, escape

TEXT = "Once upon a time, there was a little fox named Pip. One day, he lost his red kite."
TOLERANCE = 2e-3  # logits; f32 sums in another order


def check(work: Path, out: Path, gust: Path) -> None:
    for size, files in FORMS.items():
        for filename, _ in files:
            if (out / filename).exists():
                check_file(work, size, out / filename, gust)


def check_file(work: Path, size: str, path: Path, gust: Path) -> None:
    meta, tensors = gguf.read(path)
    tokenizer = Tokenizer.load(work / f"{size}-tokenizer.json")
    assert meta["tokenizer.ggml.tokens"] == tokenizer.tokens, "the file's tokenizer is not the one trained with"
    ids = [meta["tokenizer.ggml.bos_token_id"], *tokenizer.merge(escape(TEXT))]
    assert ids[1:] == tokenizer.encode(TEXT) and tokenizer.decode(ids) == TEXT
    ours = forward(meta, tensors, ids)
    loaded = load_model(meta, tensors)
    with torch.no_grad():
        same = loaded(torch.tensor([ids]))[0].numpy()
    state = torch.load(work / f"{size}-run" / "checkpoint.pt", map_location="cpu")
    exact = Llama(Config(**state["config"]))
    exact.load_state_dict(state["model"])
    with torch.no_grad():
        trained = exact(torch.tensor([ids]))[0].numpy()
    error = np.abs(ours - same).max()
    assert error < TOLERANCE, f"{path.name}: numpy and PyTorch differ by {error}"
    agree = (ours.argmax(1) == trained.argmax(1)).mean()
    print(f"{path.name}: {len(tensors)} tensors; numpy against PyTorch {error:.1e}; quantisation changes logits by "
          f"{np.abs(ours - trained).mean():.4f} on average (they spread {trained.std():.2f}), top choice same {agree:.0%}")
    layers = meta["llama.block_count"]
    check_gust(gust, path, ids, same, layers)
    check_llama_cpp(path, TEXT, ids, same, layers)


def forward(meta: dict, w: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """Logits [length, vocab], straight from the Llama papers and the file's own metadata."""
    heads, kv_heads = meta["llama.attention.head_count"], meta["llama.attention.head_count_kv"]
    dim, length = meta["llama.embedding_length"], len(ids)
    head = dim // heads

    def norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + meta["llama.attention.layer_norm_rms_epsilon"]) * weight

    def turn(x: np.ndarray) -> np.ndarray:  # [length, heads, head]
        angle = np.outer(np.arange(length), meta["llama.rope.freq_base"] ** (-np.arange(0, head, 2) / head))
        z = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)[:, None]
        return np.stack([z.real, z.imag], -1).reshape(x.shape)

    x = w["token_embd.weight"][ids].astype(np.float64)
    future = np.triu(np.full((length, length), -np.inf), 1)
    for i in range(meta["llama.block_count"]):
        layer = {name.removeprefix(f"blk.{i}."): t for name, t in w.items() if name.startswith(f"blk.{i}.")}
        a = norm(x, layer["attn_norm.weight"])
        q = turn((a @ layer["attn_q.weight"].T).reshape(length, heads, head))
        k = turn((a @ layer["attn_k.weight"].T).reshape(length, kv_heads, head))
        v = (a @ layer["attn_v.weight"].T).reshape(length, kv_heads, head)
        mixed = np.empty_like(q)
        for h in range(heads):
            group = h * kv_heads // heads
            scores = q[:, h] @ k[:, group].T / np.sqrt(head) + future
            p = np.exp(scores - scores.max(1, keepdims=True))
            mixed[:, h] = p / p.sum(1, keepdims=True) @ v[:, group]
        x = x + mixed.reshape(length, dim) @ layer["attn_output.weight"].T
        a = norm(x, layer["ffn_norm.weight"])
        gate = a @ layer["ffn_gate.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (a @ layer["ffn_up.weight"].T)) @ layer["ffn_down.weight"].T
    return norm(x, w["output_norm.weight"]) @ w["token_embd.weight"].T


def load_model(meta: dict, tensors: dict[str, np.ndarray]) -> Llama:
    """The file's (dequantised) weights in the PyTorch model."""
    model = Llama(Config(
        vocab=len(meta["tokenizer.ggml.tokens"]), dim=meta["llama.embedding_length"], ffn=meta["llama.feed_forward_length"],
        layers=meta["llama.block_count"], heads=meta["llama.attention.head_count"],
        kv_heads=meta["llama.attention.head_count_kv"], context=meta["llama.context_length"],
        theta=meta["llama.rope.freq_base"], eps=meta["llama.attention.layer_norm_rms_epsilon"]))
    model.load_state_dict({name: torch.from_numpy(np.array(t)) for name, t in tensors.items()})
    return model.eval()
