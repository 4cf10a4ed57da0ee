"""A recording as an array of frames, read from the cache or from its file."""

from __future__ import annotations

import zlib
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.video.decoder import Damage, Rgb
from datamodules.video.decoding import VideoError
from datamodules.video.index import NO_SEEK, RecordingIndex
from datamodules.video.sources import read_from, read_in_order
from datamodules.video.store import Palette, Pixels

Size = tuple[int, int]
Rows = NDArray[np.int64]


@dataclass(eq=False)
class Recording:
    """One readable file or folder of frames, or a stretch of it between two places of damage.

    It can be pickled and shared by forked processes: files are opened when frames are asked for.
    """

    path: Path
    name: str
    """`path` relative to the folder that was opened."""
    size: Size
    """Height and width of what `frames` returns."""
    rows: slice = field(repr=False)
    """Which frames of the index these are."""
    index: RecordingIndex = field(repr=False)
    store: Path | None = field(default=None, repr=False)
    """Where the decoded frames of the index lie; None decodes them each time."""
    _array: Pixels | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        seconds = self.index.seconds[self.rows]
        self.seconds: NDArray[np.float64] = seconds - seconds[0]
        """Timestamps `(n,)` from the file, rising from 0."""

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.seconds)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_array": None}

    @property
    def first_frame(self) -> int:
        """Number in the file of frame 0; above 0 only behind damage."""
        return int(self.index.numbers[self.rows.start])

    def frames(self, indices: Rows) -> tuple[Pixels, Palette | None]:
        """Some frames, in any order.

        Args:
            indices: `(k,)`, each in `[0, n)`.

        Returns:
            Palette indices `(k, h, w)` uint8 and the palette `(256,)` int32 holding bytes R, G, B,
            X; or RGB `(k, h, w, 3)` uint8 and None.

        Raises:
            IndexError: for an index outside.
            VideoError: if the file is not what it was any more.
        """
        indices = np.asarray(indices, np.int64)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"{self.name} has frames 0 to {len(self) - 1}, not {indices}")
        rows = self.rows.start + indices
        if (array := self._stored()) is not None:
            return array[rows], self.index.palette if len(self.index.palette) else None
        return self._decoded(rows), None

    def _stored(self) -> Pixels | None:
        """The decoded frames, None if they are not there (any more)."""
        if self._array is None and self.store is not None:
            colours = () if len(self.index.palette) else (3,)
            shape = (len(self.index.numbers), *self.size, *colours)
            try:
                self._array = np.memmap(self.store, np.uint8, "r", shape=shape)
            except (OSError, ValueError):  # another run needed the room
                self.store = None
        return self._array

    def _decoded(self, rows: Rows) -> Rgb:
        """RGB `(k, h, w, 3)` from the file."""
        wanted = np.unique(rows)
        found = self._by_seeking(wanted) or self._in_order(wanted)
        pictures = [found[row] for row in rows.tolist()]
        return np.stack(pictures) if pictures else np.zeros((0, *self.size, 3), np.uint8)

    def _by_seeking(self, rows: Rows) -> dict[int, Rgb] | None:
        """The frames by row; None where a seek led elsewhere, as it does in some files."""
        if not len(rows):
            return {}
        first, last = int(rows[0]), int(rows[-1])
        keys = np.flatnonzero(self.index.seeks[self.rows.start : first + 1] != NO_SEEK)
        if not len(keys):
            return None
        key = self.rows.start + int(keys[-1])
        found: dict[int, Rgb] = {}
        wanted = set(rows.tolist())
        try:
            with closing(read_from(self.path, int(self.index.seeks[key]), first - key)) as frames:
                for row, pixels in zip(range(first, last + 1), frames, strict=False):
                    if row in wanted and not self._keep(found, row, pixels):
                        return None
        except VideoError:
            return None
        return found if len(found) == len(rows) else None

    def _in_order(self, rows: Rows) -> dict[int, Rgb]:
        """The frames by row, decoded from the beginning of the file."""
        wanted = {int(self.index.numbers[row]): int(row) for row in rows}
        found: dict[int, Rgb] = {}
        with closing(read_in_order(self.path)) as frames:
            for frame in frames:
                if isinstance(frame, Damage) or frame.number not in wanted:
                    continue
                if not self._keep(found, wanted[frame.number], frame.pixels):
                    break
                if len(found) == len(rows):
                    return found
        raise VideoError(f"{self.path} has changed since the run began; start the run again")

    def _keep(self, found: dict[int, Rgb], row: int, pixels: Rgb) -> bool:
        """Takes a frame if it is the one that the index was made of."""
        if zlib.crc32(pixels.data) != self.index.digests[row]:
            return False
        found[row] = resized(pixels, self.size)
        return True


def resized(rgb: Rgb, size: Size) -> Rgb:
    """RGB `(h, w, 3)` to `(*size, 3)`: by area where it shrinks, else bilinear."""
    height, width = size
    if rgb.shape[:2] == size:
        return rgb
    shrinks = height <= rgb.shape[0] and width <= rgb.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(rgb, (width, height), interpolation=method).astype(np.uint8, copy=False)
