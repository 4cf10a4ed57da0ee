"""What all trackers share: frames made small and gray, and cells left out where nothing changes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.tracking.motion import Bools, Floats, Gray, Motion, grid_points


class GatedTracker(ABC):
    """A tracker that looks only at points in whose cell some pixel changes.

    Most of a game's picture stands still from frame to frame, and on plain colour a tracker finds
    whatever it likes: a point whose cell does not change is still, exactly and for free.

    Args:
        grid: points in a row and in a column.
        resize_shorter: pixels that the shorter side of larger frames is shrunk to, by area; None
            tracks at the frame's own size.
        still_difference: brightness in [0, 255] by which some pixel of a cell must change; 0 takes
            every difference, a negative number tracks every point.
    """

    def __init__(
        self, grid: int = 20, resize_shorter: int | None = None, still_difference: int = 8
    ) -> None:
        if grid < 1:
            raise ValueError(f"grid {grid} has no points; set grid to 1 or more")
        if resize_shorter is not None and resize_shorter < grid:
            raise ValueError(
                f"resize_shorter {resize_shorter} leaves less than a pixel to each of {grid} rows; "
                f"set resize_shorter to {grid} or more"
            )
        self.grid, self.resize_shorter = grid, resize_shorter
        self.still_difference = still_difference

    def gray(self, frame: NDArray[np.uint8]) -> Gray:
        """RGB `(h, w, 3)` or brightness `(h, w)` at the size at which it is tracked."""
        gray = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        shorter = min(gray.shape)
        if self.resize_shorter is not None and shorter > self.resize_shorter:
            height, width = (round(side * self.resize_shorter / shorter) for side in gray.shape)
            gray = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(gray, np.uint8)

    def step(self, previous: Gray, gray: Gray) -> Motion:
        """Motion between two frames of one size, each as `gray` made it.

        Raises:
            ValueError: if their sizes differ or leave less than a pixel to a cell.
        """
        if previous.shape != gray.shape or min(gray.shape) < self.grid:
            raise ValueError(
                f"frames of {previous.shape} and {gray.shape} cannot be tracked on a grid of "
                f"{self.grid}; they must be alike and have a pixel a point"
            )
        moving = self.moving(previous, gray)
        velocity, visible = np.zeros((len(moving), 2), np.float32), np.ones(len(moving), np.bool_)
        if moving.any():
            points = grid_points(self.grid, *gray.shape)[moving]
            displacement, found = self.follow(previous, gray, points)
            displacement[~found] = 0
            velocity[moving] = displacement / (gray.shape[1], gray.shape[0])
            visible[moving] = found
        return Motion(velocity, visible)

    def moving(self, previous: Gray, gray: Gray) -> Bools:
        """Which cells `(P,)` hold a pixel that changes."""
        if self.still_difference < 0:
            return np.ones(self.grid**2, np.bool_)
        difference = cv2.absdiff(previous, gray)
        changed = cv2.threshold(difference, self.still_difference, 1, cv2.THRESH_BINARY)[1]
        if not changed.any():
            return np.zeros(self.grid**2, np.bool_)
        # Floats: of a large cell one pixel's share is lost in a byte.
        share = cv2.resize(
            changed.astype(np.float32), (self.grid, self.grid), interpolation=cv2.INTER_AREA
        )
        return np.asarray(share.ravel() > 1e-7)

    @abstractmethod
    def follow(self, previous: Gray, gray: Gray, points: Floats) -> tuple[Floats, Bools]:
        """Where points go.

        Args:
            previous: a frame.
            gray: the next frame.
            points: `(n, 2)` pixels of `previous`, x then y, at least one.

        Returns:
            Displacement `(n, 2)` in pixels, and which points `(n,)` are not lost.
        """


def returned(points: Floats, back: Floats, tolerance: float) -> Bools:
    """Which points come back to where they began: `(n, 2)` and `(n, 2)` to `(n,)`."""
    return np.asarray(np.abs(back - points).max(axis=1) <= tolerance)
