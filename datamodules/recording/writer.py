"""Recordings to files: under their names they appear only when they are complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.recording.envs import Shot, Take
from datamodules.smb_format import Episode, SmbFrame, to_palette, write_frame
from datamodules.video.decoder import Rgb
from datamodules.video.encoding import write_video


def write_avi(path: Path, take: Take, fps: float, codec: str) -> int:
    """Writes `<name>.avi` and before it, where something is known, `<name>.labels.npz`.

    The labels hold `seconds` of each frame, `action` (button byte) and, where there are such,
    `ram`, `action_60hz` (button byte of each emulated frame) and `outcome`.

    Returns:
        Number of frames.
    """
    with staged(path) as folder:
        labels = Labels()
        write_video(folder / path.name, labels.collect(take.shots), fps, codec)
        if known := labels.arrays(take):
            beside = path.with_suffix(".labels.npz")
            np.savez_compressed(
                folder / beside.name, seconds=np.arange(labels.frames) / fps, **known
            )
            os.replace(folder / beside.name, beside)
        os.replace(folder / path.name, path)
    return labels.frames


class Labels:
    """What is known of each frame besides its picture."""

    def __init__(self) -> None:
        self.frames = 0
        self._rows: dict[str, list[Any]] = {"action": [], "ram": []}

    def collect(self, shots: Iterable[Shot]) -> Iterator[Rgb]:
        """Lets the pictures through and keeps the rest."""
        for shot in shots:
            self.frames += 1
            if shot.action is not None:
                self._rows["action"].append(shot.action)
            if shot.ram is not None:
                self._rows["ram"].append(np.array(shot.ram))
            yield shot.pixels

    def arrays(self, take: Take) -> dict[str, Any]:
        """What is known, by its name in the labels file."""
        arrays: dict[str, Any] = {
            name: np.array(rows, np.uint8) for name, rows in self._rows.items() if rows
        }
        if take.held is not None:
            arrays["action_60hz"] = np.array(take.held, np.uint8)
        if take.outcome is not None:
            arrays["outcome"] = np.uint8(take.outcome)
        return arrays


def write_pngs(
    out: Path, episode: Episode, take: Take, every: int, replaces: Sequence[Path] = ()
) -> int:
    """Writes the folder of an episode in the format of the smbdataset.

    Args:
        out: folder that the episode's folder is put into.
        episode: its names.
        take: of Super Mario Bros.
        every: emulated frames from shot to shot.
        replaces: folders that go when this one is complete.

    Returns:
        Number of frames.
    """
    began = datetime.now()
    frames = 0
    with staged(path := out / episode.folder) as folder:
        for frames, shot in enumerate(take.shots, 1):
            assert shot.action is not None and shot.ram is not None
            number = (frames - 1) * every + 1
            name = episode.file(number, shot.action, began + timedelta(seconds=number / 60))
            state = SmbFrame(*to_palette(shot.pixels), shot.ram, shot.action, episode.outcome)
            write_frame(folder / name, state)
        for older in replaces:
            shutil.rmtree(older, ignore_errors=True)
        os.replace(folder, path)
    return frames


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A hidden folder beside the file, so that a rename stays within the file system."""
    folder = path.with_name(f".{path.name}.{os.getpid()}")
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
