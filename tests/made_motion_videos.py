"""Videos of a square that rests and moves, and frame sources that break off."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datamodules.video_io import write_video

SIZE = (48, 64)
FPS = 30


def pictures(moves: str, per_letter: int = 15) -> list[np.ndarray]:
    """A textured square: `r` moves right, `l` left, any other letter rests; half a second each."""
    texture = np.random.default_rng(0).integers(60, 255, (12, 12, 3)).astype(np.uint8)
    x, frames = 26.0, []
    for letter in moves:
        for _ in range(per_letter):
            x = (x + {"r": 1.5, "l": -1.5}.get(letter, 0)) % (SIZE[1] - 12)
            frame = np.full((*SIZE, 3), 40, np.uint8)
            frame[18:30, round(x) : round(x) + 12] = texture
            frames.append(frame)
    return frames


def write_moves(folder: Path, name: str, moves: str, labels: bool = False) -> Path:
    """A lossless video; with labels, 128 is held while it moves right and 64 while left."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.avi"
    frames = pictures(moves)
    write_video(path, frames, FPS)
    if labels:
        held = [{"r": 128, "l": 64}.get(letter, 0) for letter in moves for _ in range(15)]
        seconds = np.arange(len(frames)) / FPS
        np.savez(folder / f"{name}.labels.npz", action=np.array(held, np.uint8), seconds=seconds)
    return path
