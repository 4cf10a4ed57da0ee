"""Dense optical flow, for pictures that move all over."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from datamodules.tracking.gated import GatedTracker, returned
from datamodules.tracking.motion import Bools, Floats, Gray


class DenseInverseSearch(GatedTracker):
    """DIS optical flow (Kroeger et al. 2016), preset ultrafast, read at the points that move.

    Args:
        grid: points in a row and in a column.
        resize_shorter: pixels that the shorter side of larger frames is shrunk to.
        still_difference: brightness by which some pixel of a cell must change; below 0 tracks all.
        tolerance: pixels that a point may be off when it is followed back.
    """

    def __init__(
        self,
        grid: int = 20,
        resize_shorter: int | None = None,
        still_difference: int = 8,
        tolerance: float = 1.0,
    ) -> None:
        super().__init__(grid, resize_shorter, still_difference)
        self.tolerance = tolerance

    def follow(self, previous: Gray, gray: Gray, points: Floats) -> tuple[Floats, Bools]:
        """Displacement `(n, 2)` in pixels of points `(n, 2)`, and which are not lost."""
        # Made anew each time: it can neither be pickled for a worker nor keep a first guess.
        method: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        displacement = read_at(method.calc(previous, gray, None), points)
        end = points + displacement
        back = end + read_at(method.calc(gray, previous, None), end)
        return displacement, returned(points, back, self.tolerance)


def read_at(flow: Floats, points: Floats) -> Floats:
    """Flow `(h, w, 2)` at points `(n, 2)`, bilinear; the border goes on outside."""
    x, y = points[None, :, 0], points[None, :, 1]
    read = cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(read[0], np.float32)
