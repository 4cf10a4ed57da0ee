"""What a network is told of the flow time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

TIME_SCALE = 1000.0  # radians a unit of flow time in the fastest sinusoid
LONGEST_PERIOD = 10_000.0  # of the slowest sinusoid, in periods of the fastest


def sinusoids(time: Tensor, dim: int) -> Tensor:
    """Cosines and sines of flow times, at frequencies in geometric progression.

    Vaswani et al. 2017, "Attention Is All You Need", section 3.5, made for whole numbers: flow
    times lie in [0, 1], where all but the fastest frequencies would stand still, so they are
    multiplied by 1000 first.

    Args:
        time: flow times in [0, 1], `(b,)`.
        dim: values of the result, an even number.

    Returns:
        `(b, dim)` in [-1, 1], in `time`'s dtype.
    """
    steps = torch.arange(dim // 2, device=time.device, dtype=time.dtype) / (dim // 2)
    angles = time[:, None] * (TIME_SCALE * torch.exp(-math.log(LONGEST_PERIOD) * steps))
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """Sinusoids of the flow time through a small perceptron.

    Args:
        dim: values of the embedding, an even number.

    Raises:
        ValueError: `dim` is odd or below 2.
    """

    def __init__(self, dim: int = 256) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"time_dim {dim} must be a positive even number; set model.time_dim")
        self.dim = dim
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, time: Tensor) -> Tensor:
        """Flow times in [0, 1], `(b,)` -> `(b, dim)`."""
        # In float32 whatever the autocast: bf16 knows 1000 t to four units at best.
        out: Tensor = self.mlp(sinusoids(time.float(), self.dim))
        return out
