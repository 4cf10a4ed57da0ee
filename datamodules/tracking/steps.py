"""Motion at the rate of the file, resampled to steps of 1/20 second by its timestamps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datamodules.tracking.motion import STEP_FPS, Gray, Step, Tracker

ROUNDING = 1e-6  # seconds, so that rounding of floats decides nothing


class MotionSteps:
    """Frame by frame in, steps of equal length out; alike whether live or from a file.

    Every pair of neighbouring frames is tracked once, with the points back on the grid. A step
    adds up the motions of the pairs that it overlaps, each by the share of the pair's time that
    lies in the step: so a thing that moves evenly has the same velocity in every step, whatever
    the rate of the file and however its frames fall.

    Args:
        tracker: tells the motion between two frames.
        fps: steps a second.
    """

    def __init__(self, tracker: Tracker, fps: float = STEP_FPS) -> None:
        if not 0 < fps < float("inf"):
            raise ValueError(f"fps {fps} is no rate; set fps to a number above 0")
        self.tracker, self.fps = tracker, fps
        self.restart()

    def restart(self) -> None:
        """Forgets all frames: what comes next is another video or another take."""
        self._frame: tuple[Gray, float] | None = None
        self._first = 0.0
        self._number = 0  # of the step that is begun
        self._velocity = np.zeros((self.tracker.grid**2, 2), np.float64)
        self._visible = np.ones(self.tracker.grid**2, np.bool_)

    def push(self, frame: NDArray[np.uint8], seconds: float) -> list[Step]:
        """Takes the next frame.

        Args:
            frame: RGB `(h, w, 3)` or brightness `(h, w)`.
            seconds: its time; one that is not later than the frame before is left out.

        Returns:
            The steps that it completes, in order.
        """
        if self._frame is None:
            self._frame, self._first = (self.tracker.gray(frame), seconds), seconds
            return []
        previous, begin = self._frame
        if seconds <= begin:
            return []
        gray = self.tracker.gray(frame)
        motion = self.tracker.step(previous, gray)
        self._frame = gray, seconds
        steps = []
        while (end := self._time(self._number + 1)) <= seconds + ROUNDING:
            share = (end - max(begin, self._time(self._number))) / (seconds - begin)
            self._velocity += share * motion.velocity
            if share * (seconds - begin) > ROUNDING:
                self._visible &= motion.visible
            start = self._time(self._number)
            steps.append(Step(start, self._velocity.astype(np.float32), self._visible))
            self._number += 1
            self._velocity = np.zeros_like(self._velocity)
            self._visible = np.ones_like(self._visible)
        start = max(begin, self._time(self._number))
        if seconds - start > ROUNDING:
            self._velocity += (seconds - start) / (seconds - begin) * motion.velocity
            self._visible &= motion.visible
        return steps

    def _time(self, number: int) -> float:
        """When a step begins."""
        return self._first + number / self.fps
