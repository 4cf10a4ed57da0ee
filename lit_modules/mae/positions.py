"""Learned positions that stretch to grids of other sizes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_modules.mae.cubes import Grid


class GridPositions(nn.Module):
    """One learned vector a place plus one a time, interpolated where the grid is another.

    Separable, as in Feichtenhofer et al. 2022, "Masked Autoencoders As Spatiotemporal Learners",
    section 3.

    Args:
        dim: values of a position.
        grid: times, rows and columns in training.
    """

    def __init__(self, dim: int, grid: Grid) -> None:
        super().__init__()
        times, rows, columns = grid
        self.time = nn.Parameter(torch.empty(times, dim))
        self.place = nn.Parameter(torch.empty(rows, columns, dim))
        nn.init.trunc_normal_(self.time, std=0.02)
        nn.init.trunc_normal_(self.place, std=0.02)

    def forward(self, grid: Grid) -> Tensor:
        """Positions of a grid of this size, `(T, H, W, dim)`."""
        times, rows, columns = grid
        time = stretch(self.time, times)
        place: Tensor = self.place
        if place.shape[:2] != (rows, columns):
            # (h, w, dim) -> (1, dim, h, w), as interpolation wants it
            spread = F.interpolate(
                place.permute(2, 0, 1)[None], (rows, columns), mode="bicubic", align_corners=False
            )
            place = spread[0].permute(1, 2, 0)
        return time[:, None, None] + place


def stretch(line: Tensor, length: int) -> Tensor:
    """Interpolates learned vectors along a line: `(n, dim)` -> `(length, dim)`."""
    if len(line) == length:
        return line
    return F.interpolate(line.mT[None], length, mode="linear", align_corners=False)[0].mT
