"""Recordings whose every frame says which it is, and the clips of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from datamodules import AviClipDataModule
from datamodules.video_io import write_video

LENGTHS = {"1-1_a": 20, "1-1_b": 17, "2-1_a": 23, "play_3-2_win": 16, "free": 12}
SIZE = (8, 16)


def brightness(file: int, frame: int) -> int:
    """Says which frame of which file it is."""
    return 40 * file + frame


def write(folder, lengths=LENGTHS, fps=30.0):
    for file, name in enumerate(sorted(lengths)):
        frames = [np.full((*SIZE, 3), brightness(file, i), np.uint8) for i in range(lengths[name])]
        write_video(folder / f"{name}.avi", frames, fps=fps)
    return folder


def make(folder, stage="fit", **options: Any) -> AviClipDataModule:
    given = {"clip_length": 4, "size": SIZE, "stride": 2, "val_fraction": 0.3}
    given["cache_dir"] = str(folder / "cache")
    data = AviClipDataModule(str(folder), **(given | options))
    if stage:
        data.setup(stage)
    return data


def ready(data, loader):
    """Batches as the model gets them."""
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def clips_of(batches):
    """(source, first frame) of each sample in order."""
    return [
        (int(source), int(index[0]))
        for batch in batches
        for source, index in zip(batch["source"], batch["frame_index"], strict=True)
    ]
