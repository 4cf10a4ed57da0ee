"""Videos whose frames say which one they are, in codecs and containers that seeking trips over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from datamodules.video_io import Rgb, write_video

BITS = 16
FPS = 30


def picture(number: int, size: tuple[int, int]) -> Rgb:
    """A frame `(h, w, 3)`: two rows of eight black or white blocks above a scrolling pattern.

    The blocks are the number's bits, large enough to survive any codec.
    """
    height, width = size
    bits = (number >> np.arange(BITS) & 1).reshape(2, 8).astype(np.uint8)
    rows, columns = np.arange(height // 2) * 4 // height, np.arange(width) * 8 // width
    y, x = np.indices((height - height // 2, width))
    tiles = ((x + number) // 8 * 5 + y // 8 * 3) % 4
    frame = np.empty((height, width, 3), np.uint8)
    frame[: height // 2] = (bits[rows][:, columns] * 255)[..., None]
    frame[height // 2 :] = np.array([(92, 148, 252), (200, 76, 12), (0, 168, 0), (252, 216, 168)])[
        tiles
    ]
    return frame


def number_of(frame: Rgb) -> int:
    """Reads a picture's number."""
    height, width, _ = frame.shape
    rows = (np.arange(2) * 2 + 1) * height // 8
    columns = (np.arange(8) * 2 + 1) * width // 16
    bits = frame[np.ix_(rows, columns)].mean(-1).reshape(-1) > 127
    return int(bits @ (1 << np.arange(BITS)))


def times_with_drops(count: int) -> NDArray[np.int64]:
    """Ticks of frames of which now and then one or more were dropped before them."""
    steps = np.random.default_rng(0).choice([1, 2, 3], count, p=[0.7, 0.2, 0.1])
    steps[0] = 0
    return np.cumsum(steps)


def mux(
    path: Path, frames: Iterator[Rgb], ticks: NDArray[np.int64], codec: str, options: dict[str, str]
) -> None:
    """Writes frames at given ticks of 1/30 s; FFmpeg fills the gaps of an AVI by empty chunks."""
    with av.open(str(path), "w") as container:
        stream: Any = None
        for frame, tick in zip(frames, ticks, strict=True):
            if stream is None:
                stream = container.add_stream(codec, rate=FPS, options=options)
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], "yuv420p"
                stream.codec_context.thread_count = 1  # the same bytes on any machine
            image = av.VideoFrame.from_ndarray(frame, format="rgb24")
            image.pts, image.time_base = int(tick), Fraction(1, FPS)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


Writer = Callable[[Path, Iterator[Rgb], int], None]
WRITERS: dict[str, Writer] = {
    "xvid.avi": lambda path, frames, _: write_video(path, frames, FPS, "xvid"),
    "mjpg.avi": lambda path, frames, _: write_video(path, frames, FPS, "mjpg"),
    "ffv1.avi": lambda path, frames, _: write_video(path, frames, FPS, "ffv1"),
    "h264_lossless.avi": lambda path, frames, _: write_video(path, frames, FPS, "h264"),
    "h264_b_frames.avi": lambda path, frames, count: mux(
        path, frames, np.arange(count), "libx264", {"bf": "3", "g": "40", "crf": "18"}
    ),
    "h264.mp4": lambda path, frames, _: write_video(path, frames, FPS),
    "xvid_dropped.avi": lambda path, frames, count: mux(
        path, frames, times_with_drops(count), "mpeg4", {"g": "30", "qmin": "2", "qmax": "5"}
    ),
}


def write_numbered(folder: Path, name: str, count: int, size: tuple[int, int]) -> Path:
    """Writes one of `WRITERS` with this many frames of this height and width."""
    path = folder / name
    WRITERS[name](path, (picture(i, size) for i in range(count)), count)
    return path
