"""Clips cut into cubes of two frames, and cubes gathered into mask units and put back.

A mask unit is k x k neighbouring cubes of one time. Tokens stand in the order of the units and,
within a unit, row by row: the tokens of a unit lie side by side, whatever the stage's resolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FRAMES = 2  # of a patch, a cube and a unit alike
CELL = 2  # cubes along each side of a unit

Grid = tuple[int, int, int]  # times, rows, columns
Places = tuple[Tensor, Tensor, Tensor]  # likewise, of each


def grid_of(video: Tensor, side: int) -> Grid:
    """How many units a clip has along time, height and width.

    Args:
        video: `(b, c, t, h, w)`.
        side: pixels along a unit's height and width.

    Raises:
        ValueError: the clip is empty, or a length does not divide.
    """
    t, h, w = video.shape[2:]
    for name, length, unit in (("length", t, FRAMES), ("height", h, side), ("width", w, side)):
        if length < 1 or length % unit:
            raise ValueError(f"clip {name} {length} must be a positive multiple of {unit}; pad it")
    return t // FRAMES, h // side, w // side


def cut(video: Tensor, side: int) -> Tensor:
    """`(b, c, t, h, w)` -> cubes `(b, t / 2, h / side, w / side, 2 * side * side * c)`."""
    b, c, t, h, w = video.shape
    cubes = video.reshape(b, c, t // FRAMES, FRAMES, h // side, side, w // side, side)
    # (b, c, T, 2, H, s, W, s) -> (b, T, H, W, 2, s, s, c)
    return cubes.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4)


def join(cubes: Tensor, side: int) -> Tensor:
    """The inverse of `cut`: `(b, T, H, W, 2 * side * side * c)` -> `(b, c, t, h, w)`."""
    b, times, rows, columns, _ = cubes.shape
    pixels = cubes.reshape(b, times, rows, columns, FRAMES, side, side, -1)
    # (b, T, H, W, 2, s, s, c) -> (b, c, T, 2, H, s, W, s)
    pixels = pixels.permute(0, 7, 1, 4, 2, 5, 3, 6)
    return pixels.reshape(b, -1, times * FRAMES, rows * side, columns * side)


def to_units(grid: Tensor, k: int) -> Tensor:
    """`(b, T, k * H, k * W, c)` -> `(b, T * H * W, k * k, c)`."""
    b, times, rows, columns, c = grid.shape
    cells = grid.reshape(b, times, rows // k, k, columns // k, k, c).transpose(3, 4)
    return cells.reshape(b, -1, k * k, c)


def from_units(units: Tensor, grid: Grid, k: int) -> Tensor:
    """The inverse of `to_units`: `(b, T * H * W, k * k, c)` -> `(b, T, k * H, k * W, c)`."""
    times, rows, columns = grid
    cells = units.reshape(-1, times, rows, columns, k, k, units.shape[-1]).transpose(3, 4)
    return cells.reshape(-1, times, rows * k, columns * k, units.shape[-1])


def take(video: Tensor, places: Places, side: int) -> Tensor:
    """Squares of two frames out of clips; nothing else of them is read.

    Args:
        video: `(b, c, t, h, w)`.
        places: times, rows and columns in a grid of such squares, int64 `(b, n)` each.
        side: of a square in pixels.

    Returns:
        `(b, n, c, 2, side, side)`.
    """
    b, c, t, h, w = video.shape
    squares = video.reshape(b, c, t // FRAMES, FRAMES, h // side, side, w // side, side)
    times, rows, columns = places
    clip = torch.arange(b, device=video.device)[:, None]
    return squares[clip, :, times, :, rows, :, columns]


def unit_places(units: Tensor, grid: Grid) -> Places:
    """Where units of these numbers (int64 of any shape) lie in the grid of units."""
    _, rows, columns = grid
    return units // (rows * columns), units // columns % rows, units % columns


def cube_places(cubes: Tensor, grid: Grid) -> Places:
    """Where cubes of these numbers, four a unit, lie in the grid of cubes.

    Args:
        cubes: int64 of any shape.
        grid: times, rows and columns of units.
    """
    times, rows, columns = unit_places(cubes // CELL**2, grid)
    cell = cubes % CELL**2
    return times, rows * CELL + cell // CELL, columns * CELL + cell % CELL


def pad(video: Tensor, side: int) -> Tensor:
    """Repeats the last row, column and frame of a clip until units fit; crop the result back.

    What is repeated stays within its own unit, so a hidden unit tells nothing to a visible one.

    Args:
        video: float `(b, c, t, h, w)`.
        side: pixels along a unit's height and width.
    """
    t, h, w = video.shape[2:]
    return F.pad(video, (0, -w % side, 0, -h % side, 0, -t % FRAMES), mode="replicate")
