"""The model: a Llama, as small as it gets. Tensor names are GGUF's, so that export is a copy.

RoPE turns neighbouring pairs (GGUF's "NORM" order): nothing needs permuting on export. The output matrix is the token
embedding (tied), as GGUF expects where `output.weight` is absent.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Config:
    vocab: int = 2816
    dim: int = 256
    ffn: int = 768
    layers: int = 4
    heads: int = 8
    kv_heads: int = 4
    context: int = 512
    theta: float = 10000.0
    eps: float = 1e-5


SIZES = {"stories": Config(), "tiny": Config(vocab=640, dim=64, ffn=128, layers=2, heads=4, kv_heads=2)}


class Block(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        head = c.dim // c.heads
        self.c = c
        self.attn_norm = nn.RMSNorm(c.dim, c.eps)
        self.attn_q = nn.Linear(c.dim, c.dim, bias=False)
        self.attn_k = nn.Linear(c.dim, c.kv_heads * head, bias=False)
        self.attn_v = nn.Linear(c.dim, c.kv_heads * head, bias=False)
        self.attn_output = nn.Linear(c.dim, c.dim, bias=False)
        self.ffn_norm = nn.RMSNorm(c.dim, c.eps)
        self.ffn_gate = nn.Linear(c.dim, c.ffn, bias=False)
        self.ffn_up = nn.Linear(c.dim, c.ffn, bias=False)
        self.ffn_down = nn.Linear(c.ffn, c.dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        c, (batch, length, _) = self.c, x.shape
        head = c.dim // c.heads
        normed = self.attn_norm(x)
        q = rope(self.attn_q(normed).view(batch, length, c.heads, head), cos, sin).transpose(1, 2)
        k = rope(self.attn_k(normed).view(batch, length, c.kv_heads, head), cos, sin).transpose(1, 2)
        v = self.attn_v(normed).view(batch, length, c.kv_heads, head).transpose(1, 2)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(batch, length, c.dim))
        normed = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(normed)) * self.ffn_up(normed))


class Llama(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        self.token_embd = nn.Embedding(c.vocab, c.dim)
        self.blk = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.output_norm = nn.RMSNorm(c.dim, c.eps)
        head = c.dim // c.heads
        angle = torch.outer(torch.arange(c.context), c.theta ** (-torch.arange(0, head, 2) / head))
        self.register_buffer("cos", angle.cos(), persistent=False)  # [context, head / 2]
        self.register_buffer("sin", angle.sin(), persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                residual = "attn_output" in name or "ffn_down" in name
                nn.init.normal_(p, std=0.02 / (2 * c.layers) ** 0.5 if residual else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """ids [batch, length] -> logits [batch, length, vocab]"""
        x = self.token_embd(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for block in self.blk:
            x = block(x, cos, sin)
        return self.output_norm(x) @ self.token_embd.weight.t()


def rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [batch, length, heads, head]"""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[:, None, :], sin[:, None, :]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)


def loss_of(model: nn.Module, rows: Tensor, weights: Tensor) -> Tensor:
    """The mean over tokens, weighted. rows [batch, context + 1] of token ids, -1 for padding; weights alike."""
    logits = model(rows[:, :-1].clamp(min=0))
    losses = F.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].clamp(min=0).flatten(), reduction="none")
    weights = weights[:, 1:].flatten() * (rows[:, 1:].flatten() >= 0)
    return (losses * weights).sum() / weights.sum()
