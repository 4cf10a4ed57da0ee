"""A `.lav` file to a video; what is lost of it is made up and named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from callbacks.group_coders import GroupCoder, Shown
from callbacks.lav_report import open_lav
from datamodules.video_io import CODECS
from lit_modules.codec import BitstreamError, LavReader

Seconds = NDArray[np.float64]
FINEST = 1000  # ticks a second of a video; between frames that are further apart, empty ones stand
EXACT = 1.0e-6  # seconds
MOST_LOST = 1 << 20  # frames in a row that are shown as one
FINER = (Fraction(60), Fraction(60_000, 1001), Fraction(100), Fraction(FINEST))


class Decompression:
    """Decodes one file, from front to back, one group in memory at a time.

    Args:
        source: the `.lav` file.

    Raises:
        ValueError: it is no such file.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.source = Path(source)
        with open_lav(self.source) as reader:
            self.header = reader.header
            self.times = np.concatenate([np.empty(0), *self._all_times(reader)])
        self.clock, self.late = clock_of(self.times, self.header.fps)
        self.damage: list[str] = []
        self.repeated: list[int] = []
        """Frames that are lost, counted from 0: the last good one is shown instead."""
        self.made_up: dict[int, int] = {}
        """Parts that were filled in, by group."""
        self._concealed = np.zeros((self.header.height, self.header.width), np.int64)
        """Frames in which each pixel is not what was compressed."""

    def _all_times(self, reader: LavReader) -> Iterator[Seconds]:
        """Of each group and, nominal ones, of what is lost between them."""
        shown = 0
        for group in reader.groups():
            if group.first_frame - shown > MOST_LOST:
                raise BitstreamError(
                    f"{self.source}: {group.first_frame - shown} frames are lost before group "
                    f"{group.number}, more than can be made up"
                )
            yield np.arange(shown, group.first_frame) / self.header.fps
            yield group.seconds
            shown = group.first_frame + len(group.seconds)
        yield np.arange(shown, reader.frames or shown) / self.header.fps

    def run(self, target: Path, coder: GroupCoder, progress: Callable[[int], object] = int) -> None:
        """Writes an AVI, which appears under its name when it is complete.

        Args:
            target: the file.
            coder: how the groups are coded.
            progress: is told of so many frames done.

        Raises:
            BitstreamError: not one group can be decoded.
        """
        temporary = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
        try:
            write_on_clock(temporary, self._frames(coder, progress), self._ticks(), self.clock)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def _ticks(self) -> NDArray[np.int64]:
        """When each frame is shown, rising."""
        ticks = np.rint((self.times - self.times[0]) * float(self.clock)).astype(np.int64)
        steps = np.maximum(np.diff(ticks, prepend=-1), 1)
        return np.asarray(steps.cumsum() - 1)

    def _frames(
        self, coder: GroupCoder, progress: Callable[[int], object]
    ) -> Iterator[NDArray[np.uint8]]:
        """All frames; what is lost before the first good one is shown as that one."""
        last: NDArray[np.uint8] | None = None
        shown = 0  # frames that are accounted for
        with open_lav(self.source) as reader:
            for group in reader.groups():
                self.damage += group.damaged
                made = None
                try:
                    made = coder.decode(group, self.header, last)
                except ValueError as error:
                    self.damage.append(f"group {group.number}: {error}")
                end = group.first_frame + len(group.seconds)
                if made is None:
                    continue
                lost = range(shown, group.first_frame)
                self.repeated += lost
                if last is None:
                    last = made.frames[0]
                yield from (last for _ in lost)
                if made.made_up.any():
                    self.made_up[group.number] = int(made.made_up.sum())
                    self._concealed += pixels_of(made, len(made.frames))
                yield from made.frames
                last, shown = made.frames[-1], end
                progress(len(group.seconds))
            self.damage = [*reader.damage, *self.damage]
        if last is None:
            why = next(iter(self.damage), "it has no groups")
            raise BitstreamError(f"{self.source}: nothing of it can be decoded: {why}")
        lost = range(shown, len(self.times))
        self.repeated += lost
        yield from (last for _ in lost)

    def picture(self) -> NDArray[np.uint8] | None:
        """Where how much is made up or repeated, RGB `(h, w, 3)`; None if nothing is.

        From black, where every frame is what was compressed, to bright yellow, where none is.
        """
        share = (self._concealed + len(self.repeated)) / max(1, len(self.times))
        if not share.any():
            return None
        heat = cv2.applyColorMap(np.rint(255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO)
        return np.ascontiguousarray(heat[..., ::-1])

    def figures(self) -> dict[str, Any]:
        """What came out; plain values."""
        return {
            "mode": self.header.mode,
            "frames": len(self.times),
            "seconds": float(np.ptp(self.times)) + 1 / self.header.fps,
            "rate": float(self.clock),
            "largest_time_error": self.late,
            "frames_repeated": len(self.repeated),
            "repeated": [list(span) for span in spans(self.repeated)],
            "groups_made_up": self.made_up,
            "damage": self.damage,
        }

    def summary(self) -> Iterator[str]:
        """Lines for people, the damage first."""
        yield from (f"damaged: {line}" for line in self.damage)
        if self.repeated:
            named = ", ".join(f"{first} to {last}" for first, last in spans(self.repeated))
            yield (
                f"{len(self.repeated)} of {len(self.times)} frames are lost and repeat the last "
                f"good one: {named}"
            )
        if self.made_up:
            parts = sum(self.made_up.values())
            yield f"{parts} lost cubes in {len(self.made_up)} groups are filled in by the model"
        if self.late > EXACT:
            yield f"an AVI cannot hold these times: they are up to {self.late:.4f} seconds off"
        yield f"{len(self.times)} frames of {self.header.height}x{self.header.width}"


def pixels_of(shown: Shown, frames: int) -> NDArray[np.int64]:
    """In how many of a group's frames each pixel is made up, `(h, w)`."""
    time, side = shown.cube
    height, width = shown.frames.shape[1:3]
    lost = shown.made_up.repeat(time, 0)[:frames].sum(0)
    counts: NDArray[np.int64] = lost.repeat(side, 0).repeat(side, 1)[:height, :width]
    return counts


def clock_of(times: Seconds, fps: float) -> tuple[Fraction, float]:
    """The slowest clock of which all times are ticks, or the best; and by how much they miss it."""
    nominal = Fraction(fps).limit_denominator(1001)
    if not len(times):
        return nominal, 0.0
    since = times - times[0]

    def miss(clock: Fraction) -> float:
        ticks = np.rint(since * float(clock))
        clash = 1 / fps if (np.diff(ticks) < 1).any() else 0.0
        return float(np.abs(ticks / float(clock) - since).max()) + clash

    misses = [(miss(clock), clock) for clock in (nominal, *FINER)]
    exact = next(((off, clock) for off, clock in misses if off < EXACT), None)
    off, clock = exact or min(misses, key=lambda pair: pair[0])
    return clock, off


def write_on_clock(
    path: Path, frames: Iterator[NDArray[np.uint8]], ticks: NDArray[np.int64], clock: Fraction
) -> None:
    """Writes FFV1 in AVI, each frame at its tick."""
    codec = CODECS["ffv1"]
    with av.open(os.fspath(path), "w") as container:
        stream: Any = None
        for frame, tick in zip(frames, ticks, strict=True):
            if stream is None:
                stream = container.add_stream(codec.encoder, rate=clock, options=codec.options)
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], codec.pixels
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = int(tick), 1 / clock
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def spans(numbers: list[int]) -> list[tuple[int, int]]:
    """First and last of each run of rising numbers."""
    cuts = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    ends = zip(chain([0], cuts), chain(cuts, [len(numbers)]), strict=True)
    return [(numbers[a], numbers[b - 1]) for a, b in ends] if numbers else []
