"""Videos to tracks: each frame is decoded and tracked once, and what is done stays done."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.labels import SUFFIX as LABELS
from datamodules.labels import LabelsError, from_file, from_pictures
from datamodules.tracking.gated import GatedTracker
from datamodules.tracking.motion import Step
from datamodules.tracking.steps import ROUNDING, MotionSteps, actions_of_steps
from datamodules.tracking.store import (
    FORMAT,
    IMAGE_EVERY,
    IMAGE_SIDE,
    About,
    Tracks,
    part_path,
    parts_of,
    save,
)
from datamodules.tracking.trackers import make_tracker
from datamodules.video.decoder import Damage, Frame, Rgb
from datamodules.video.decoding import VideoError, explain
from datamodules.video.sources import fingerprint, read_in_order

PART_STEPS = 12_000  # ten minutes, 19 MB
TAKEN_BACK = 20  # steps: damage is told of a little after frames that it has spoilt


@dataclass(frozen=True)
class Settings:
    """How tracks are made."""

    tracker: Any = "lucas_kanade"
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of `make_tracker`."""
    images: bool = False
    """Whether small pictures are kept."""
    part_steps: int = PART_STEPS
    """Steps of a part of a long video, a multiple of `IMAGE_EVERY`."""

    def __post_init__(self) -> None:
        if self.part_steps < 1 or self.part_steps % IMAGE_EVERY:
            raise ValueError(
                f"part_steps {self.part_steps} is no multiple of {IMAGE_EVERY}; set part_steps to "
                f"one, such as {PART_STEPS}"
            )

    def make(self) -> GatedTracker:
        """The tracker."""
        return make_tracker(self.tracker, **self.options)

    def key(self, video: Path) -> str:
        """Tells whether tracks are of this video and made in this way."""
        options = dict(self.options)
        if path := options.get("checkpoint"):
            with Path(path).open("rb") as file:
                options["checkpoint"] = hashlib.file_digest(file, "sha256").hexdigest()
        labels = labels_of(video)
        states = (labels.stat().st_size, labels.stat().st_mtime_ns) if labels.is_file() else ()
        made = (FORMAT, self.tracker, sorted(options.items()), self.images, self.part_steps)
        content = f"{made} {fingerprint(video)} {states}"
        return hashlib.sha256(content.encode()).hexdigest()[:32]


class Job(NamedTuple):
    """A video to be done."""

    video: Path
    name: str
    """Relative to the folder of videos."""
    target: Path
    """Path of its tracks without a suffix."""
    key: str = ""
    """`Settings.key`; empty to be found out."""
    overwrite: bool = False
    """Whether tracks that something else was made of may be replaced."""


class Done(NamedTuple):
    """What has become of a video."""

    steps: int
    new: int
    """Steps of it that were not there before."""
    frames: int = 0
    """Frames that could be read, where it was read."""
    damages: tuple[str, ...] = ()
    """Where frames are lost, and labels that cannot be used."""


def extract(job: Job, settings: Settings, progress: Callable[[], object] = lambda: None) -> Done:
    """Extracts the tracks of one video; goes on where it was interrupted.

    Args:
        job: the video and where its tracks go.
        settings: how they are made.
        progress: called after each frame; what it raises ends the work, and finished parts stay.

    Raises:
        VideoError: if the video cannot be read.
        ValueError: if there are tracks of something else, or a setting is wrong.
    """
    key = job.key or settings.key(job.video)
    there = [file.about for file in parts_of(job.target)]
    ours = all(about.key == key for about in there)
    if not ours and not job.overwrite:
        path = part_path(job.target, 0)
        raise ValueError(f"{path} was made of another video or in another way; give --overwrite")
    if ours and there and there[-1].last:
        return Done(sum(file.steps for file in parts_of(job.target)), 0)
    walk = Walk(job, key, settings, len(there) if ours else 0)
    for item in readable(job.video):
        walk.take(item)
        progress()
    return walk.finish()


class Walk:
    """One pass through a video.

    Args:
        job: the video.
        key: what it is known by.
        settings: how tracks are made.
        done: parts that are there already; their steps are counted and not tracked.
    """

    def __init__(self, job: Job, key: str, settings: Settings, done: int) -> None:
        self.job, self.key, self.settings, self.done = job, key, settings, done
        self.motion = MotionSteps(settings.make(), skip=done * settings.part_steps)
        self.part = self.piece = self.steps = self.new = 0
        self.size = (1, 1)
        self.damages: list[str] = []
        self.rows: list[tuple[Step, int, int, Rgb | None]] = []  # frame that completes it, piece
        self.shown: deque[tuple[float, Rgb]] = deque()  # frames from the step on that is begun
        self.seconds: list[float] = []  # of the frames
        self.action: list[int] = []
        self.labels = self.read_labels()

    def read_labels(self) -> NDArray[np.uint8]:
        """Button bytes by number of the frame; empty where there are none."""
        path = labels_of(self.job.video)
        try:
            if self.job.video.is_dir():
                return from_pictures(self.job.video).action
            return from_file(path).action if path.is_file() else np.zeros(0, np.uint8)
        except LabelsError as error:
            self.damages.append(f"the labels are left out: {error}")
            return np.zeros(0, np.uint8)

    def take(self, item: Frame | Damage) -> None:
        """The next frame, or a place where some are lost."""
        if isinstance(item, Damage):
            self.damages.append(item.reason)
            while self.rows and self.rows[-1][1] >= item.number:  # such a frame may be wrong
                self.rows.pop()
                self.steps -= 1
            self.motion.restart()
            self.shown.clear()
            self.piece += 1
            return
        self.size = item.pixels.shape[0], item.pixels.shape[1]
        self.seconds.append(item.seconds)
        known = item.number < len(self.labels)
        self.action.append(int(self.labels[item.number]) if known else -1)
        self.shown.append((item.seconds, item.pixels))
        for step in self.motion.push(item.pixels, item.seconds):
            while len(self.shown) > 1 and self.shown[1][0] <= step.seconds + ROUNDING:
                self.shown.popleft()
            wanted = self.settings.images and self.steps % IMAGE_EVERY == 0
            image = small(self.shown[0][1]) if wanted else None
            self.rows.append((step, item.number, self.piece, image))
            self.steps += 1
        if len(self.rows) >= self.settings.part_steps + TAKEN_BACK:
            self.write(self.settings.part_steps)

    def finish(self) -> Done:
        """Writes what is left."""
        while len(self.rows) > self.settings.part_steps:
            self.write(self.settings.part_steps)
        self.write(len(self.rows), last=True)
        return Done(self.steps, self.new, len(self.seconds), tuple(self.damages))

    def write(self, count: int, last: bool = False) -> None:
        """Writes the next part, if it is not there."""
        rows, self.rows = self.rows[:count], self.rows[count:]
        self.part += 1
        if self.part <= self.done:
            return
        self.new += count
        points = self.motion.tracker.grid**2
        steps = [row[0] for row in rows]
        begins = np.array([step.seconds for step in steps], np.float64)
        images = [row[3] for row in rows if row[3] is not None]
        frames, action = np.array(self.seconds), np.array(self.action, np.int16)
        tracks = Tracks(
            np.array([step.velocity for step in steps], np.float16).reshape(-1, points, 2),
            np.array([step.visible for step in steps], np.bool_).reshape(-1, points),
            begins,
            np.array([row[2] for row in rows], np.int32),
            actions_of_steps(begins, frames, action),
            np.array(images, np.uint8).reshape(-1, 3, IMAGE_SIDE, IMAGE_SIDE)
            if self.settings.images
            else None,
        )
        about = About(self.job.name, self.key, self.part - 1, last, *self.size)
        save(part_path(self.job.target, about.part), tracks, about)


def readable(video: Path) -> Iterator[Frame | Damage]:
    """Frames of a video and places where some are lost.

    Raises:
        VideoError: if there is not one frame.
    """
    frames, reason = 0, ""
    for item in read_in_order(video):
        frames += isinstance(item, Frame)
        reason = item.reason if isinstance(item, Damage) else reason
        yield item
    if not frames:
        raise VideoError(explain(video, reason))


def labels_of(video: Path) -> Path:
    """The labels beside a video."""
    return video.with_name(video.stem + LABELS)


def small(pixels: Rgb) -> NDArray[np.uint8]:
    """RGB `(h, w, 3)` -> `(3, 64, 64)`."""
    image = cv2.resize(pixels, (IMAGE_SIDE, IMAGE_SIDE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.uint8)
