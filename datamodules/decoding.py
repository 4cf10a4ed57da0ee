"""Video files to frames, in order; whatever is wrong with a file becomes a `VideoError`."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import dropwhile, islice
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from datamodules.ffv1 import intact

SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".webm", ".gif"})
FORMATS = "avi,mov,mp4,matroska,webm,gif"  # a text may otherwise pass for a playlist of other files
MAX_PIXELS = 1 << 24  # 4096 x 4096: sixteen of them, as H.264 may ask for, stay under half a GiB

Rgb = NDArray[np.uint8]
"""One frame `(h, w, 3)`."""


class VideoError(ValueError):
    """A file that cannot be read (on) as a video; the message tells why, without the path."""


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


def read_frames(path: str | os.PathLike[str]) -> Iterator[tuple[Rgb, float]]:
    """Decodes a video in order, from its beginning.

    Yields:
        RGB `(h, w, 3)` uint8 and the time in seconds by the file's own timestamps, counted from
        the first frame (where a frame has none, by the nominal rate).

    Raises:
        VideoError: where the file is no regular file, empty or no video, or where it is damaged;
            the frames before the damage have been handed out by then.
    """
    for frame in read_around_damage(path):
        if isinstance(frame, Damage):
            raise VideoError(frame.reason)
        yield frame.pixels, frame.seconds


def read_around_damage(path: str | os.PathLike[str]) -> Generator[Frame | Damage, None, None]:
    """Decodes a video in order; what cannot be decoded is reported and left out.

    After damage, frames go on with the next key frame whose number the file's index tells, which
    takes a file whose index is whole and a codec that shows frames in the order in which it
    stores them. Else the file ends there. Damage that leaves valid code behind goes unnoticed:
    no codec here but FFV1 has checksums.

    Raises:
        VideoError: if the file cannot be opened.
    """
    with opened(path) as (container, stream):
        yield from Decoding(container, stream).walk()


def read_from(path: str | os.PathLike[str], seek: int, skip: int = 0) -> Generator[Rgb, None, None]:
    """Decodes from the frame on that `Frame.seek` was told of.

    Seeking is not exact in every file: whoever calls this compares what comes.

    Args:
        path: the video.
        seek: `Frame.seek` of a frame.
        skip: frames to leave out, that one being the first.

    Raises:
        VideoError: where the file cannot be read on.
    """
    with opened(path) as (container, stream):
        container.seek(seek, stream=stream)
        frames = dropwhile(lambda frame: not frame.key_frame, container.decode(stream))
        for frame in islice(frames, skip, None):
            yield to_rgb(frame)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Any]]:
    """Container and stream of a video; errors of FFmpeg become a `VideoError` that says why."""
    check_file(path)
    limit = {"max_pixels": str(MAX_PIXELS), "err_detect": "crccheck+explode"}
    options = limit | {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        with av.open(os.fspath(path), options=options, metadata_errors="replace") as container:
            if not container.streams.video:
                raise VideoError("it holds no video")
            stream = container.streams.video[0]
            stream.codec_context.options = limit
            # Frames are small: threads cost more than they gain, and do not survive a fork.
            stream.codec_context.thread_count = 1
            check_pixels(stream.codec_context.width, stream.codec_context.height)
            yield container, stream
    except av.error.FFmpegError as error:
        raise VideoError(reason(error)) from error


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
        if self.first is None and not lost:
            return Damage("it holds no frames", 0)
        # The header of an AVI counts dropped frames too, its index does not. A GIF counts nothing.
        whole = self.is_avi and len(self.places) >= self.number
        announced = len(self.places) if whole else self.stream.frames
        if lost or self.container.format.name == "gif" or self.number >= announced:
            return None
        if self.hole:
            few = f"{announced - self.number} of {announced} frames are missing"
            return Damage(f"{few} from frame {self.hole} on", self.hole)
        return Damage(f"it is cut off: {self.number} of {announced} frames are there", self.number)


def to_rgb(picture: Any) -> Rgb:
    """Pixels without the padding that FFmpeg puts behind rows of some widths."""
    return np.ascontiguousarray(picture.to_ndarray(format="rgb24"))


def explain(path: str | os.PathLike[str], known: str) -> str:
    """What FFmpeg's log says of a file that gives no frame; its error codes say little.

    PyAV leaves the log off, as threads of other codecs may have to wait for Python's lock when
    they write to it: it is on here for a moment.

    Args:
        path: the file.
        known: what is known so far, for a file that FFmpeg has nothing to say of.
    """
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as said, suppress(VideoError):
            next(read_frames(path))
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)
    return said[0][2].split(", see")[0].strip() if said else known


def reason(error: av.error.FFmpegError) -> str:
    """What FFmpeg says of an error."""
    return str(error.strerror)


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuses what decoders hang on (a pipe) or misread.

    Raises:
        VideoError: if there is no regular file with something in it.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise VideoError(f"{error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("it is no regular file")
    if status.st_size == 0:
        raise VideoError("it is empty")


def check_pixels(width: int, height: int) -> None:
    """Refuses frames that would fill the memory."""
    if width * height > MAX_PIXELS:
        raise VideoError(f"its frames of {width}x{height} pixels are too large")
