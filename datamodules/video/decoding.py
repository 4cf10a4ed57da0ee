"""Video files to frames, in order; whatever is wrong with a file becomes a `VideoError`."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import dropwhile, islice
from typing import Any

import av

from datamodules.video.decoder import Damage, Decoding, Frame, Rgb, reason, to_rgb

SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".webm", ".gif"})
FORMATS = "avi,mov,mp4,matroska,webm,gif"  # a text may otherwise pass for a playlist of other files
MAX_PIXELS = 1 << 24  # 4096 x 4096: sixteen of them, as H.264 may ask for, stay under half a GiB


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
            if stream.codec_context is None:
                raise VideoError("its codec is unknown")
            stream.codec_context.options = limit
            # Frames are small: threads cost more than they gain, and do not survive a fork.
            stream.codec_context.thread_count = 1
            check_pixels(stream.codec_context.width, stream.codec_context.height)
            yield container, stream
    except av.error.FFmpegError as error:
        raise VideoError(reason(error)) from error


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
