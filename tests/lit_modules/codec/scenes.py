"""Pixel art that moves as games do, made on the spot: tiles, a score line, sprites, few colours."""

from __future__ import annotations

import numpy as np

COLOURS = np.array(
    [(92, 148, 252), (200, 76, 12), (0, 168, 0), (0, 0, 0), (252, 252, 252), (228, 92, 16)],
    np.uint8,
)


def indexed(
    frames: int = 8, size: tuple[int, int] = (64, 80), step: int = 2, seed: int = 0
) -> np.ndarray:
    """Palette indices `(frames, h, w)`: a world of tiles scrolls by `step` below a score line."""
    rng = np.random.default_rng(seed)
    height, width = size
    tiles = rng.integers(0, 4, (6, 16, 16))
    columns = (width + frames * abs(step)) // 16 + 2
    world = np.block(
        [[tiles[k] for k in row] for row in rng.integers(0, 6, (height // 16 + 1, columns))]
    )
    video = np.empty((frames, height, width), np.uint8)
    start = frames * max(0, -step)
    for t in range(frames):
        video[t] = world[:height, start + t * step :][:, :width]
        video[t, :8] = 3
        video[t, 2:6, 4 : 4 + t % 8] = 4  # what the score line shows
        y, x = 20 + t, 10 + 3 * t
        video[t, y : y + 6, x : x + 6] = 5  # a sprite of its own way
    return video


def coloured(**kwargs: int) -> np.ndarray:
    """The same in RGB `(frames, h, w, 3)`."""
    return COLOURS[indexed(**kwargs)]


def photographed(frames: int = 4, size: tuple[int, int] = (32, 48), seed: int = 0) -> np.ndarray:
    """Smooth pictures with more than 256 colours, `(frames, h, w, 3)`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [
        np.sin((x + 2 * t) / 7 + channel) + np.cos(y / 5 - channel)
        for t in range(frames)
        for channel in range(3)
    ]
    smooth = np.stack(waves).reshape(frames, 3, *size).transpose(0, 2, 3, 1)
    return (120 + 50 * smooth + rng.integers(0, 3, smooth.shape)).astype(np.uint8)
