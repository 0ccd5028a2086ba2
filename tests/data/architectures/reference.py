"""Writes small models of random weights, and the logits that each architecture defines for them, computed in float64.

    pip install numpy gguf && python3 tests/data/architectures/reference.py

It follows the papers and the operators of llama.cpp, and shares no code with gust. A file `NAME.json` has the tokens of a
prompt that is longer than every window, and the logits after its last token. gust is within 1.3e-6 relative RMSE of them
with keys and values in F32. With F16, which llama.cpp (node-llama-cpp 3.22.1) was run with, both are off by up to 1e-3, and
by more where a rounded score makes a router choose another expert.
"""

import json
import os

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
STORIES = os.path.join(HERE, "../models/stories260K-f32.gguf")
# E, F, heads, heads of keys and values, D, layers, window.
N_EMBD, N_FF, N_HEADS, N_KV_HEADS, HEAD_DIM, N_LAYERS, WINDOW = 32, 48, 4, 2, 8, 6, 50
N_EXPERTS, N_USED, N_FF_EXPERT, N_FF_SHARED = 6, 3, 24, 40
N_TOKENS = 300
EPS = 1e-6


EXPERTS = ("llama", "qwen2moe", "qwen3moe", "granitemoe")
# Factors of the embedding, of what layers add, of scores and of logits.
GRANITE = {"embedding": 3.0, "residual": 0.6, "attention": 0.2, "logit": 2.5}


def file_name(arch):
    return "mixtral" if arch == "llama" else arch


def n_ff_expert(arch):
    return N_FF if arch in ("llama", "granitemoe") else N_FF_EXPERT


def weights(arch, rng):
    """All tensors of a model, in the order of a file."""
    made = {}

    def matrix(name, rows, cols, scale=None):
        scale = 1.5 / np.sqrt(cols) if scale is None else scale
        made[name] = (rng.standard_normal((rows, cols)) * scale).astype(np.float32)

    def norm(name, size):
        made[name] = (1 + 0.2 * rng.standard_normal(size)).astype(np.float32)

    # Tied: the scale of the embedding is that of the logits.
    matrix("token_embd.weight", 512, N_EMBD, {"gemma": 0.05, "gemma3": 0.05}.get(arch, 0.3))
    for layer in range(N_LAYERS):
        at = f"blk.{layer}."
        norm(at + "attn_norm.weight", N_EMBD)
        matrix(at + "attn_q.weight", N_HEADS * HEAD_DIM, N_EMBD)
        matrix(at + "attn_k.weight", N_KV_HEADS * HEAD_DIM, N_EMBD)
        matrix(at + "attn_v.weight", N_KV_HEADS * HEAD_DIM, N_EMBD)
        matrix(at + "attn_output.weight", N_EMBD, N_HEADS * HEAD_DIM)
        norm(at + "ffn_norm.weight", N_EMBD)
        if arch in EXPERTS:
            matrix(at + "ffn_gate_inp.weight", N_EXPERTS, N_EMBD)
            for name, rows, cols in [("gate", n_ff_expert(arch), N_EMBD), ("up", n_ff_expert(arch), N_EMBD), ("down", N_EMBD, n_ff_expert(arch))]:
                each = rng.standard_normal((N_EXPERTS, rows, cols)) * 1.5 / np.sqrt(cols)
                made[at + f"ffn_{name}_exps.weight"] = each.astype(np.float32)
        else:
            matrix(at + "ffn_gate.weight", N_FF, N_EMBD)
            matrix(at + "ffn_up.weight", N_FF, N_EMBD)
            matrix(at + "ffn_down.weight", N_EMBD, N_FF)
        if arch == "qwen2moe":
            made[at + "ffn_gate_inp_shexp.weight"] = rng.standard_normal(N_EMBD).astype(np.float32)
        if arch in ("qwen2moe", "granitemoe"):
            matrix(at + "ffn_gate_shexp.weight", N_FF_SHARED, N_EMBD)
            matrix(at + "ffn_up_shexp.weight", N_FF_SHARED, N_EMBD)
            matrix(at + "ffn_down_shexp.weight", N_EMBD, N_FF_SHARED)
        if arch == "qwen2moe":
            for name, rows in [("q", N_HEADS), ("k", N_KV_HEADS), ("v", N_KV_HEADS)]:
                made[at + f"attn_{name}.bias"] = rng.standard_normal(rows * HEAD_DIM).astype(np.float32)
        if arch in ("gemma2", "gemma3"):
            norm(at + "post_attention_norm.weight", N_EMBD)
            norm(at + "post_ffw_norm.weight", N_EMBD)
        if arch in ("gemma3", "qwen3moe"):
            norm(at + "attn_q_norm.weight", HEAD_DIM)
            norm(at + "attn_k_norm.weight", HEAD_DIM)
    norm("output_norm.weight", N_EMBD)
    # llama.cpp wants one here.
    if arch == "qwen2moe":
        matrix("output.weight", 512, N_EMBD)
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
    if arch in ("gemma2", "gemma3"):
        writer.add_sliding_window(WINDOW)
    if arch in EXPERTS:
        writer.add_expert_count(N_EXPERTS)
        writer.add_expert_used_count(N_USED)
        if arch in ("qwen2moe", "qwen3moe"):
            writer.add_expert_feed_forward_length(N_FF_EXPERT)
        if arch in ("qwen2moe", "granitemoe"):
            writer.add_expert_shared_feed_forward_length(N_FF_SHARED)
    if arch.startswith("granite"):
        writer.add_embedding_scale(GRANITE["embedding"])
        writer.add_residual_scale(GRANITE["residual"])
        writer.add_attention_scale(GRANITE["attention"])
        writer.add_logit_scale(GRANITE["logit"])
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


def rotate(arch, x, base):
    """`[T, heads, D]`; dimensions i and i + D / 2 together, or 2i and 2i + 1."""
    angles = np.arange(len(x))[:, None] * base ** (-np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    if arch in ("llama", "granite", "granitemoe", "smollm3"):
        out = np.empty_like(x)
        out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
        out[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
        return out
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, first * sin + second * cos], -1)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def silu(x):
    return x / (1 + np.exp(-x))


def experts(arch, of, h):
    """The chosen experts of each token, and the network that all go through."""
    scores = h @ of("ffn_gate_inp").T
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    scores /= scores.sum(-1, keepdims=True)
    out = np.zeros_like(h)
    for t, row in enumerate(scores):
        chosen = np.argsort(-row)[:N_USED]
        parts = row[chosen] if arch == "qwen2moe" else row[chosen] / row[chosen].sum()
        for expert, part in zip(chosen, parts):
            gate, up, down = (of(f"ffn_{name}_exps")[expert] for name in ("gate", "up", "down"))
            out[t] += part * (down @ (silu(gate @ h[t]) * (up @ h[t])))
    if arch in ("qwen2moe", "granitemoe"):
        part = np.ones(len(h))
        if arch == "qwen2moe":
            part = 1 / (1 + np.exp(-(h @ of("ffn_gate_inp_shexp"))))
        gate, up, down = (of(f"ffn_{name}_shexp") for name in ("gate", "up", "down"))
        out += part[:, None] * ((silu(h @ gate.T) * (h @ up.T)) @ down.T)
    return out


def logits(arch, tensors, tokens):
    """After the last token, in float64."""
    tensors = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    n, at = len(tokens), np.arange(len(tokens))
    is_gemma, is_granite = arch.startswith("gemma"), arch.startswith("granite")
    factor = GRANITE["embedding"] if is_granite else np.sqrt(N_EMBD) if is_gemma else 1
    x = tensors["token_embd.weight"][tokens] * factor
    residual = GRANITE["residual"] if is_granite else 1
    act = gelu if is_gemma else silu
    period = {"gemma2": 2, "gemma3": 6}.get(arch, 1)
    for layer in range(N_LAYERS):
        of = lambda name: tensors[f"blk.{layer}.{name}.weight"]
        is_local = layer % period < period - 1
        h = rms_norm(x, of("attn_norm"))
        bias = lambda name: tensors.get(f"blk.{layer}.{name}.bias", 0)
        q = (h @ of("attn_q").T + bias("attn_q")).reshape(n, N_HEADS, HEAD_DIM)
        k = (h @ of("attn_k").T + bias("attn_k")).reshape(n, N_KV_HEADS, HEAD_DIM)
        v = (h @ of("attn_v").T + bias("attn_v")).reshape(n, N_KV_HEADS, HEAD_DIM)
        if arch in ("gemma3", "qwen3moe"):
            q, k = rms_norm(q, of("attn_q_norm")), rms_norm(k, of("attn_k_norm"))
        if arch != "smollm3" or layer % 4 != 3:
            q, k = (rotate(arch, heads, rope_base(arch, is_local)) for heads in (q, k))
        k, v = (np.repeat(heads, N_HEADS // N_KV_HEADS, 1) for heads in (k, v))
        scores = np.einsum("ihd,jhd->hij", q, k) * (GRANITE["attention"] if is_granite else HEAD_DIM**-0.5)
        if arch == "gemma2":
            scores = 5 * np.tanh(scores / 5)
        seen = at[:, None] >= at[None]
        if is_local:
            seen &= at[:, None] - at[None] < WINDOW
        scores = np.where(seen, scores, -np.inf)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        out = np.einsum("hij,jhd->ihd", scores, v).reshape(n, -1) @ of("attn_output").T
        has_norms_after = arch in ("gemma2", "gemma3")
        x = x + residual * (rms_norm(out, of("post_attention_norm")) if has_norms_after else out)
        h = rms_norm(x, of("ffn_norm"))
        if arch in EXPERTS:
            out = experts(arch, of, h)
        else:
            out = (act(h @ of("ffn_gate").T) * (h @ of("ffn_up").T)) @ of("ffn_down").T
        x = x + residual * (rms_norm(out, of("post_ffw_norm")) if has_norms_after else out)
    out = rms_norm(x[-1], tensors["output_norm.weight"]) @ tensors.get("output.weight", tensors["token_embd.weight"]).T
    if is_granite:
        out = out / GRANITE["logit"]
    return 8 * np.tanh(out / 8) if arch == "gemma2" else out


for seed, arch in enumerate(["gemma", "gemma2", "gemma3", *EXPERTS, "granite", "smollm3"]):
    rng = np.random.default_rng(seed)
    tensors = weights(arch, rng)
    tokens = [1, *rng.integers(3, 512, N_TOKENS - 1).tolist()]
    write(arch, tensors, os.path.join(HERE, f"{file_name(arch)}.gguf"))
    found = [float(f"{x:.9g}") for x in logits(arch, tensors, tokens)]
    with open(os.path.join(HERE, f"{file_name(arch)}.json"), "w") as file:
        json.dump({"tokens": tokens, "logits": found}, file)
