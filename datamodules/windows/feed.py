"""Frames of one video in order, and where some of them are missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.labels import SUFFIX, LabelsError, from_file
from datamodules.video.decoder import Damage, Rgb
from datamodules.video.decoding import VideoError, read_around_damage
from datamodules.video.folder import list_videos, unique_names


class Shot(NamedTuple):
    """A frame."""

    pixels: Rgb
    seconds: float
    """By the file's timestamps; of a live source since it was first reached."""
    action: int
    """Button byte held, -1 where it is not known."""


class Gap(NamedTuple):
    """A place where frames are missing."""

    reason: str
    behind: bool = False
    """Whether they are missing because whoever reads is too slow."""


Feed = Iterator[Shot | Gap]


class Video(NamedTuple):
    """A file that is to be read, or a live source."""

    number: int
    """Place among all videos of the source, the same on every rank."""
    name: str
    """Of files that are made of it; no two videos of a source share one."""
    path: str
    """As the user gave it."""


def list_sources(source: str) -> list[Video]:
    """The videos of a file or folder, readable or not, in natural order.

    A video is named like its file without the suffix, where that is not unique with it; folders
    between are joined by `__`.

    Raises:
        ValueError: if there is none.
    """
    given = Path(source)
    if not given.exists():
        raise ValueError(
            f"source {source} does not exist; set data.source to a file, a folder, the number of "
            "a camera or an address such as rtsp://host/path"
        )
    root, paths = list_videos(source) if given.is_dir() else (given.parent, [given])
    if not paths:
        raise ValueError(
            f"source {source} holds no video; set data.source to a folder that does, or record "
            f"some: litarcade-record --env ALE/Breakout-v5 --out {source}"
        )
    names = unique_names(root, paths)
    return [
        Video(i, name, str(path)) for i, (name, path) in enumerate(zip(names, paths, strict=True))
    ]


def read_file(path: str) -> Feed:
    """The frames of a file; damage leaves a gap.

    Raises:
        VideoError: if nothing of it can be read.
    """
    actions = actions_beside(Path(path))
    frames = 0
    for item in read_around_damage(path):
        if isinstance(item, Damage):
            if not frames:
                raise VideoError(item.reason)
            yield Gap(item.reason)
            continue
        frames += 1
        known = item.number < len(actions)
        yield Shot(item.pixels, item.seconds, int(actions[item.number]) if known else -1)


def actions_beside(path: Path) -> NDArray[np.uint8]:
    """Button bytes of a recording's frames, from the labels beside it; empty if there are none."""
    with suppress(LabelsError):
        beside = path.with_name(path.stem + SUFFIX)
        if beside.is_file():
            return from_file(beside).action
    return np.zeros(0, np.uint8)
