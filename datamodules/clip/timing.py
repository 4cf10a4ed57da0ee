"""Which frames make a clip, by the timestamps of its file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Indices = NDArray[np.int64]
ROUNDING = 1e-6  # seconds, so that rounding of floats decides nothing


def clip_frames(seconds: Times, start: int, length: int, fps: float) -> Indices:
    """The frames nearest to `start + k / fps`, k = 0 ... length - 1.

    Args:
        seconds: timestamps of the file `(n,)`, rising.
        start: frame that the clip begins with.
        length: frames of the clip.
        fps: frames a second of the clip.
    """
    times = seconds[start] + np.arange(length) / fps
    stop = int(np.searchsorted(seconds, times[-1])) + 1  # a long file is not looked through
    return start + nearest(seconds[start:stop], times)


def clip_starts(seconds: Times, length: int, fps: float, stride: int) -> Indices:
    """First frames of all clips, `stride / fps` seconds apart; none reaches past the last frame."""
    last = last_start(seconds, length, fps)
    if last < 0:
        return np.zeros(0, np.int64)
    count = int((seconds[last] - seconds[0]) * fps / stride + 1.5)
    starts = np.unique(nearest(seconds, seconds[0] + np.arange(count) * stride / fps))
    return starts[starts <= last]


def last_start(seconds: Times, length: int, fps: float) -> int:
    """The last frame that a clip can begin with, -1 if there is none."""
    if len(seconds) == 0:
        return -1
    # Half a frame, of the clip's or the file's: what is further off is not that frame any more.
    steps = np.diff(seconds)
    slack = min(1 / fps, float(np.median(steps)) if len(steps) else np.inf) / 2 - ROUNDING
    reach = (length - 1) / fps
    return int(np.searchsorted(seconds, seconds[-1] + slack - reach, side="right")) - 1


def nearest(seconds: Times, times: Times) -> Indices:
    """Index of the frame that is nearest in time; of two as near the earlier."""
    between = (seconds[:-1] + seconds[1:]) / 2
    return np.searchsorted(between, times - ROUNDING)
