"""Motion at the rate of the file, resampled to steps of 1/20 second by its timestamps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.tracking.motion import STEP_FPS, Gray, Motion, Step, Tracker

ROUNDING = 1e-6  # seconds, so that rounding of floats decides nothing


class Resampler:
    """Motions of any length in, steps of equal length out.

    A step adds up the motions that it overlaps, each by the share of the motion's time that lies
    in the step: so a thing that moves evenly has the same velocity in every step, whatever the
    rate of the frames and however they fall. A point is visible if it was all through the step.

    Args:
        points: of the grid.
        fps: steps a second.
        first: seconds at which the first step begins.
    """

    def __init__(self, points: int, fps: float, first: float) -> None:
        self.points, self.fps, self.first = points, fps, first
        self.number = 0  # of the step that is begun
        self._clear()

    def begin(self, number: int) -> float:
        """When a step begins."""
        return self.first + number / self.fps

    def reach(self, seconds: float) -> int:
        """How many steps are complete when motion is known up to a time."""
        return int((seconds - self.first + ROUNDING) * self.fps)

    def add(self, motion: Motion, begin: float, end: float) -> list[Step]:
        """Takes the motion between two times, of which the first is where the last call ended.

        Returns:
            The steps that it completes, in order.
        """
        steps = []
        for number in range(self.number, self.reach(end)):
            self._overlap(motion, begin, end, self.begin(number + 1))
            velocity = self._velocity.astype(np.float32)
            steps.append(Step(self.begin(number), velocity, self._visible))
            self.number = number + 1
            self._clear()
        self._overlap(motion, begin, end, end)
        return steps

    def _overlap(self, motion: Motion, begin: float, end: float, stop: float) -> None:
        """Adds what lies between the beginning of the step and a time."""
        seconds = stop - max(begin, self.begin(self.number))
        if seconds > ROUNDING:
            self._velocity += seconds / (end - begin) * motion.velocity
            self._visible &= motion.visible

    def _clear(self) -> None:
        self._velocity = np.zeros((self.points, 2), np.float64)
        self._visible = np.ones(self.points, np.bool_)


class MotionSteps:
    """Frame by frame in, steps of 1/20 second out; alike whether live or from a file.

    Every pair of neighbouring frames is tracked once, with the points back on the grid: of the
    ways to come to 20 Hz this one loses the fewest points, as things move least from one frame to
    the very next, and windows may share steps.

    Args:
        tracker: tells the motion between two frames.
        fps: steps a second.
        skip: steps at the beginning that are known already: they come empty and untracked, the
            others as if all had been tracked.
    """

    def __init__(self, tracker: Tracker, fps: float = STEP_FPS, skip: int = 0) -> None:
        if not 0 < fps < float("inf"):
            raise ValueError(f"fps {fps} is no rate; set fps to a number above 0")
        self.tracker, self.fps, self.skip = tracker, fps, skip
        points = tracker.grid**2
        self._nothing = Motion(np.zeros((points, 2), np.float32), np.ones(points, np.bool_))
        self.restart()

    def restart(self) -> None:
        """Forgets all frames: what comes next is another video or lies behind a gap."""
        self._frame: tuple[NDArray[np.uint8], float] | None = None
        self._gray: Gray | None = None  # of that frame, once it was tracked
        self._resampler: Resampler | None = None

    def push(self, frame: NDArray[np.uint8], seconds: float) -> list[Step]:
        """Takes the next frame.

        Args:
            frame: RGB `(h, w, 3)` or brightness `(h, w)`.
            seconds: its time; a frame that is not later than the one before is left out.

        Returns:
            The steps that it completes, in order.
        """
        if self._frame is None or self._resampler is None:
            self._frame = frame, seconds
            self._resampler = Resampler(self.tracker.grid**2, self.fps, seconds)
            return []
        previous, begin = self._frame
        if seconds <= begin:
            return []
        complete = self._resampler.reach(seconds) - self._resampler.number
        if complete < self.skip:
            gray, motion = None, self._nothing
        else:
            before = self.tracker.gray(previous) if self._gray is None else self._gray
            gray = self.tracker.gray(frame)
            motion = self.tracker.step(before, gray)
        self.skip -= min(complete, self.skip)
        self._frame, self._gray = (frame, seconds), gray
        return self._resampler.add(motion, begin, seconds)


def actions_of_steps(
    begins: NDArray[np.float64], seconds: NDArray[np.float64], action: NDArray[np.integer[Any]]
) -> NDArray[np.int16]:
    """What was held in each step.

    Args:
        begins: of the steps `(n,)`, in seconds.
        seconds: of the frames `(m,)`.
        action: byte of buttons held while each frame was played `(m,)`, that is on the way to it.

    Returns:
        `(n,)`: that of the first frame at or after the middle of the step; -1 behind the last.
    """
    rows = np.searchsorted(seconds, begins + 0.5 / STEP_FPS - ROUNDING)
    known = rows < len(action)
    held = np.full(len(begins), -1, np.int16)
    held[known] = action[rows[known]]
    return held
