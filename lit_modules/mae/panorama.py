"""Visible pixels of all frames laid out side by side as the camera moved, to be looked up again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lit_modules.mae.cubes import FRAMES, Grid, Places, cube_places, take, unit_places


class Borrowed(NamedTuple):
    """What other frames show of hidden cubes."""

    pixels: Tensor  # (b, m, pixels of a cube), the mean where several frames show one
    known: Tensor  # bool, likewise: whether any frame shows it


def borrow(
    video: Tensor, units: Tensor, cubes: Tensor, grid: Grid, sides: tuple[int, int], camera: Tensor
) -> Borrowed:
    """Pixels of hidden cubes that visible units show at other times.

    What the game draws moves through the picture as its camera does the other way, so a pixel is
    looked up by its place in the level. A camera that is further than one and a half pictures from
    where it is in the middle of the clip's places is elsewhere in the game: its frame neither gives
    nor takes.

    Args:
        video: `(b, c, t, h, w)`; only the visible units are read.
        units: numbers of the visible units, int64 `(b, v)`.
        cubes: numbers of the hidden cubes, int64 `(b, m)`.
        grid: times, rows and columns of units.
        sides: of a unit and of a cube, in pixels.
        camera: its place in pixels to the right, `(b, t)`; NaN where it is not known.
    """
    b, c, _, h, w = video.shape
    width = 4 * w
    place, placed = offsets(camera, w)

    at, there = lookup(unit_places(units, grid), sides[0], place, placed, width)
    # (b, v, c, 2, s, s) -> (b, pixels, c), with a one beside the colours to be counted
    colours = take(video, unit_places(units, grid), sides[0]).movedim(2, -1).flatten(1, -2)
    seen = torch.cat([colours.float(), torch.ones_like(colours[..., :1]).float()], 2)
    seen = seen * there[..., None]
    canvas = seen.new_zeros(b, h * width, c + 1)
    canvas.scatter_add_(1, at[..., None].expand(-1, -1, c + 1), seen)

    at, there = lookup(cube_places(cubes, grid), sides[1], place, placed, width)
    found = canvas.gather(1, at[..., None].expand(-1, -1, c + 1))
    count = found[..., c:] * there[..., None]
    pixels = found[..., :c] / count.clamp_min(1)
    shape = (b, cubes.shape[1], -1)
    return Borrowed(pixels.view(shape), (count > 0).expand_as(pixels).reshape(shape))


def offsets(camera: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Pixels from the left end of a canvas of four pictures, and whether they are known and fit.

    The middle one of the camera's places (their median) lies in the middle of the canvas, so a
    single frame from elsewhere, as when a level begins anew, leaves the others where they are.

    Args:
        camera: `(b, t)`, NaN where it is not known.
        width: of the picture.

    Returns:
        int64 and bool `(b, t)`.
    """
    known = ~camera.isnan()
    middle = camera.nanmedian(1, keepdim=True).values
    place = (camera - middle + 1.5 * width).round().nan_to_num(-1)
    fits = known & (place >= 0) & (place <= 3 * width)
    return place.masked_fill(~fits, 0).long(), fits


def lookup(
    squares: Places, side: int, place: Tensor, placed: Tensor, width: int
) -> tuple[Tensor, Tensor]:
    """Where on the canvas the pixels of squares of two frames lie.

    Args:
        squares: times, rows and columns in a grid of such squares, int64 `(b, n)` each.
        side: of a square in pixels.
        place: of the camera, int64 `(b, t)`.
        placed: whether it counts, bool `(b, t)`.
        width: of the canvas.

    Returns:
        Numbers of pixels, int64, and whether they are on it, float: `(b, n * 2 * side * side)`.
    """
    times, rows, columns = squares
    device = times.device
    frame = times[..., None] * FRAMES + torch.arange(FRAMES, device=device)  # (b, n, 2)
    shift = place.gather(1, frame.flatten(1)).view(frame.shape)
    counts = placed.gather(1, frame.flatten(1)).view(frame.shape)
    step = torch.arange(side, device=device)
    down = rows[..., None] * side + step  # (b, n, s)
    along = (columns * side)[..., None, None] + shift[..., None] + step  # (b, n, 2, s)
    at = down[:, :, None, :, None] * width + along[:, :, :, None]  # (b, n, 2, s, s)
    return at.flatten(1), counts[..., None, None].expand(at.shape).flatten(1).float()
