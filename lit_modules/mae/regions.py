"""Bands of the picture that play different parts: score line, sky, play field, floor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class RegionEmbedding(nn.Module):
    """A learned vector for each horizontal band of the picture.

    Args:
        dim: values of the vector.
        ends: where each band but the last ends, rising shares of the height in (0, 1).

    Raises:
        ValueError: the ends do not rise within (0, 1).
    """

    def __init__(self, dim: int, ends: Sequence[float] = (0.13, 0.5, 0.87)) -> None:
        super().__init__()
        bounds = [0.0, *ends, 1.0]
        if any(low >= high for low, high in pairwise(bounds)):
            raise ValueError(f"regions {list(ends)} must rise within (0, 1); set model.regions")
        self.ends = tuple(ends)
        self.of_region = nn.Parameter(torch.empty(len(ends) + 1, dim))
        nn.init.trunc_normal_(self.of_region, std=0.02)

    def forward(self, rows: int) -> Tensor:
        """Vectors of the rows of a grid, `(rows, dim)`."""
        return self.of_region[self.labels(rows)]

    def labels(self, rows: int) -> Tensor:
        """Which band the middle of each row of a grid lies in, int64 `(rows,)`."""
        device = self.of_region.device
        middles = (torch.arange(rows, device=device) + 0.5) / rows
        return torch.bucketize(middles, torch.tensor(self.ends, device=device), right=True)
