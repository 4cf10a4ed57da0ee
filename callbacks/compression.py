"""A video to a `.lav` file, a group at a time, and what that comes to."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from callbacks.classical_codecs import ClassicalCodecs
from callbacks.group_coders import Coded, GroupCoder, State
from callbacks.lossy_codecs import as_good
from datamodules.video.decoder import Damage, Rgb
from datamodules.video.decoding import VideoError, explain, read_around_damage
from lit_modules.codec import Header, LavWriter

AT_ONCE = 1 << 26  # pixels that may wait in memory, so that long and large videos take no more
USUAL_RATE = 30.0


class Clip(NamedTuple):
    """Frames of a group that is to be."""

    first: int
    frames: NDArray[np.uint8]
    """RGB `(t, h, w, 3)`."""
    seconds: NDArray[np.float64]


class Compression:
    """Compresses one video.

    Args:
        coder: how.
        group_frames: frames of a group at most: the distance of key frames.
        yardstick: whether classical lossless codecs code the same frames for comparison.

    Raises:
        ValueError: `group_frames` is out of range.
    """

    def __init__(self, coder: GroupCoder, group_frames: int = 32, yardstick: bool = True) -> None:
        if group_frames < 1:
            raise ValueError(f"group_frames {group_frames} must be at least 1; 32 is usual")
        self.coder, self.group_frames, self.yardstick = coder, group_frames, yardstick
        self.damage: list[str] = []
        """What cannot be read of the video."""
        self.frames = self.bytes = 0
        self.size: tuple[int, int] = (0, 0)
        self.modes: dict[str, int] = {}
        self.squared_error = 0.0
        self.seconds = 0.0
        self.rate = USUAL_RATE
        self.classical: dict[str, int] = {}
        self.left_out: dict[str, str] = {}

    def run(
        self,
        source: str | os.PathLike[str],
        target: Path,
        state: State | None = None,
        progress: Callable[[int], object] = int,
    ) -> None:
        """Writes the file, which appears under its name when it is complete.

        Args:
            source: a video.
            target: the `.lav` file.
            state: the game's state in each frame, if it is known and of use.
            progress: is told of so many frames done.

        Raises:
            ValueError: no frame of it can be read, or it is too large.
        """
        clips = self._clips(source)
        first = next(clips, None)
        if first is None:
            raise ValueError(f"{source}: {explain(source, 'it holds no frames')}")
        _, height, width, _ = first.frames.shape
        self.size = height, width
        steps = np.diff(first.seconds)
        rate = self.rate = 1 / float(np.median(steps)) if len(steps) else USUAL_RATE
        rival = ClassicalCodecs(self.size, rate, self.group_frames) if self.yardstick else None
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                writer: LavWriter | None = None
                for clip, coded in self._coded(first, clips, state):
                    if writer is None:
                        header = self._header(coded, rate)
                        writer = LavWriter(file, header)
                    writer.add_group(clip.seconds, coded.packets, coded.shared)
                    self._note(clip, coded)
                    if rival is not None:
                        rival.add(clip.frames)
                    progress(len(clip.frames))
                assert writer is not None
                writer.close()
                self.bytes = writer.bytes_written
            self.seconds += 1 / rate
            if rival is not None:
                self.classical, self.left_out = rival.finish(), rival.left_out
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
            if rival is not None:
                rival.close()

    def compare(self, source: str | os.PathLike[str]) -> None:
        """Has classical codecs write files that are as near to the video as this one's."""

        def read() -> Iterator[Rgb]:
            frames = read_around_damage(source)
            return (frame.pixels for frame in frames if not isinstance(frame, Damage))

        found = as_good(read, self.mse, self.rate, self.group_frames)
        self.classical, self.left_out = found

    @property
    def mse(self) -> float:
        """Mean squared error of all values, in squared levels."""
        return self.squared_error / (3 * self.frames * self.size[0] * self.size[1])

    def _header(self, coded: Coded, rate: float) -> Header:
        return Header(coded.mode, *self.size, rate, self.group_frames, self.coder.about)

    def _clips(self, source: str | os.PathLike[str]) -> Iterator[Clip]:
        """Groups of frames in order; damage is noted and left out."""
        frames: list[Rgb] = []
        seconds: list[float] = []
        first = 0
        try:
            for frame in read_around_damage(source):
                if isinstance(frame, Damage):
                    self.damage.append(frame.reason)
                    continue
                frames.append(frame.pixels)
                seconds.append(frame.seconds)
                if len(frames) == self.group_frames:
                    yield Clip(first, np.stack(frames), np.array(seconds))
                    first += len(frames)
                    frames, seconds = [], []
        except VideoError as error:
            raise ValueError(f"{source}: {explain(source, str(error))}") from None
        if frames:
            yield Clip(first, np.stack(frames), np.array(seconds))

    def _coded(
        self, first: Clip, rest: Iterator[Clip], state: State | None
    ) -> Iterator[tuple[Clip, Coded]]:
        """Clips and what they are coded to, in order; several at a time where that is allowed."""
        pixels = first.frames[..., 0].size
        most = min(os.cpu_count() or 1, max(1, AT_ONCE // pixels))
        workers = most if self.coder.parallel else 1
        waiting: deque[tuple[Clip, Future[Coded]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            clip: Clip | None = first
            while clip is not None:
                known = None if state is None else state[clip.first :][: len(clip.frames)]
                waiting.append((clip, pool.submit(self.coder.encode, clip.frames, known)))
                if len(waiting) > workers:
                    done, future = waiting.popleft()
                    yield done, future.result()
                clip = next(rest, None)
            for done, future in waiting:
                yield done, future.result()

    def _note(self, clip: Clip, coded: Coded) -> None:
        self.frames += len(clip.frames)
        self.modes[coded.mode] = self.modes.get(coded.mode, 0) + 1
        self.seconds = float(clip.seconds[-1])
        if coded.mode == "learned":
            difference = clip.frames.astype(np.float32) - coded.made
            self.squared_error += float(np.square(difference).sum(dtype=np.float64))

    def figures(self) -> dict[str, Any]:
        """What was compressed to how much, plain values; `psnr` is null where nothing is lost."""
        values = 3 * self.frames * self.size[0] * self.size[1]
        best = min(self.classical, key=self.classical.__getitem__, default=None)
        return {
            **self.coder.about,
            "frames": self.frames,
            "height": self.size[0],
            "width": self.size[1],
            "seconds": self.seconds,
            "group_frames": self.group_frames,
            "groups": self.modes,
            "bytes": self.bytes,
            "kbps": 8e-3 * self.bytes / self.seconds,
            "bits_per_pixel": 24 * self.bytes / values,
            "raw_bytes_to_bytes": values / self.bytes,
            "exact": self.mse == 0,
            "psnr": -10 * math.log10(self.mse / 255**2) if self.mse else None,
            "classical_bytes": self.classical,
            "classical_left_out": self.left_out,
            "best_classical": best,
            "bytes_to_best_classical": self.bytes / self.classical[best] if best else None,
            "damage": self.damage,
        }

    def summary(self) -> Iterator[str]:
        """Lines for people."""
        figures = self.figures()
        quality = "exact" if figures["exact"] else f"PSNR {figures['psnr']:.2f} dB"
        yield (
            f"{self.bytes} bytes: {figures['kbps']:.2f} kbps, {figures['bits_per_pixel']:.4f} bits "
            f"a pixel, {figures['raw_bytes_to_bytes']:.0f} times smaller than 24 bits, {quality}"
        )
        if general := self.modes.get("general"):
            yield (
                f"{general} of {sum(self.modes.values())} groups have no palette of 256 colours: "
                "they are coded by a general lossless codec"
            )
        if best := figures["best_classical"]:
            others = (f"{name} {size}" for name, size in sorted(self.classical.items()))
            yield (
                f"best classical {'lossless' if figures['exact'] else 'one as near'} on the same"
                f" frames: {best}, {self.classical[best]} bytes;"
                f" this is {100 * figures['bytes_to_best_classical']:.1f}% of it"
                f" (all: {', '.join(others)})"
            )
        yield from (f"not all of the video can be read: {line}" for line in self.damage)
