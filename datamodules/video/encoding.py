"""Frames to video files; under its name a file appears only when it is complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from datamodules.video.decoder import Rgb
from datamodules.video.gif import write_gif


class Codec(NamedTuple):
    """How FFmpeg is asked for a codec."""

    encoder: str
    pixels: str
    options: dict[str, str]
    tag: str | None = None


# Quantiser 3 of 31 as a fixed quality, in FFmpeg's unit of 118.
GOOD = {"flags": "+qscale", "global_quality": str(3 * 118)}

CODECS = {
    "ffv1": Codec("ffv1", "bgr0", {"level": "3", "slicecrc": "1"}),  # with checksums
    # AVI counts frames in the order of decoding, so B-frames would get a wrong time.
    "h264": Codec("libx264rgb", "bgr0", {"qp": "0", "preset": "fast", "bf": "0", "g": "60"}),
    "xvid": Codec("mpeg4", "yuv420p", GOOD | {"g": "30"}, "XVID"),
    "mjpg": Codec("mjpeg", "yuvj420p", GOOD, "MJPG"),
}
# What x264 decides by sums of floats differs in a few bits between two runs; graphics need none.
EVEN = {"crf": "16", "preset": "fast", "movflags": "+faststart"}
EVEN |= {"x264-params": "aq-mode=0:mbtree=0:cpu-independent=1"}
MP4 = Codec("libx264", "yuv420p", EVEN)


def write_video(
    path: str | os.PathLike[str], frames: Iterable[Rgb], fps: float, codec: str | None = None
) -> None:
    """Writes a GIF, MP4, AVI or a strip as PNG; a failure leaves an older file as it was.

    - `.gif`: exact colours if the clip has at most 256, else the 256 that fit best, no dithering.
      A GIF counts 1/100 s and viewers slow down below 2/100 s: each frame is shown from the
      rounded time of its beginning, and more than 50 frames a second are slowed to 50.
    - `.mp4`: H.264, 4:2:0; odd sizes are padded by one repeated row or column.
    - `.avi`: by `codec`.
    - `.png`: one picture, the frames side by side from left to right.

    Args:
        path: file to write, its folder exists.
        frames: RGB `(h, w, 3)` uint8, all of one size, at least one.
        fps: frames a second.
        codec: of an AVI. Lossless are `ffv1` (the default; each frame on its own) and `h264`
            (RGB; a tenth of the size on game video); `xvid` and `mjpg` are what every player
            takes, at a high fixed quality.

    Raises:
        ValueError: for another suffix or codec, no frame, frames of several sizes or a rate not
            above 0.
    """
    path = Path(path)
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ValueError(f"cannot write {path.name}; choose one of {' '.join(WRITERS)}")
    if codec is not None:
        if writer is not write_avi or codec not in CODECS:
            raise ValueError(f"no codec {codec} for {path.name}; an .avi takes {' '.join(CODECS)}")
        writer = partial(write_avi, codec=codec)
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
    encode(path, padded, fps, MP4)


def write_avi(path: Path, frames: Iterator[Rgb], fps: float, codec: str = "ffv1") -> None:
    """Any of `CODECS`."""
    encode(path, frames, fps, CODECS[codec])


def write_strip(path: Path, frames: Iterator[Rgb], fps: float) -> None:
    """One picture of all frames, left to right; `fps` does not matter."""
    encode(path, iter([np.concatenate(list(frames), axis=1)]), fps, Codec("png", "rgb24", {}))


def encode(path: Path, frames: Iterator[Rgb], fps: float, codec: Codec) -> None:
    """Encodes with a constant frame rate."""
    with av.open(os.fspath(path), "w") as container:
        stream: Any = None
        for frame in frames:
            if stream is None:
                rate = Fraction(fps).limit_denominator(1001)
                stream = container.add_stream(codec.encoder, rate=rate, options=codec.options)
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], codec.pixels
                if codec.tag:
                    stream.codec_context.codec_tag = codec.tag
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


WRITERS: dict[str, Callable[[Path, Iterator[Rgb], float], None]] = {
    ".gif": write_gif,
    ".mp4": write_mp4,
    ".avi": write_avi,
    ".png": write_strip,
}
