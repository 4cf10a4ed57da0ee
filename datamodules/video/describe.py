"""What a folder of recordings holds, as a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from datamodules.labels import LabelsError, read_labels
from datamodules.video.decoder import Rgb
from datamodules.video.decoding import VideoError, explain, opened
from datamodules.video.folder import list_videos
from datamodules.video.index import build_index
from datamodules.video.recorded import Recording

COLUMNS = ("frames", "seconds", "fps", "width x height", "codec", "colours", "labels", "wrong")


@dataclass
class Colours:
    """Counts the colours of a recording."""

    present: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(1 << 24, np.bool_))

    def add(self, rgb: Rgb) -> None:
        """Those of a frame `(h, w, 3)`."""
        self.present[cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA).view(np.int32) & 0xFFFFFF] = True

    def count(self) -> int:
        """How many there were."""
        return int(np.count_nonzero(self.present))


@dataclass
class Description:
    """One file or folder of frames."""

    name: str
    frames: int = 0
    seconds: float = 0.0
    """From the first frame to the end of the last."""
    cells: tuple[str, ...] = ("", "", "", "", "")
    """Frames a second, size, codec, colours and labels."""
    wrong: str = ""


def describe(data_dir: str) -> None:
    """Prints a table of all recordings below a folder; each is decoded once, to its end.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not Path(data_dir).exists():
        raise FileNotFoundError(f"there is no {data_dir}; name a folder of recordings or one file")
    root, paths = list_videos(data_dir, episodes=True)
    progress = Console(stderr=True)
    found = [
        describe_one(path, path.relative_to(root).as_posix())
        for path in track(paths, "Reading", console=progress, transient=True)
    ]
    table = Table(title=f"{root}", title_justify="left")
    for column in ("file", *COLUMNS):
        table.add_column(column, overflow="fold", justify="left")
    for one in found:
        frames = f"{one.frames:,}" if one.frames else "-"
        seconds = f"{one.seconds:.1f}" if one.frames else "-"
        table.add_row(one.name, frames, seconds, *one.cells, one.wrong)
    # Cut to the width of a terminal, not of whatever a pipe is taken for.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    print("\n".join(totals(found)))


def totals(found: list[Description]) -> Iterator[str]:
    """A line for each kind of file."""
    good = [one for one in found if one.frames]
    frames, seconds = sum(one.frames for one in good), sum(one.seconds for one in good)
    yield f"{len(good)} recordings, {frames:,} frames, {seconds:,.1f} seconds"
    bad, damaged = len(found) - len(good), sum(bool(one.wrong) for one in good)
    if bad or damaged:
        yield f"{bad} files cannot be read, {damaged} are damaged"


def describe_one(path: Path, name: str) -> Description:
    """One file or folder, whatever is wrong with it."""
    colours = Colours()
    try:
        index = build_index(path, colours.add)
        codec = codec_of(path)
    except VideoError as error:
        return Description(name, wrong=explain(path, str(error)))
    steps = np.diff(index.seconds)
    step = float(np.median(steps)) if len(steps) else 0.0
    height, width = index.size.tolist()
    whole = Recording(path, name, (height, width), slice(0, len(index.numbers)), index)
    cells = (
        f"{1 / step:.4g}" if step else "-",
        f"{width}x{height}",
        codec,
        f"{colours.count():,}",
        labels_of(whole),
    )
    return Description(name, len(whole), float(whole.seconds[-1]) + step, cells, index.damage())


def codec_of(path: Path) -> str:
    """Name of the codec and of its pixels."""
    if path.is_dir():
        return "png"
    with opened(path) as (_, stream):
        return f"{stream.codec_context.name} {stream.codec_context.pix_fmt}"


def labels_of(recording: Recording) -> str:
    """What the labels hold, or what is wrong with them."""
    try:
        labels = read_labels(recording)
    except LabelsError as error:
        return f"unusable: {error}"
    if labels is None:
        return "none"
    return "action" if labels.ram is None else f"action, ram {labels.ram.shape[1]}"
