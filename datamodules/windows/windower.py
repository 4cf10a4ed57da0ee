"""Frames of one video to windows of motion, in order and in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.tracking import MotionSteps, Step, Tracker
from datamodules.tracking.steps import actions_of_steps
from datamodules.video.decoding import VideoError
from datamodules.windows.feed import Feed, Gap, Shot, Video

PICTURE = 64  # pixels of the small picture's sides
ROUNDING = 1e-6  # seconds


class Windower:
    """Cuts videos into windows of `horizon` steps, one beginning every `stride` steps.

    Each pair of frames is tracked once, however many windows it lies in. No window reaches over a
    gap: behind one, windows begin anew with the next frame.

    Args:
        tracker: tells the motion from frame to frame.
        horizon: steps of 1/20 s in a window.
        stride: steps from a window's beginning to the next one's.
        batch_size: windows in a batch, at most.
        motion_gate: a window in which no point moves faster, in shares of the frame's width or
            height a step, is still.
        frames: whether batches carry the frames.
        images: whether batches carry a small picture of each window's beginning.
    """

    def __init__(
        self,
        tracker: Tracker,
        horizon: int = 16,
        stride: int = 4,
        batch_size: int = 8,
        motion_gate: float = 0.0,
        frames: bool = False,
        images: bool = False,
    ) -> None:
        self.tracker, self.horizon, self.stride = tracker, horizon, stride
        self.batch_size, self.motion_gate = batch_size, motion_gate
        self.frames, self.images = frames, images

    def batches(self, video: Video, feed: Feed) -> Iterator[dict[str, Any]]:
        """The batches of one video, at least one; see `VideoWindowDataModule`."""
        walk = Walk(self)
        batch = walk.new_batch(video, first=True)
        error = None
        try:
            for item in feed:
                walk.take(item, batch)
                if len(batch["seconds"]) >= self.batch_size:
                    yield finished(batch, self)
                    batch = walk.new_batch(video)
        except VideoError as failure:
            error = str(failure)
        batch |= {"last": True, "end": walk.end, "error": error}
        yield finished(batch, self)


class Walk:
    """One pass through a video."""

    def __init__(self, settings: Windower) -> None:
        self.settings = settings
        self.steps = MotionSteps(settings.tracker)
        self.window: deque[Step] = deque(maxlen=settings.horizon)
        self.shots: deque[tuple[float, int, Any]] = deque()  # seconds, action, small picture
        self.begun = 0  # steps since the last break
        self.previous: float | None = None  # beginning of the window before
        self.behind = False
        self.seen: tuple[float, float] | None = (
            None  # time of the last frame, and since the one before
        )

    @property
    def end(self) -> float:
        """When the last frame ends."""
        return sum(self.seen) if self.seen else 0.0

    def new_batch(self, video: Video, first: bool = False) -> dict[str, Any]:
        """A batch without windows."""
        windows = ("velocity", "visible", "seconds", "action", "image", "still")
        lists = (*windows, "frames", "frame_seconds", "notes")
        known = {"video": video.number, "name": video.name, "path": video.path, "first": first}
        rest = {"last": False, "end": 0.0, "error": None, "dropped": 0}
        return known | rest | {name: [] for name in lists}

    def take(self, item: Shot | Gap, batch: dict[str, Any]) -> None:
        """Puts what comes next, and the windows that it completes, into a batch."""
        if isinstance(item, Gap):
            self.steps.restart()
            self.window.clear()
            self.shots.clear()
            self.begun, self.behind = 0, self.behind or item.behind
            if not item.behind:
                batch["notes"].append(item.reason)
            return
        rate = item.seconds - self.seen[0] if self.seen else 1 / 30
        self.seen = item.seconds, rate
        if self.settings.frames:
            batch["frames"].append(item.pixels)
            batch["frame_seconds"].append(item.seconds)
        small = shrunk(item.pixels) if self.settings.images else None
        self.shots.append((item.seconds, item.action, small))
        for step in self.steps.push(item.pixels, item.seconds):
            self.window.append(step)
            self.begun += 1
            if not (self.begun - self.settings.horizon) % self.settings.stride and self.full:
                self.add_window(batch)

    @property
    def full(self) -> bool:
        """Whether there are steps enough."""
        return len(self.window) == self.settings.horizon

    def add_window(self, batch: dict[str, Any]) -> None:
        """Puts the steps at hand into a batch as a window."""
        begins = np.array([step.seconds for step in self.window])
        velocity = np.stack([step.velocity for step in self.window])
        while len(self.shots) > 1 and self.shots[1][0] <= begins[0] + ROUNDING:
            self.shots.popleft()
        batch["velocity"].append(velocity)
        batch["visible"].append(np.stack([step.visible for step in self.window]))
        batch["seconds"].append(begins)
        times, actions, small = zip(*self.shots, strict=True)
        batch["action"].append(actions_of_steps(begins, np.array(times), np.array(actions)))
        batch["image"].append(small[0])
        batch["still"].append(float(np.abs(velocity).max()) <= self.settings.motion_gate)
        stride = self.settings.stride / self.steps.fps
        if self.behind:
            before = -stride if self.previous is None else self.previous
            batch["dropped"] += max(0, round((begins[0] - before) / stride) - 1)
        self.previous, self.behind = float(begins[0]), False


def shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB `(h, w, 3)` -> `(3, 64, 64)`."""
    small = cv2.resize(pixels, (PICTURE, PICTURE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small.transpose(2, 0, 1))


def finished(batch: dict[str, Any], settings: Windower) -> dict[str, Any]:
    """Lists of windows to tensors."""
    steps, points = settings.horizon, settings.tracker.grid**2
    empty: dict[str, tuple[tuple[int, ...], Any]] = {
        "velocity": ((steps, points, 2), np.float32),
        "visible": ((steps, points), np.bool_),
        "seconds": ((steps,), np.float64),
        "action": ((steps,), np.int64),
        "still": ((), np.bool_),
    }
    if settings.images:
        empty["image"] = ((3, PICTURE, PICTURE), np.uint8)
    else:
        del batch["image"]
    for name, (shape, kind) in empty.items():
        rows = np.array(batch[name], kind).reshape(len(batch[name]), *shape)
        batch[name] = torch.from_numpy(rows)
    if not settings.frames:
        del batch["frames"]
    batch["frame_seconds"] = np.array(batch["frame_seconds"], np.float64)
    return batch | {"stride": settings.stride}
