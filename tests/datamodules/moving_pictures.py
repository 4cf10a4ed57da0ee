"""Pictures whose motion is known, and tracks whose every number says which it is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from datamodules.tracking.store import About, Tracks, part_path, save

POINTS = 9


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Blots `(height, width)` uint8, smooth and all over."""
    noise = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    blots = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip(128 + blots / blots.std() * 50, 0, 255).astype(np.uint8)


def scrolled(whole: np.ndarray, x: float, y: float, height: int, width: int) -> np.ndarray:
    """The part of a picture that has its top left corner at (x, y), which need not be whole."""
    window = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
    return cv2.warpAffine(whole, window, (width, height), flags=cv2.INTER_CUBIC)


def value(source: int, step: np.ndarray | int) -> np.ndarray:
    """A velocity that says of which video and step it is; float16 can tell them apart."""
    return np.asarray(source + np.asarray(step) / 256, np.float32)


def numbered_tracks(
    source: int, steps: int, gap: int | None = None, images: bool = False
) -> Tracks:
    """Tracks of a video; behind `gap` steps some of it is lost."""
    step = np.arange(steps)
    velocity = np.broadcast_to(value(source, step)[:, None, None], (steps, POINTS, 2))
    pictures = np.broadcast_to(step[::4, None, None, None], (len(step[::4]), 3, 64, 64))
    return Tracks(
        velocity.astype(np.float16),
        (step[:, None] + np.arange(POINTS)) % 3 > 0,
        step / 20,
        (step >= (steps if gap is None else gap)).astype(np.int32),
        (step % 7).astype(np.int16),
        pictures.astype(np.uint8) if images else None,
    )


def write_tracks(folder: Path, lengths: dict[str, int], **options) -> Path:
    """One file a name."""
    for source, name in enumerate(sorted(lengths)):
        tracks = numbered_tracks(source, lengths[name], **options)
        save(part_path(folder / name, 0), tracks, About(f"{name}.avi", height=48, width=64))
    return folder
