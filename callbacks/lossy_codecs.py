"""Classical lossy codecs on the same frames: what they write, and how little does as well."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from datamodules.video.decoder import Rgb

os.environ.setdefault("SVT_LOG", "1")  # errors alone

Read = Callable[[], Iterable[Rgb]]
"""Gives the frames of a video, from the first, as often as it is asked."""


class LossyCodec(NamedTuple):
    """A codec of FFmpeg's."""

    encoder: str
    pixels: str
    options: dict[str, str]
    distance: str
    """How it is told the distance of key frames, with `{}` for it."""
    worst: int
    """Greatest value of its option `crf`; the least is 0."""


X265 = "x265-params=keyint={}:min-keyint={}:log-level=none"
LOSSY = {
    "x264": LossyCodec("libx264", "yuv444p", {"preset": "slow"}, "g={}", 51),
    "x265": LossyCodec("libx265", "yuv444p", {"preset": "slow"}, X265, 51),
    "SVT-AV1": LossyCodec("libsvtav1", "yuv420p", {"preset": "5"}, "g={}", 63),
    "VP9": LossyCodec("libvpx-vp9", "yuv444p", {"b": "0", "cpu-used": "2"}, "g={}", 63),
}
QUICK = ("x264", "SVT-AV1")


def write(
    path: Path, codec: LossyCodec, crf: int, frames: Iterable[Rgb], fps: float, group_frames: int
) -> int:
    """Writes a Matroska file and returns its bytes.

    Args:
        path: of the file.
        codec: what writes it.
        crf: its rate factor, from 0 (good) to `codec.worst`.
        frames: RGB `(h, w, 3)`, of one size.
        fps: frames a second.
        group_frames: distance of key frames.
    """
    name, _, value = codec.distance.partition("=")
    options = {**codec.options, "crf": str(crf), name: value.replace("{}", str(group_frames))}
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(codec.encoder, rate=rate, options=options)
        stream.pix_fmt = codec.pixels
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))
    return path.stat().st_size


def decode(path: Path) -> Iterator[Rgb]:
    """The frames of a file that `write` has written."""
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def as_good(
    read: Read, mse: float, fps: float, group_frames: int, names: Iterable[str] = QUICK
) -> tuple[dict[str, int], dict[str, str]]:
    """The smallest file of each codec that is not further from the frames than so much.

    Args:
        read: gives the frames.
        mse: mean squared error over all values, in squared levels.
        fps: frames a second.
        group_frames: distance of key frames.
        names: of codecs in `LOSSY`.

    Returns:
        Bytes by codec, and why others are not there: they cannot take the frames, or never get so
        near.
    """
    sizes: dict[str, int] = {}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="litarcade-") as folder:
        path = Path(folder) / "clip.mkv"
        for name in names:
            codec = LOSSY[name]
            good, bad = -1, codec.worst + 1  # the greatest crf that is near enough lies between
            try:
                while bad - good > 1:
                    crf = (good + bad) // 2
                    size = write(path, codec, crf, read(), fps, group_frames)
                    if error(decode(path), read()) <= mse:
                        good, sizes[name] = crf, size
                    else:
                        bad = crf
            except (av.error.FFmpegError, ValueError) as failure:
                left_out[name] = str(failure)
            if name not in sizes:
                left_out.setdefault(name, "it does not come so near at any rate")
    return sizes, left_out


def error(made: Iterable[Rgb], true: Iterable[Rgb]) -> float:
    """Mean squared difference in levels.

    Raises:
        ValueError: one has more frames.
    """
    total, values = 0.0, 0
    for one, other in zip(made, true, strict=True):
        total += float(np.square(one.astype(np.float32) - other).sum(dtype=np.float64))
        values += other.size
    return total / max(1, values)
