"""Sparse optical flow: the default tracker."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from datamodules.tracking.gated import GatedTracker, returned
from datamodules.tracking.motion import Bools, Floats, Gray


class LucasKanade(GatedTracker):
    """Pyramidal Lucas-Kanade (Bouguet 2001) on the points that move, checked backwards.

    Args:
        grid: points in a row and in a column.
        resize_shorter: pixels that the shorter side of larger frames is shrunk to.
        still_difference: brightness by which some pixel of a cell must change; below 0 tracks all.
        window: side in pixels of the square around a point that is compared.
        levels: how often the frame is halved for long ways; each level doubles the reach.
        iterations: most iterations a level.
        tolerance: pixels that a point may be off when it is followed back.
    """

    def __init__(
        self,
        grid: int = 20,
        resize_shorter: int | None = None,
        still_difference: int = 8,
        window: int = 15,
        levels: int = 3,
        iterations: int = 10,
        tolerance: float = 1.0,
    ) -> None:
        super().__init__(grid, resize_shorter, still_difference)
        self.tolerance = tolerance
        self.options: dict[str, Any] = {
            "winSize": (window, window),
            "maxLevel": levels,
            "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, iterations, 0.03),
        }

    def follow(self, previous: Gray, gray: Gray, points: Floats) -> tuple[Floats, Bools]:
        """Displacement `(n, 2)` in pixels of points `(n, 2)`, and which are not lost."""
        end, found = self._go(previous, gray, points)
        back, again = self._go(gray, previous, end)
        visible = found & again & returned(points, back, self.tolerance) & inside(end, gray)
        return end - points, visible

    def _go(self, one: Gray, other: Gray, points: Floats) -> tuple[Floats, Bools]:
        """Where points `(n, 2)` of one frame are in the other, and which are found."""
        flow: Any = cv2.calcOpticalFlowPyrLK  # whose stubs know no None
        end, found, _ = flow(one, other, points[:, None], None, **self.options)
        return end[:, 0], found[:, 0] == 1


def inside(points: Floats, gray: Gray) -> Bools:
    """Which points `(n, 2)` are in the frame."""
    return np.asarray(((points >= -0.5) & (points <= np.array(gray.shape[::-1]) - 0.5)).all(axis=1))
