"""What one pass over a recording finds out: frames, times, places to begin decoding, damage."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.video.decoder import Damage, Rgb
from datamodules.video.decoding import VideoError
from datamodules.video.sources import read_in_order

NO_SEEK = np.iinfo(np.int64).min


@dataclass
class RecordingIndex:
    """A recording frame by frame; `n` counts the frames that can be read."""

    numbers: NDArray[np.int64]
    """Number in the file `(n,)`; there is a gap where frames are lost."""
    seconds: NDArray[np.float64]
    """Timestamps `(n,)`, rising."""
    digests: NDArray[np.uint32]
    """CRC-32 of the decoded RGB `(n,)`: tells whether a seek has found the frame."""
    seeks: NDArray[np.int64]
    """`Frame.seek` `(n,)`, `NO_SEEK` where decoding cannot begin."""
    size: NDArray[np.int64]
    """Height and width in the file."""
    damages: NDArray[np.str_]
    """What is wrong with the file."""
    palette: NDArray[np.int32]
    """`(256,)` for frames kept as indices, `(0,)` for RGB."""
    needed: float = 0.0
    """Bytes that keeping the frames takes at least, where there was no room; 0 if they are kept."""

    def pieces(self) -> list[slice]:
        """Stretches without a gap."""
        cuts = np.flatnonzero(np.diff(self.numbers) != 1) + 1
        bounds = [0, *cuts.tolist(), len(self.numbers)]
        return [slice(a, b) for a, b in pairwise(bounds) if b > a]

    def damage(self) -> str:
        """What is wrong with the file, in one line; empty if nothing is."""
        return summary(self.damages.tolist())

    def fits(self, frames: Path, size: tuple[int, int] | None) -> bool:
        """Whether a file is as long as the frames, of this or their own size, must be."""
        height, width = size or self.size.tolist()
        colours = 1 if len(self.palette) else 3
        wanted = len(self.numbers) * height * width * colours
        return frames.is_file() and frames.stat().st_size == wanted

    def save(self, path: Path) -> None:
        """Writes a file that is complete when it appears."""
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> RecordingIndex | None:
        """Reads it back; None where there is none or it is damaged."""
        try:
            with np.load(path, allow_pickle=False) as file:
                values: dict[str, Any] = {field.name: file[field.name] for field in fields(cls)}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        return cls(**values | {"needed": float(values["needed"])})


def build_index(path: Path, keep: Callable[[Rgb], None]) -> RecordingIndex:
    """Decodes a recording once, in order.

    Args:
        path: the file or folder.
        keep: is given each frame; those that turn out to be lost are the last ones, see `numbers`.

    Raises:
        VideoError: if not one frame can be read.
    """
    rows: list[tuple[int, float, int, int]] = []
    damages: list[str] = []
    size = (0, 0)
    for frame in read_in_order(path):
        if isinstance(frame, Damage):
            damages.append(frame.reason)
            while rows and rows[-1][0] >= frame.number:
                rows.pop()
        else:
            seek = NO_SEEK if frame.seek is None else frame.seek
            rows.append((frame.number, frame.seconds, zlib.crc32(frame.pixels.data), seek))
            size = frame.pixels.shape[:2]
            keep(frame.pixels)
    if not rows:
        raise VideoError(summary(damages))
    numbers, seconds, digests, seeks = zip(*rows, strict=True)
    return RecordingIndex(
        np.array(numbers, np.int64),
        np.array(seconds, np.float64),
        np.array(digests, np.uint32),
        np.array(seeks, np.int64),
        np.array(size),
        np.array(damages, np.str_),
        np.zeros(0, np.int32),
    )


def summary(damages: list[str]) -> str:
    """The first of many reasons."""
    more = f" and at {len(damages) - 1} more places" if len(damages) > 1 else ""
    return damages[0] + more if damages else ""
