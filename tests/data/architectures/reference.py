"""Writes small models of random weights, and the logits that each architecture defines for them, computed in float64.

    pip install numpy gguf && python3 tests/data/architectures/reference.py

It follows the papers and the operators of llama.cpp, and shares no code with gust. A file `NAME.json` has the tokens of a
prompt that is longer than every window, and the logits after its last token. On the day that these files were made,
llama.cpp (node-llama-cpp 3.22.1, KV cache in F16) was within 1.2e-2 relative RMSE of them on models of the same kind with
E = 128, and gust within 1.7e-6 with keys and values in F32.
"""

import json
import os

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
STORIES = os.path.join(HERE, "../models/stories260K-f32.gguf")
# E, F, heads, heads of keys and values, D, layers, window.
N_EMBD, N_FF, N_HEADS, N_KV_HEADS, HEAD_DIM, N_LAYERS, WINDOW = 32, 48, 4, 2, 8, 6, 50
N_TOKENS = 300
EPS = 1e-6


def weights(arch, rng):
    """All tensors of a model, in the order of a file."""
    made = {}

    def matrix(name, rows, cols, scale=None):
        scale = 1.5 / np.sqrt(cols) if scale is None else scale
        made[name] = (rng.standard_normal((rows, cols)) * scale).astype(np.float32)

    def norm(name, size):
        made[name] = (1 + 0.2 * rng.standard_normal(size)).astype(np.float32)

    # Tied: the scale of the embedding is that of the logits.
    matrix("token_embd.weight", 512, N_EMBD, 0.3 if arch == "gemma2" else 0.05)
    for layer in range(N_LAYERS):
        at = f"blk.{layer}."
        norm(at + "attn_norm.weight", N_EMBD)
        matrix(at + "attn_q.weight", N_HEADS * HEAD_DIM, N_EMBD)
        matrix(at + "attn_k.weight", N_KV_HEADS * HEAD_DIM, N_EMBD)
        matrix(at + "attn_v.weight", N_KV_HEADS * HEAD_DIM, N_EMBD)
        matrix(at + "attn_output.weight", N_EMBD, N_HEADS * HEAD_DIM)
        norm(at + "ffn_norm.weight", N_EMBD)
        matrix(at + "ffn_gate.weight", N_FF, N_EMBD)
        matrix(at + "ffn_up.weight", N_FF, N_EMBD)
        matrix(at + "ffn_down.weight", N_EMBD, N_FF)
        if arch != "gemma":
            norm(at + "post_attention_norm.weight", N_EMBD)
            norm(at + "post_ffw_norm.weight", N_EMBD)
        if arch == "gemma3":
            norm(at + "attn_q_norm.weight", HEAD_DIM)
            norm(at + "attn_k_norm.weight", HEAD_DIM)
    norm("output_norm.weight", N_EMBD)
    return made


def write(arch, tensors, path):
    """The model as GGUF, with the vocabulary of stories260K."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(512)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(N_LAYERS)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_layer_norm_rms_eps(EPS)
    writer.add_rope_freq_base(rope_base(arch, False))
    if arch != "gemma":
        writer.add_sliding_window(WINDOW)
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(5.0)
        writer.add_final_logit_softcapping(8.0)
    for key, field in gguf.GGUFReader(STORIES).fields.items():
        value = field.contents() if key.startswith("tokenizer.ggml.") else None
        add = {
            "tokenizer.ggml.model": writer.add_tokenizer_model,
            "tokenizer.ggml.tokens": writer.add_token_list,
            "tokenizer.ggml.scores": writer.add_token_scores,
            "tokenizer.ggml.token_type": writer.add_token_types,
        }.get(key)
        if add:
            add(value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rope_base(arch, is_local):
    return 1_000_000.0 if arch == "gemma3" and not is_local else 10_000.0


def rms_norm(x, weight):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPS) * weight


def rotate(x, base):
    """`[T, heads, D]`; dimensions i and i + D / 2 together."""
    angles = np.arange(len(x))[:, None] * base ** (-np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, first * sin + second * cos], -1)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def logits(arch, tensors, tokens):
    """After the last token, in float64."""
    tensors = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    n, at = len(tokens), np.arange(len(tokens))
    x = tensors["token_embd.weight"][tokens] * np.sqrt(N_EMBD)
    period = {"gemma": 1, "gemma2": 2, "gemma3": 6}[arch]
    for layer in range(N_LAYERS):
        of = lambda name: tensors[f"blk.{layer}.{name}.weight"]
        is_local = layer % period < period - 1
        h = rms_norm(x, of("attn_norm"))
        q = (h @ of("attn_q").T).reshape(n, N_HEADS, HEAD_DIM)
        k = (h @ of("attn_k").T).reshape(n, N_KV_HEADS, HEAD_DIM)
        v = (h @ of("attn_v").T).reshape(n, N_KV_HEADS, HEAD_DIM)
        if arch == "gemma3":
            q, k = rms_norm(q, of("attn_q_norm")), rms_norm(k, of("attn_k_norm"))
        q, k = (rotate(heads, rope_base(arch, is_local)) for heads in (q, k))
        k, v = (np.repeat(heads, N_HEADS // N_KV_HEADS, 1) for heads in (k, v))
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(HEAD_DIM)
        if arch == "gemma2":
            scores = 5 * np.tanh(scores / 5)
        seen = at[:, None] >= at[None]
        if is_local:
            seen &= at[:, None] - at[None] < WINDOW
        scores = np.where(seen, scores, -np.inf)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        out = np.einsum("hij,jhd->ihd", scores, v).reshape(n, -1) @ of("attn_output").T
        x = x + (out if arch == "gemma" else rms_norm(out, of("post_attention_norm")))
        h = rms_norm(x, of("ffn_norm"))
        out = (gelu(h @ of("ffn_gate").T) * (h @ of("ffn_up").T)) @ of("ffn_down").T
        x = x + (out if arch == "gemma" else rms_norm(out, of("post_ffw_norm")))
    out = rms_norm(x[-1], tensors["output_norm.weight"]) @ tensors["token_embd.weight"].T
    return 8 * np.tanh(out / 8) if arch == "gemma2" else out


for seed, arch in enumerate(["gemma", "gemma2", "gemma3"]):
    rng = np.random.default_rng(seed)
    tensors = weights(arch, rng)
    tokens = [1, *rng.integers(3, 512, N_TOKENS - 1).tolist()]
    write(arch, tensors, os.path.join(HERE, f"{arch}.gguf"))
    found = [float(f"{x:.9g}") for x in logits(arch, tensors, tokens)]
    with open(os.path.join(HERE, f"{arch}.json"), "w") as file:
        json.dump({"tokens": tokens, "logits": found}, file)
