"""What a tracker tells of a pair of frames, and the grid of points that it tells it of."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
"""Brightness `(h, w)`."""
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
STEP_FPS = 20.0  # of steps, whatever the rate of the file


class Motion(NamedTuple):
    """Where the points of the grid go from one frame to another."""

    velocity: Floats
    """Displacement `(P, 2)`, x then y, in shares of the frame's width and height; right and down
    are positive. Exactly 0 where nothing changes and where the point is lost."""
    visible: Bools
    """`(P,)`: not lost. A still point is visible."""


class Step(NamedTuple):
    """Motion in 1/20 of a second."""

    seconds: float
    """When it begins, by the file's timestamps."""
    velocity: Floats
    """As that of `Motion`."""
    visible: Bools
    """As that of `Motion`."""


class Tracker(Protocol):
    """Follows the points of a grid from a frame to the next; each pair stands for itself."""

    grid: int
    """Points in a row and in a column, `P = grid * grid`; row-major from the top left."""

    def gray(self, frame: NDArray[np.uint8]) -> Gray:
        """RGB `(h, w, 3)` or brightness `(h, w)` at the size at which it is tracked."""

    def step(self, previous: Gray, gray: Gray) -> Motion:
        """Motion between two frames of one size, each as `gray` made it."""


def grid_points(grid: int, height: int, width: int) -> Floats:
    """Centres of the cells that `grid` rows and columns cut a frame into.

    Returns:
        `(grid * grid, 2)`: x and y in pixels, where whole numbers are centres of pixels; row-major
        from the top left.
    """
    x, y = ((np.arange(grid) + 0.5) / grid * size - 0.5 for size in (width, height))
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)
