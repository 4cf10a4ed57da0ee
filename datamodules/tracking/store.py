"""Tracks on disk: one file a video, or several of a long one, read window by window.

A `<name>.tracks.safetensors` holds of n steps `velocity` float16 `(n, P, 2)`, `visible` (bits of P
points, most significant first, uint8 `(n, ceil(P / 8))`), `seconds` float64 `(n,)` (begin of each
step), `piece` int32 `(n,)` (steps of different pieces are not neighbours: video is lost between
them), `action` int16 `(n,)` (byte of buttons held, -1 unknown) and, where asked for, `images` uint8
`(ceil(n / 4), 3, 64, 64)` (RGB, the frame at the beginning of every fourth step). What it was made
of is in the header, see `About`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

SUFFIX = ".tracks.safetensors"
FORMAT = "1"  # raise it when what is written changes
IMAGE_EVERY = 4  # steps
IMAGE_SIDE = 64  # pixels


class TracksError(ValueError):
    """Tracks that cannot be read; the message tells why, without the path."""


@dataclass(frozen=True)
class About:
    """What a file of tracks was made of."""

    name: str
    """Of the video, relative to its folder."""
    key: str = ""
    """Tells whether it was made of the same video in the same way."""
    part: int = 0
    """Which part of a long video it holds, counted from 0."""
    last: bool = True
    """Whether no further part follows."""
    height: int = 1
    width: int = 1
    """Pixels of the video's frames."""
    view: str = "default"
    """Name of the camera."""


class Tracks(NamedTuple):
    """Motion of the grid in n successive steps; see this file's docstring."""

    velocity: NDArray[np.float16]
    visible: NDArray[np.bool_]
    seconds: NDArray[np.float64]
    piece: NDArray[np.int32]
    action: NDArray[np.int16]
    images: NDArray[np.uint8] | None = None


def save(path: Path, tracks: Tracks, about: About) -> None:
    """Writes a file that is complete when it appears."""
    arrays = {name: array for name, array in tracks._asdict().items() if array is not None}
    arrays["visible"] = np.packbits(tracks.visible, axis=1)
    header = {name: str(value) for name, value in asdict(about).items()} | {"format": FORMAT}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, part, header)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


class TracksFile:
    """A file of tracks, of which windows are read where they lie.

    It can be pickled and shared by forked processes: the file is opened when a window is asked for.

    Args:
        path: the file.

    Raises:
        TracksError: if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: Any = None
        with reading():
            with safe_open(path, "numpy") as file:
                header = file.metadata() or {}
                if header.pop("format", None) != FORMAT:
                    raise TracksError("it holds no tracks of this version; extract them again")
                names = set(file.keys())
                shape = file.get_slice("velocity").get_shape()
                self.seconds: NDArray[np.float64] = file.get_tensor("seconds")
                self.piece: NDArray[np.int32] = file.get_tensor("piece")
                self.action: NDArray[np.int16] = file.get_tensor("action")
            self.about = About(
                **header
                | {name: int(header[name]) for name in ("part", "height", "width")}
                | {"last": header["last"] == "True"}
            )
        self.steps, self.points = int(shape[0]), int(shape[1])
        self.has_images = "images" in names

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None}

    def read(self, start: int, stop: int) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """Velocity `(t, P, 2)` and visible `(t, P)` of some steps."""
        file = self._open()
        bits = file.get_slice("visible")[start:stop]
        visible = np.unpackbits(bits, axis=1, count=self.points).view(np.bool_)
        return file.get_slice("velocity")[start:stop], visible

    def image(self, start: int) -> NDArray[np.uint8] | None:
        """Small picture `(3, 64, 64)` of the beginning of a step, or up to three steps before."""
        if not self.has_images:
            return None
        row = start // IMAGE_EVERY
        image = self._open().get_slice("images")[row : row + 1]
        return np.asarray(image[0])

    def all(self) -> Tracks:
        """Everything in it."""
        images = self._open().get_tensor("images") if self.has_images else None
        if self.steps == 0:  # of which no slice can be taken
            velocity = np.zeros((0, self.points, 2), np.float16)
            visible = np.zeros((0, self.points), np.bool_)
        else:
            velocity, visible = self.read(0, self.steps)
        return Tracks(velocity, visible, self.seconds, self.piece, self.action, images)

    def _open(self) -> Any:
        if self._handle is None:
            self._handle = safe_open(self.path, "numpy")
        return self._handle


@contextmanager
def reading() -> Iterator[None]:
    """Errors of a damaged file become a `TracksError`."""
    try:
        yield
    except TracksError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TracksError(f"it cannot be read: {error}") from error


def part_path(target: Path, part: int) -> Path:
    """File of a part of a video; `target` is its path without a suffix."""
    return target.with_name(f"{target.name}{f'.part{part}' if part else ''}{SUFFIX}")


def parts_of(target: Path) -> Iterator[TracksFile]:
    """The parts of a video in order, up to the first that is not there or cannot be read."""
    with suppress(TracksError):
        for part in count():
            yield TracksFile(part_path(target, part))


def views_of(parts: Sequence[TracksFile]) -> list[tuple[Tracks, About]]:
    """The whole tracks of one video, by camera.

    Args:
        parts: files of all parts and cameras of it, in any order.

    Raises:
        TracksError: if a part is missing.
    """
    views: dict[str, list[TracksFile]] = {}
    for part in sorted(parts, key=lambda part: (part.about.view, part.about.part)):
        views.setdefault(part.about.view, []).append(part)
    whole = []
    for view, files in views.items():
        if [file.about.part for file in files] != list(range(len(files))) or not (
            files[-1].about.last
        ):
            raise TracksError(f"parts of {files[0].about.name} ({view}) are missing")
        columns = zip(*(file.all()[:5] for file in files), strict=True)
        whole.append((Tracks(*map(np.concatenate, columns)), files[0].about))
    return whole
