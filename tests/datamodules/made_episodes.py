"""Episodes in the smbdataset's format whose every frame says which it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from datamodules import SmbFrameDataModule
from datamodules.buttons import LEFT, RIGHT
from datamodules.smb_format import FAIL, Episode, SmbFrame, picture_end, write_frame

SIZE = (32, 48)
LEVELS = {"1-1": 24, "1-2": 30, "4-2": 26}


def memory(level: str, frames: int) -> np.ndarray:
    """RAM `(frames, 2048)`, the same for the same level; line ends are common in it."""
    seed = int(level.replace("-", ""))
    return np.random.default_rng(seed).choice([0, 3, 10, 13, 200], (frames, 2048)).astype(np.uint8)


def picture(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and palette of a frame: a moving patch on a ramp of colours."""
    indices = np.tile(np.arange(SIZE[1]) // 4, (SIZE[0], 1)).astype(np.uint8)
    indices[4:8, number % 40 : number % 40 + 5] = 13
    palette = np.zeros((256, 3), np.uint8)
    palette[:14] = np.stack([20 * np.arange(14), 255 - 19 * np.arange(14), np.full(14, 90)], 1)
    return indices, palette


def write_episode(folder: Path, level: str, number: int = 1, step: int = 1) -> Path:
    """An episode of `LEVELS[level]` frames."""
    episode = Episode("me", "s1", number, level, FAIL)
    (path := folder / episode.folder).mkdir(parents=True)
    for i, ram in enumerate(memory(level, LEVELS[level])):
        buttons = (LEFT, RIGHT, 148)[i % 3]
        frame = SmbFrame(*picture(i), ram, buttons, FAIL)
        time = datetime(2026, 1, 2) + timedelta(seconds=i)
        write_frame(path / episode.file(step * i + 1, buttons, time), frame)
    return path


def write_episodes(folder: Path, step: int = 1) -> Path:
    """One of each of the levels."""
    for number, level in enumerate(LEVELS):
        write_episode(folder, level, number, step)
    return folder


def in_text_mode(folder: Path) -> None:
    """Does to all frames what the collector of the dataset did."""
    for path in folder.rglob("*.png"):
        data = path.read_bytes()
        end = picture_end(data)
        path.write_bytes(data[:end] + data[end:].replace(b"\n", b"\r\n"))


def make(folder: Path, **options: Any) -> SmbFrameDataModule:
    """A datamodule that has been set up."""
    given = {"clip_length": 3, "size": (24, 40), "batch_size": 2, "stride": 1, "val_fraction": 0}
    given["cache_dir"] = str(folder.with_name("cache"))
    data = SmbFrameDataModule(str(folder), **(given | options))
    data.setup("fit")
    return data
