"""Decoded frames on disk, as arrays that are mapped into memory."""

from __future__ import annotations

import fcntl
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.video.decoder import Rgb

Pixels = NDArray[np.uint8]
Palette = NDArray[np.int32]
SUFFIXES = (".npz", ".frames", ".part", ".indexed")  # the last two are left behind by a crash


class FrameStore:
    """A folder of entries, each an index (`.npz`) and frames (`.frames`), with a size cap.

    Whoever makes an entry holds its lock; both files appear under their names when they are
    complete. What was used least recently goes first, but nothing that this process uses.

    Args:
        folder: where entries lie; made if it is not there.
        limit: bytes of all entries together.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.limit = folder, limit
        self.in_use: set[str] = set()

    def path(self, key: str, suffix: str) -> Path:
        """A file of an entry."""
        return self.folder / f"{key}{suffix}"

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Waits until no other process makes this entry."""
        path = self.path(key, ".lock")
        while True:
            with path.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                try:
                    if os.fstat(lock.fileno()).st_ino != path.stat().st_ino:
                        continue
                except FileNotFoundError:  # whoever had it before has removed it
                    continue
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return

    def use(self, key: str) -> None:
        """Marks an entry as used, now and by this process."""
        self.in_use.add(key)
        for suffix in (".npz", ".frames"):
            with suppress(OSError):
                os.utime(self.path(key, suffix))

    def room(self) -> float:
        """Bytes that are left beside what this process uses."""
        return self.limit - sum(self._sizes(self.in_use).values())

    def shrink(self) -> None:
        """Deletes what was used least recently until the rest fits."""
        sizes = self._sizes()
        total = sum(sizes.values())
        for key in sorted(sizes, key=self._last_used):
            if total <= self.limit:
                break
            if key not in self.in_use:
                total -= sizes[key]
                for file in self.folder.glob(f"{glob.escape(key)}.*"):
                    file.unlink(missing_ok=True)

    def _sizes(self, keys: set[str] | None = None) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for file in self.folder.iterdir():
            if file.suffix in SUFFIXES and (keys is None or file.stem in keys):
                with suppress(OSError):
                    sizes[file.stem] = sizes.get(file.stem, 0) + file.stat().st_size
        return sizes

    def _last_used(self, key: str) -> float:
        files = [self.path(key, suffix) for suffix in SUFFIXES]
        return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)


class FrameWriter:
    """Keeps frames in a file: as palette indices until the 257th colour comes, then as RGB.

    Where there is no room for them it keeps none, and says so in the end.

    Args:
        path: the file while it is written.
        room: bytes that it may take.
    """

    def __init__(self, path: Path, room: float) -> None:
        self.path, self.room = path, room
        self.file: BinaryIO = path.open("wb")
        self.frames = 0
        self.shape: tuple[int, ...] = ()
        self.place: NDArray[np.int16] | None = np.full(1 << 24, -1, np.int16)  # of each colour
        self.colours: list[int] = []
        self.full = False

    def __enter__(self) -> FrameWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)

    def append(self, rgb: Rgb) -> None:
        """Keeps one frame `(h, w, 3)`, all of one size."""
        if self.full:
            return
        indices = self._indices(rgb)
        if indices is None and self.place is not None:
            self._turn_to_rgb()
        pixels = rgb if indices is None else indices
        self.shape = pixels.shape
        self.frames += 1
        self._write(pixels)

    def finish(self, path: Path, frames: int) -> tuple[Palette, float]:
        """Gives the file its name.

        Args:
            path: its name.
            frames: how many of the frames stay; the last ones go.

        Returns:
            The palette `(256,)`, `(0,)` if the frames are RGB; and 0, or the bytes that were not
            enough.
        """
        if self.full:
            return np.zeros(0, np.int32), self.room + 1
        self.file.truncate(frames * int(np.prod(self.shape)))
        self.file.flush()
        os.replace(self.path, path)
        return self._palette() if self.place is not None else np.zeros(0, np.int32), 0.0

    def _write(self, pixels: Pixels) -> None:
        self.full = self.file.tell() + pixels.nbytes > self.room
        if not self.full:
            self.file.write(np.ascontiguousarray(pixels).data)

    def _indices(self, rgb: Rgb) -> Pixels | None:
        """Palette indices `(h, w)`, None if there are or have been too many colours."""
        if self.place is None:
            return None
        numbers = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA).view(np.int32)[..., 0] & 0xFFFFFF
        indices = np.take(self.place, numbers)
        if indices.min() < 0:
            new = np.unique(numbers[indices < 0])
            known = len(self.colours)
            if known + len(new) > 256:
                return None
            self.place[new] = np.arange(known, known + len(new))
            self.colours += new.tolist()
            indices = np.take(self.place, numbers)
        return indices.astype(np.uint8)

    def _palette(self) -> Palette:
        """Bytes R, G, B, X of each index, as `pixels.to_rgb` takes them."""
        palette = np.zeros(256, np.int32)
        palette[: len(self.colours)] = self.colours
        return palette

    def _turn_to_rgb(self) -> None:
        """Writes anew what has been written."""
        table = self._palette().view(np.uint8).reshape(256, 4)[:, :3]
        self.place = None
        self.file.close()
        indexed = self.path.with_suffix(".indexed")
        os.replace(self.path, indexed)
        self.file = self.path.open("wb")
        with indexed.open("rb") as old:
            for _ in range(self.frames):
                indices = np.frombuffer(old.read(int(np.prod(self.shape))), np.uint8)
                self._write(table[indices])
        indexed.unlink()
