"""One pass over a video: frames with their numbers and times, and where some are lost."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from datamodules.video.ffv1 import intact

Rgb = NDArray[np.uint8]
"""One frame `(h, w, 3)`."""


class Frame(NamedTuple):
    """One decoded frame."""

    number: int
    """In the file, counted from 0 in the order in which frames are shown."""
    seconds: float
    """Time by the file's own timestamps, counted from the first frame."""
    pixels: Rgb
    seek: int | None
    """Timestamp for `read_from`, None where decoding cannot begin with this frame."""


class Damage(NamedTuple):
    """A place where frames are lost."""

    reason: str
    number: int
    """The first frame that is lost, or may be."""


class Decoding:
    """One pass over an open video."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.container, self.stream = container, stream
        self.rate = float(stream.average_rate or stream.guessed_rate or 30)
        self.is_avi = container.format.name == "avi"
        header = 8 * self.is_avi  # its index tells the place of a chunk, not of what is in it
        entries = enumerate(stream.index_entries)
        self.places = {e.pos + header: (i, e.size) for i, e in entries}
        self.number = 0  # of the next frame
        self.stored = 0  # packets so far
        self.in_step = True  # each packet has given its frame at once
        self.shape: tuple[int, int] | None = None  # width, height
        self.first: float | None = None
        self.last = 0.0
        self.times: deque[Fraction | None] = deque()  # of packets whose frame is still to come
        self.seeks: deque[int | None] = deque()  # of key frames that are still to come
        self.waiting, self.patience = 0, 0  # packets whose frame is still to come: now, at most
        self.hole = 0  # when that grew, which is where a frame went missing if one did
        self.indexed = False  # whether the index knows the last packet
        self.broken_off: str | None = None
        self.checksums: bool | None = None

    def walk(self) -> Iterator[Frame | Damage]:
        """Frames, and where some are lost."""
        lost = False
        for packet in self.packets():
            place, size = self.places.get(packet.pos, (None, packet.size))
            if lost:
                if not (self.in_step and self.places):
                    break
                if place is None or place < self.number:
                    continue
                if not packet.is_keyframe or packet.size != size:
                    continue
                lost, self.number, self.stored = False, place, place
                self.stream.codec_context.flush_buffers()
            frames, damage = self.decode(packet, place, size)
            yield from frames
            if damage:
                yield Damage(f"{damage} at frame {self.number}", self.number)
                lost, self.number = True, self.number + 1
                self.times.clear()
                self.seeks.clear()
        if (end := self.missing(lost)) is not None:
            yield end

    def packets(self) -> Iterator[Any]:
        """What the container holds, as far as it can be read."""
        try:
            yield from self.container.demux(self.stream)
        except av.error.FFmpegError as error:
            self.broken_off = reason(error)

    def decode(self, packet: Any, place: int | None, size: int) -> tuple[list[Frame], str | None]:
        """Frames that a packet completes, and what is wrong with the one after them."""
        if packet.size:
            self.indexed = place is not None
        if place is not None and place != self.stored:
            return [], f"{place - self.stored} frames are missing"
        if packet.is_corrupt or packet.size != size:
            return [], "its bytes are not all there"
        if packet.size:
            self.stored += 1
            if not self.agrees(packet):
                return [], "the checksum is wrong"
            self.times.append(None if packet.dts is None else packet.dts * packet.time_base)
            if packet.is_keyframe:
                self.seeks.append(packet.pts if packet.dts is None else packet.dts)
        try:
            pictures = self.stream.decode(packet)
        except av.error.FFmpegError as error:
            return [], reason(error)
        self.in_step &= not packet.size or len(pictures) == 1
        self.waiting += bool(packet.size) - len(pictures)
        if self.waiting > self.patience:
            self.patience, self.hole = self.waiting, self.number
        frames: list[Frame] = []
        for picture in pictures:
            self.shape = self.shape or (picture.width, picture.height)
            if picture.is_corrupt:
                return frames, "the picture is damaged"
            if self.shape != (picture.width, picture.height):
                now = f"{picture.width}x{picture.height}"
                return frames, f"the size changes from {self.shape[0]}x{self.shape[1]} to {now}"
            frames.append(self.frame(picture))
        return frames, None

    def agrees(self, packet: Any) -> bool:
        """Whether the packet agrees with its checksums, if the first one had some."""
        if self.stream.codec_context.name != "ffv1":
            return True
        if self.checksums is None:
            self.checksums = intact(bytes(packet))
        return not self.checksums or intact(bytes(packet))

    def frame(self, picture: Any) -> Frame:
        """A decoded picture with its number and time."""
        time = picture.time
        if self.is_avi:  # It has one time a chunk, in rising order; which one FFmpeg has to guess
            time = self.times.popleft() if self.times else None  # and guesses wrong of B-frames.
        least = self.last + 1 / self.rate if self.number else 0.0
        seconds = least if time is None else float(time) - (self.first or 0.0)
        if self.first is None:
            self.first, seconds = float(time or 0), 0.0
        elif seconds <= self.last:
            seconds = least
        seek = self.seeks.popleft() if picture.key_frame and self.seeks else None
        number, self.number, self.last = self.number, self.number + 1, seconds
        return Frame(number, seconds, to_rgb(picture), seek)

    def missing(self, lost: bool) -> Damage | None:
        """What is wrong with the end of the file."""
        if self.broken_off:
            return Damage(f"{self.broken_off} after frame {self.number}", self.number)
        if lost:
            return None
        if self.first is None:
            return Damage("it holds no frames", 0)
        announced = self.announced()
        if self.number >= announced:
            return None
        if self.hole:
            few = f"{announced - self.number} of {announced} frames are missing"
            return Damage(f"{few} from frame {self.hole} on", self.hole)
        # Unless the index says so, the last packet need not be whole; its frame is one of the last.
        good = self.number if self.indexed else max(0, self.number - self.patience - 1)
        return Damage(f"it is cut off: {self.number} of {announced} frames are there", good)

    def announced(self) -> int:
        """How many frames the container promises, as far as it does."""
        if self.is_avi and len(self.places) >= self.number:
            return len(self.places)  # its header counts dropped frames too
        if self.container.format.name == "gif":  # which counts nothing, but has a last byte
            with open(self.container.name, "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 64))
                return self.number + (not file.read().rstrip(b"\0").endswith(b";"))
        if "matroska" in self.container.format.name and len(self.container.streams) == 1:
            rest = (self.container.duration or 0) / av.time_base - (self.first or 0) - self.last
            more = round(rest * self.rate) - 1
            return self.number + (more if more > 1 else 0)  # one may be due to rounding
        return int(self.stream.frames)


def to_rgb(picture: Any) -> Rgb:
    """Pixels without the padding that FFmpeg puts behind rows of some widths."""
    return np.ascontiguousarray(picture.to_ndarray(format="rgb24"))


def reason(error: av.error.FFmpegError) -> str:
    """What FFmpeg says of an error."""
    return str(error.strerror)
