"""Sampling from the PyTorch model, many texts at once, with a key-value cache. For evaluation only.

All texts walk in step from position 0: while a prompt has tokens they are fed, after that the sampled ones are.
"""

import torch
from torch import Tensor

from .model import Llama, rope


class Cache:
    def __init__(self, model: Llama, batch: int):
        c = model.c
        shape = (c.layers, batch, c.kv_heads, c.context, c.dim // c.heads)
        self.k, self.v = torch.zeros(shape), torch.zeros(shape)


@torch.no_grad()
def generate(model: Llama, prompts: list[list[int]], stops: set[int], temperature: float, seed: int,
             limit: int = 10_000) -> list[list[int]]:
    """What follows each prompt, ended by its stop token (kept) where one came within `limit` and the context."""
    torch.manual_seed(seed)
    cache = Cache(model, len(prompts))
    out: list[list[int]] = [[] for _ in prompts]
    done = [False] * len(prompts)
    now = torch.tensor([p[0] for p in prompts])
    for position in range(model.c.context - 1):
        logits = step(model, now, position, cache)
        if temperature > 0:
            picked = torch.multinomial((logits / temperature).softmax(-1), 1)[:, 0]
        else:
            picked = logits.argmax(-1)
        now = picked.clone()
        for i, prompt in enumerate(prompts):
            if position + 1 < len(prompt):
                now[i] = prompt[position + 1]
            elif not done[i]:
                out[i].append(int(picked[i]))
                done[i] = out[i][-1] in stops or len(out[i]) >= limit
        if all(done):
            break
    return out


def step(model: Llama, ids: Tensor, position: int, cache: Cache) -> Tensor:
    """ids [batch] at one position -> logits [batch, vocab]"""
    c = model.c
    batch, head, group = len(ids), c.dim // c.heads, c.heads // c.kv_heads
    cos, sin = model.cos[position : position + 1], model.sin[position : position + 1]
    x = model.token_embd(ids)
    for i, block in enumerate(model.blk):
        normed = block.attn_norm(x)
        q = rope(block.attn_q(normed).view(batch, 1, c.heads, head), cos, sin)
        cache.k[i, :, :, position] = rope(block.attn_k(normed).view(batch, 1, c.kv_heads, head), cos, sin)[:, 0]
        cache.v[i, :, :, position] = block.attn_v(normed).view(batch, c.kv_heads, head)
        k, v = cache.k[i, :, :, : position + 1], cache.v[i, :, :, : position + 1]
        q = q.view(batch, c.kv_heads, group, head)
        weights = (q @ k.transpose(-1, -2) / head**0.5).softmax(-1)
        x = x + block.attn_output((weights @ v).reshape(batch, c.dim))
        normed = block.ffn_norm(x)
        x = x + block.ffn_down(torch.nn.functional.silu(block.ffn_gate(normed)) * block.ffn_up(normed))
    return model.output_norm(x) @ model.token_embd.weight.t()
