"""Video files to frames, in order; whatever is wrong with a file becomes a `VideoError`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".webm", ".gif"})
MAX_PIXELS = 1 << 26  # 8192 x 8192; a header that claims more is a bomb or damaged

Rgb = NDArray[np.uint8]
"""One frame `(h, w, 3)`."""


class VideoError(ValueError):
    """A file that cannot be read (on) as a video; the message tells why, without the path."""


def read_frames(path: str | os.PathLike[str]) -> Iterator[tuple[Rgb, float]]:
    """Decodes a video in order, from its beginning.

    Yields:
        RGB `(h, w, 3)` uint8 and the time in seconds by the file's own timestamps, counted from
        the first frame (where a frame has none, by the nominal rate).

    Raises:
        VideoError: where the file is no regular file, empty or no video, or where it is damaged;
            the frames before the damage have been handed out by then.
    """
    check_file(path)
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.video:
                raise VideoError("it holds no video")
            stream = container.streams.video[0]
            # Frames are small: threads cost more than they gain, and do not survive a fork.
            stream.codec_context.thread_count = 1
            check_pixels(stream.codec_context.width, stream.codec_context.height)
            yield from decode(container, stream)
    except av.error.FFmpegError as error:
        raise VideoError(f"{error.strerror} ({type(error).__name__})") from error


def decode(container: Any, stream: Any) -> Iterator[tuple[Rgb, float]]:
    """Frames and times of an open stream."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(30)
    first: float | None = None
    count = 0
    for frame in container.decode(stream):
        check_pixels(frame.width, frame.height)
        seconds = count / float(rate) + (first or 0.0) if frame.time is None else frame.time
        first = seconds if first is None else first
        count += 1
        yield frame.to_ndarray(format="rgb24"), seconds - first
    if count == 0:
        raise VideoError("it holds no frames")
    if count < stream.frames and container.format.name != "gif":
        raise VideoError(f"it is cut off: {count} of {stream.frames} frames are there")


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
