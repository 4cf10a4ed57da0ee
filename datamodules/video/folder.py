"""What a folder holds: files of video and episodes of pictures, in natural order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datamodules.smb_format import FRAME_NUMBER
from datamodules.video.decoding import SUFFIXES, VideoError, explain, read_frames
from datamodules.video.quarantine import Quarantine


class Videos(NamedTuple):
    """The readable files below a folder, in natural order."""

    root: Path
    paths: list[Path]

    def names(self) -> list[str]:
        """Paths relative to the folder: a position holds where the folder is moved."""
        return [path.relative_to(self.root).as_posix() for path in self.paths]


def find_videos(data_dir: str, strict: bool = False) -> Videos:
    """Every file of video below a folder (or one file) of which the first frame can be decoded.

    Warns once of each file that cannot be read.

    Raises:
        ValueError: if there is none.
        VideoError: if one cannot be read and `strict` is set.
    """
    root, candidates = list_videos(data_dir)
    quarantine = Quarantine(root, strict)
    found = []
    for path in candidates:
        try:
            next(read_frames(path))
            found.append(path)
        except VideoError as error:
            quarantine.add(path, explain(path, str(error)))
    if not found:
        raise ValueError(no_videos(Path(data_dir)))
    return Videos(root, found)


def list_videos(data_dir: str, episodes: bool = False) -> tuple[Path, list[Path]]:
    """What is named like a file of video below a folder, readable or not.

    Args:
        data_dir: the folder, or one file of it.
        episodes: whether folders of frames in the format of `smb_format` count too.

    Returns:
        The folder, and the paths in natural order.
    """
    root = Path(data_dir)
    if root.suffix.lower() in SUFFIXES and not root.is_dir():
        return root.parent, [root]
    paths = [path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES]
    if episodes:
        frames = root.rglob("*_f*_a*.png")
        paths += {path.parent for path in frames if FRAME_NUMBER.search(path.name)}
    return root, sorted(paths, key=natural)


def no_videos(root: Path) -> str:
    """One line for whoever named the wrong folder."""
    kinds = " ".join(sorted(SUFFIXES))
    return (
        f"no readable video ({kinds}) in {root}; set data.data_dir to a folder that has some, or "
        f"record some: litarcade-record --env ALE/Breakout-v5 --out {root}"
    )


def unique_names(root: Path, paths: Sequence[Path]) -> list[str]:
    """Each file's name without its suffix, where that is unique; folders between joined by `__`."""
    stems = ["__".join(path.relative_to(root).with_suffix("").parts) for path in paths]
    return [
        stem if stems.count(stem) == 1 else f"{stem}{path.suffix}"
        for stem, path in zip(stems, paths, strict=True)
    ]


def natural(path: Path) -> list[tuple[int, str]]:
    """Sorts `2.avi` before `10.avi`."""
    return [(int(d or 0), text) for d, text in re.findall(r"(\d*)(\D*)", path.as_posix())]
