"""Classical lossy codecs on the same frames, and what one curve is worth against another."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Frames = NDArray[np.uint8]


class Rival(NamedTuple):
    """A codec of FFmpeg's."""

    encoder: str
    pixels: str
    options: dict[str, str]
    distance: str
    """How it is told the distance of key frames, with `{}` for it."""
    rates: tuple[int, ...]
    """Values of its option `crf`, from good to bad."""


RIVALS = {
    "x264": Rival("libx264", "yuv444p", {"preset": "slow"}, "g={}", (18, 26, 34, 42, 50)),
    "x265": Rival(
        *("libx265", "yuv444p", {"preset": "slow"}),
        *("x265-params=keyint={}:min-keyint={}:log-level=none", (18, 26, 34, 42, 50)),
    ),
    "SVT-AV1": Rival("libsvtav1", "yuv420p", {"preset": "5"}, "g={}", (20, 35, 50, 58, 63)),
    "VP9": Rival(
        "libvpx-vp9", "yuv444p", {"b": "0", "cpu-used": "2"}, "g={}", (15, 30, 45, 55, 63)
    ),
}


def code(rival: Rival, crf: int, frames: Frames, fps: int, group_frames: int) -> tuple[int, Frames]:
    """Bytes of the Matroska file that a codec writes, and the frames that are decoded from it.

    Args:
        rival: the codec.
        crf: its rate factor.
        frames: RGB `(t, h, w, 3)`.
        fps: frames a second.
        group_frames: distance of key frames.
    """
    name, _, value = rival.distance.partition("=")
    options = {**rival.options, "crf": str(crf), name: value.replace("{}", str(group_frames))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mkv"
        with av.open(str(path), "w") as file:
            stream: Any = file.add_stream(rival.encoder, rate=fps, options=options)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], rival.pixels
            for frame in frames:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            file.mux(stream.encode(None))
        with av.open(str(path)) as file:
            made = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        return path.stat().st_size, np.stack(made)


def bd_rate(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> float | None:
    """How many per cent more bits the first curve takes than the second at equal quality.

    Bjøntegaard 2001, VCEG-M33, with monotone interpolation: the mean difference of log rates over
    the qualities that both curves reach.

    Args:
        ours: rates and PSNR.
        theirs: likewise.

    Returns:
        None where there is no such quality.
    """
    curves = []
    for points in (ours, theirs):
        by_quality = sorted({quality: rate for rate, quality in points}.items())
        qualities, rates = np.array(by_quality).T
        if len(qualities) < 2:
            return None
        curves.append((qualities, PchipInterpolator(qualities, np.log(rates))))
    low = max(qualities[0] for qualities, _ in curves)
    high = min(qualities[-1] for qualities, _ in curves)
    if low >= high:
        return None
    mean, other = (curve.integrate(low, high) / (high - low) for _, curve in curves)
    return float(100 * np.expm1(mean - other))
