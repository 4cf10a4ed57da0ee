"""How the picture moves from frame to frame, and frames put together from what is said of cubes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lit_modules.codec.packets import SHIFTED, STILL
from lit_modules.mae.cubes import FRAMES

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]
REACH = 16  # pixels that a picture may move by from one frame to the next, either way
PEAKS = 4  # places that are tried
ALIKE = 8  # levels by which pixels may differ and still be the same thing: recordings are noisy
COARSE = 32  # likewise, where they come from codes


def movements(frames: Frames, alike: int = ALIKE) -> NDArray[np.int8]:
    """By how many pixels down and to the right each frame is moved against the one before.

    Of the highest peaks of the phase correlation (Kuglin and Hines 1975) and the movement of the
    frame before, the one with which most pixels are alike; none where most are so as they are. So a
    score line that stays does not hinder it.

    Args:
        frames: `(t, h, w, 3)`.
        alike: levels by which pixels that are the same may differ.

    Returns:
        `(t, 2)` in [-16, 16]; the first is 0.
    """
    grey = frames.astype(np.float32).sum(-1)
    spectra = np.fft.rfft2(grey - grey.mean((1, 2), keepdims=True))
    found = np.zeros((len(frames), 2), np.int8)
    for t in range(1, len(frames)):
        most = count_alike(frames[t - 1], frames[t], alike)
        if most == grey[0].size:
            continue
        cross = spectra[t] * spectra[t - 1].conj()
        peaks = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-6), grey.shape[1:])
        peaks = np.roll(peaks, (REACH, REACH), (0, 1))[: 2 * REACH + 1, : 2 * REACH + 1]
        places = np.unravel_index(np.argsort(peaks, axis=None)[-PEAKS:], peaks.shape)
        tried = {(int(y) - REACH, int(x) - REACH) for y, x in zip(*places, strict=True)}
        for down, right in sorted({*tried, (int(found[t - 1, 0]), int(found[t - 1, 1]))}):
            fits = count_alike(shifted(frames[t - 1], down, right), frames[t], alike)
            if fits > most:
                found[t], most = (down, right), fits
    return found


def count_alike(one: Frames, other: Frames, alike: int) -> int:
    """Pixels of two frames whose three values differ by so many levels at most."""
    apart = np.where(one > other, one - other, other - one)
    return int((apart <= alike).all(-1).sum())


def shifted(frame: Frames, down: int, right: int) -> Frames:
    """A frame `(h, w, 3)` moved by so many pixels; its border is repeated."""
    rows = np.clip(np.arange(frame.shape[0]) - int(down), 0, frame.shape[0] - 1)
    columns = np.clip(np.arange(frame.shape[1]) - int(right), 0, frame.shape[1] - 1)
    return frame[rows][:, columns]


def compose(
    decoded: Frames,
    operations: NDArray[np.int64],
    moves: NDArray[np.int8],
    side: int,
    skipped: int = 0,
) -> Frames:
    """Frames in which cubes without codes repeat the frame before.

    Args:
        decoded: what the network makes of the codes, `(t, h, w, 3)`.
        operations: of the cubes that the frames lie in, `(T, h / side, w / side)`.
        moves: see `movements`, `(t, 2)`.
        side: height and width of a cube in pixels.
        skipped: frames of the first cubes that come before the first frame; -1 where the first
            frame is the one before them all.

    Returns:
        As many frames; the first is as it was decoded.
    """
    out = decoded.copy()
    for t in range(1, len(out)):
        kinds = operations[(t + skipped) // FRAMES]
        for kind, move in ((STILL, (0, 0)), (SHIFTED, moves[t])):
            mask = (kinds == kind).repeat(side, 0).repeat(side, 1)
            if mask.any():
                out[t][mask] = shifted(out[t - 1], *move)[mask]
    return out


def continued(
    before: Frames,
    decoded: Frames,
    operations: NDArray[np.int64],
    moves: NDArray[np.int8],
    side: int,
) -> Frames:
    """As `compose`, with the frame before the first `(1, h, w, 3)`, which cubes of it may repeat.

    How the picture has moved since is not in the file, so it is seen from what is decoded.
    """
    since = movements(np.concatenate([before[:1], decoded[:1]]), COARSE)[1:]
    frames = np.concatenate([before[:1], decoded])
    return compose(frames, operations, np.concatenate([since, since, moves[1:]]), side, -1)[1:]


def cube_errors(true: Frames, made: Frames, side: int) -> NDArray[np.int64]:
    """Squared errors of each cube, summed: `(t, h, w, 3)` twice -> `(h / side, w / side)`."""
    error = np.square(true.astype(np.int64) - made).sum((0, 3))
    rows, columns = error.shape[0] // side, error.shape[1] // side
    out: NDArray[np.int64] = error.reshape(rows, side, columns, side).sum((1, 3))
    return out
