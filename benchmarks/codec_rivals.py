"""Classical lossy codecs on the same frames, and what one curve is worth against another."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from callbacks.lossy_codecs import LOSSY, decode, write

Frames = NDArray[np.uint8]


RATES = {
    "x264": (18, 26, 34, 42, 50),
    "x265": (18, 26, 34, 42, 50),
    "SVT-AV1": (20, 35, 50, 58, 63),
    "VP9": (15, 30, 45, 55, 63),
}
"""Rate factors of each codec, from good to bad."""


def code(name: str, crf: int, frames: Frames, fps: int, group_frames: int) -> tuple[int, Frames]:
    """Bytes of the file that a codec writes of `(t, h, w, 3)`, and what is decoded from it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mkv"
        size = write(path, LOSSY[name], crf, frames, fps, group_frames)
        return size, np.stack(list(decode(path)))


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
