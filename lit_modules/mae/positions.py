"""Learned positions that begin as waves and stretch to grids of other sizes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_modules.mae.cubes import FRAMES, Grid


class GridPositions(nn.Module):
    """One learned vector a place plus one a time, interpolated where the grid is another.

    Separable, as in Feichtenhofer et al. 2022, "Masked Autoencoders As Spatiotemporal Learners",
    section 3. Begun as waves, so that near and far differ from the first step on.

    Args:
        dim: values of a position.
        grid: times, rows and columns in training.
    """

    def __init__(self, dim: int, grid: Grid) -> None:
        super().__init__()
        times, rows, columns = grid
        self.time = nn.Parameter(waves(times * FRAMES, dim)[::FRAMES].clone())  # frame by frame
        self.place = nn.Parameter(waves_of_places(rows, columns, dim))

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


def waves(length: int, dim: int) -> Tensor:
    """Sines and cosines of growing length, `(length, dim)`.

    Vaswani et al. 2017, "Attention Is All You Need", section 3.5; zero where `dim` is odd.
    """
    half = dim // 2
    rates = 10_000 ** (-torch.arange(half) / max(1, half))
    angles = torch.arange(length)[:, None] * rates
    return F.pad(torch.cat([angles.sin(), angles.cos()], 1), (0, dim - 2 * half))


def waves_of_places(rows: int, columns: int, dim: int) -> Tensor:
    """Half of the values for the row, half for the column, `(rows, columns, dim)`."""
    down = waves(rows, dim - dim // 2)[:, None].expand(-1, columns, -1)
    along = waves(columns, dim // 2).expand(rows, -1, -1)
    return torch.cat([down, along], 2)


def stretch(line: Tensor, length: int) -> Tensor:
    """Interpolates learned vectors along a line: `(n, dim)` -> `(length, dim)`."""
    if len(line) == length:
        return line
    return F.interpolate(line.mT[None], length, mode="linear", align_corners=False)[0].mT
