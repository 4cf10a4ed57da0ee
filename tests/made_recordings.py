"""Recordings of a small scrolling game, made on the spot: sky, ground, pillars, buttons held."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datamodules.buttons import LEFT, RIGHT
from datamodules.video_io import write_video

SKY, GROUND, PILLAR = (92, 148, 252), (200, 76, 12), (0, 168, 0)


def scroll(seed: int, frames: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures `(frames, h, w, 3)` uint8 and the button byte held in each `(frames,)`."""
    rng = np.random.default_rng(seed)
    height, width = size
    world = np.empty((height, 8 * width, 3), np.uint8)
    world[:] = SKY
    world[-height // 4 :] = GROUND
    for place in rng.integers(0, 8 * width - 4, 24):
        world[height // 2 : -height // 4, place : place + width // 8] = PILLAR
    held = np.where(np.arange(frames) // 12 % 2 == 0, RIGHT, LEFT).astype(np.uint8)
    places = 2 * width + np.cumsum(np.where(held == RIGHT, 1, -1))
    pictures = [world[:, x : x + width] for x in places]
    return np.stack(pictures), held


def write_recordings(
    folder: Path, files: int = 3, frames: int = 40, size: tuple[int, int] = (16, 16)
) -> Path:
    """Lossless files with labels, one a level; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in range(files):
        pictures, held = scroll(file, frames, size)
        name = f"{file:03d}_1-{file + 1}_scroll"
        write_video(folder / f"{name}.avi", list(pictures), 30)
        seconds = np.arange(frames) / 30
        ram = np.zeros((frames, 2048), np.uint8)
        np.savez_compressed(folder / f"{name}.labels.npz", action=held, ram=ram, seconds=seconds)
    return folder
