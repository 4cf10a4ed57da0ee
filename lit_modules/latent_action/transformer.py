"""Blocks of the tokenizer: causal attention over steps, and steps that ask codes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalBlock(nn.Module):
    """Pre-normalised self-attention to steps up to one's own and to all of a context, then an MLP.

    Args:
        width: channels of a token.
        heads: attention heads.
        dropout: share of channels dropped in training, in [0, 1).
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = perceptron(width, dropout)

    def forward(self, steps: Tensor, context: Tensor) -> Tensor:
        """Steps `(b, t, width)` and context `(b, c, width)` -> `(b, t, width)`."""
        t = steps.shape[1]
        own = steps.new_ones(t, t, dtype=torch.bool).tril()
        allowed = torch.cat([own.new_ones(t, context.shape[1]), own], 1)
        normed = self.norm(steps)
        steps = steps + self.attention(normed, torch.cat([context, normed], 1), allowed)
        out: Tensor = steps + self.mlp(self.norm_mlp(steps))
        return out


class CrossBlock(nn.Module):
    """Pre-normalised cross-attention to a memory, then an MLP.

    Args:
        width: channels of a token.
        heads: attention heads.
        dropout: share of channels dropped in training, in [0, 1).
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.norm_memory = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = perceptron(width, dropout)

    def forward(self, steps: Tensor, memory: Tensor, allowed: Tensor) -> Tensor:
        """Steps `(b, t, width)` ask the memory `(b, m, width)` where `allowed` `(t, m)` is true."""
        steps = steps + self.attention(self.norm(steps), self.norm_memory(memory), allowed)
        out: Tensor = steps + self.mlp(self.norm_mlp(steps))
        return out


class Attention(nn.Module):
    """Multi-head attention of queries to a memory.

    Vaswani et al. 2017, "Attention Is All You Need", section 3.2.

    Args:
        width: channels of a token, a multiple of `heads`.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, allowed: Tensor) -> Tensor:
        """`(b, t, width)` and `(b, m, width)`, where `allowed` `(t, m)` -> `(b, t, width)`."""
        parts = (self.query(x), *self.key_value(memory).chunk(2, -1))
        # (b, n, width) -> (b, heads, n, width / heads)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        out: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return out


def perceptron(width: int, dropout: float) -> nn.Sequential:
    """The feed-forward part of a block, four times as wide inside."""
    inner = 4 * width
    return nn.Sequential(
        nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width), nn.Dropout(dropout)
    )


def initialise(module: nn.Module) -> None:
    """Starts linear layers and tables small, for `Module.apply`."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
