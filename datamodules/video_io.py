"""Video files in and out: the one place where frames are decoded, encoded and turned to bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.gif import write_gif

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


def write_video(path: str | os.PathLike[str], frames: Iterable[Rgb], fps: float) -> None:
    """Writes a GIF, MP4 or AVI; under its name the file appears only when it is complete.

    - `.gif`: exact colours if the clip has at most 256, else the 256 that fit best, no dithering.
      A GIF counts 1/100 s and viewers slow down below 2/100 s: each frame is shown from the
      rounded time of its beginning, and more than 50 frames a second are slowed to 50.
    - `.mp4`: H.264, 4:2:0; odd sizes are padded by one repeated row or column.
    - `.avi`: FFV1 in RGB, lossless.

    Args:
        path: file to write, its folder exists.
        frames: RGB `(h, w, 3)` uint8, all of one size, at least one.
        fps: frames a second.

    Raises:
        ValueError: for another suffix, no frame, frames of several sizes or a rate not above 0.
    """
    path = Path(path)
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ValueError(f"cannot write {path.name}; choose one of {' '.join(WRITERS)}")
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps {fps} is no rate; give a number above 0")
    # In the same folder, as a rename across file systems is not atomic.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        writer(temporary, of_one_size(path, frames), fps)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def of_one_size(path: Path, frames: Iterable[Rgb]) -> Iterator[Rgb]:
    """The frames as they come, checked."""
    shape: tuple[int, ...] | None = None
    for frame in frames:
        shape = shape or frame.shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape != (*shape[:2], 3):
            raise ValueError(
                f"a frame of {path.name} is {frame.dtype} {frame.shape}, the first was {shape}; "
                "give uint8 (h, w, 3), all of one size"
            )
        yield frame
    if shape is None:
        raise ValueError(f"no frames to write to {path.name}; give at least one")


def write_mp4(path: Path, frames: Iterator[Rgb], fps: float) -> None:
    """H.264 that every player takes, which means 4:2:0 and even sizes."""
    padded = (np.pad(f, ((0, len(f) % 2), (0, f.shape[1] % 2), (0, 0)), "edge") for f in frames)
    options = {"crf": "16", "preset": "fast", "movflags": "+faststart"}
    encode(path, padded, fps, "libx264", "yuv420p", options)


def write_avi(path: Path, frames: Iterator[Rgb], fps: float) -> None:
    """FFV1 keeps RGB as it is, each frame on its own."""
    encode(path, frames, fps, "ffv1", "bgr0", {})


def encode(
    path: Path, frames: Iterator[Rgb], fps: float, codec: str, pixels: str, options: dict[str, str]
) -> None:
    """Encodes with a constant frame rate."""
    with av.open(os.fspath(path), "w") as container:
        stream: Any = None
        for frame in frames:
            if stream is None:
                rate = Fraction(fps).limit_denominator(1001)
                stream = container.add_stream(codec, rate=rate, options=options)
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], pixels
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


WRITERS: dict[str, Callable[[Path, Iterator[Rgb], float], None]] = {
    ".gif": write_gif,
    ".mp4": write_mp4,
    ".avi": write_avi,
}


def to_uint8(x: Tensor) -> Tensor:
    """Values in [0, 1] to the nearest byte; what lies outside is clamped."""
    return x.detach().clamp(0, 1).mul(255).round().to(torch.uint8)
