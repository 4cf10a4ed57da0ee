"""What a user points to: a video, a picture, a folder of pictures; and the game's state in it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.labels import SUFFIX, Labels, LabelsError, from_file, from_pictures
from datamodules.ram_map import SMB_BYTES, STATE_NAMES, mario_state, plain_state
from datamodules.smb_format import SIGNATURE, episodes, frame_number, picture_end, read_state
from datamodules.video.decoder import Rgb
from datamodules.video.decoding import (
    SUFFIXES,
    VideoError,
    check_file,
    check_pixels,
    explain,
    opened,
    read_frames,
)
from datamodules.video.folder import natural
from datamodules.video.sources import NOMINAL_RATE, read_picture

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
PICTURE_RATE = 15.0  # frames a second of pictures that do not say when they were taken
TIMED = 17  # frames by whose timestamps a video's rate is told

State = NDArray[np.float32]


class Footage:
    """Frames in order, read from their files each time that they are asked for.

    Args:
        path: a video, a picture, or a folder of pictures of one size: either of an episode in the
            smbdataset's format, in the order of their frame numbers, or any, in natural order.

    Raises:
        ValueError: if not one frame can be read.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.is_picture = False
        self._pictures: list[Path] = []
        self._episode = False
        if self.path.is_dir():
            self._pictures = episodes(self.path)
            self._episode = bool(self._pictures)
            if not self._episode:
                files = (p for p in self.path.iterdir() if p.suffix.lower() in PICTURES)
                self._pictures = sorted(files, key=natural)
            if not self._pictures:
                raise ValueError(f"{path} holds no pictures ({' '.join(sorted(PICTURES))})")
        elif self.path.suffix.lower() not in SUFFIXES:
            self.is_picture, self._pictures = True, [self.path]
        self.size: tuple[int, int] = self._first.shape[:2]
        """Height and width of the frames."""

    @cached_property
    def _first(self) -> Rgb:
        try:
            return next(self.frames())
        except ValueError as error:
            if not self._pictures and self.path.is_file():  # FFmpeg's log says more than its codes
                raise ValueError(f"{self.path}: {explain(self.path, str(error))}") from None
            raise

    def frames(self) -> Iterator[Rgb]:
        """RGB `(h, w, 3)` uint8, from the first frame on.

        Raises:
            ValueError: where a frame cannot be read or is of another size; names file and frame.
        """
        height, width = 0, 0
        files = chain(self._pictures, [self.path] * (not self._pictures))
        for number, frame in enumerate(self._decoded()):
            if not number:
                height, width = frame.shape[:2]
            elif frame.shape[:2] != (height, width):
                file = next(islice(files, number, None)) if self._pictures else self.path
                raise ValueError(
                    f"{file}: frame {number} is {frame.shape[1]}x{frame.shape[0]} pixels, the "
                    f"first was {width}x{height}; give frames of one size"
                )
            yield frame

    def _decoded(self) -> Iterator[Rgb]:
        number = 0
        try:
            if not self._pictures:
                for frame, _ in read_frames(self.path):
                    yield frame
                    number += 1
            for file in self._pictures:
                yield read_picture(file) if self._episode else read_any_picture(file)
                number += 1
        except VideoError as error:
            file = self._pictures[number] if self._pictures else self.path
            after = f"; give --frames {number} for what comes before" if number else ""
            raise ValueError(f"{file}: {error}{after}") from None

    @cached_property
    def rate(self) -> float:
        """Frames a second, by the timestamps of the first ones; 15 of plain pictures."""
        seconds: list[float] = []
        if self._episode:
            seconds = [frame_number(path) / NOMINAL_RATE for path in self._pictures[:TIMED]]
        elif not self._pictures:
            try:
                for _, time in islice(read_frames(self.path), TIMED):
                    seconds.append(time)
            except VideoError:  # which whoever reads on will meet
                pass
        return 1 / float(np.median(np.diff(seconds))) if len(seconds) > 1 else PICTURE_RATE

    @cached_property
    def announced(self) -> int | None:
        """How many frames there should be; None where the container does not say."""
        if self._pictures:
            return len(self._pictures)
        with opened(self.path) as (_, stream):
            return int(stream.frames) or None

    def state(self, file: str | None, values: int) -> State | None:
        """The game's state in each frame, `(n, values)`.

        Args:
            file: labels (`<name>.labels.npz`); None looks for them beside the video or in the
                pictures and does without where there are none, `none` does without.
            values: those of a state vector: as many as `ram_map.STATE_NAMES` has or the game's
                memory bytes. 0 does without.

        Raises:
            ValueError: the file cannot be read, or holds no state of so many values.
        """
        found = self._labels(file) if file != "none" and values else None
        if file not in (None, "none") and not values:
            raise ValueError(f"state {file} is of no use: the model was trained without")
        if found is None:
            return None
        source, labels = found
        if (ram := labels.ram) is None:
            if file is None:
                return None
            raise ValueError(f"{source} holds no ram, which the state is read from")
        if ram.ndim != 2 or ram.dtype != np.uint8:
            raise ValueError(f"{source}: ram is {ram.dtype} {ram.shape}, not uint8 (frames, bytes)")
        if values == len(STATE_NAMES) and ram.shape[1] == SMB_BYTES:
            return mario_state(ram)
        if values == ram.shape[1]:
            return plain_state(ram)
        raise ValueError(
            f"{source} holds {ram.shape[1]} bytes of memory a frame, from which no state of "
            f"{values} values can be made, as the model takes them; give --state none"
        )

    def _labels(self, file: str | None) -> tuple[Path, Labels] | None:
        """Labels and where they are from; None where nothing is asked for and none are there."""
        beside = self.path.with_name(self.path.stem + SUFFIX)
        source = Path(file) if file else beside
        if file and not source.is_file():
            raise FileNotFoundError(f"no labels at {file}; give a .labels.npz, or --state none")
        try:
            if source.is_file():
                return source, from_file(source)
            if self._episode:
                return self.path, from_pictures(self.path)
        except LabelsError as error:
            raise ValueError(f"{source}: {error}; or give --state none") from None
        return self._own_state() if self.is_picture else None

    def _own_state(self) -> tuple[Path, Labels] | None:
        """What stands behind a single picture in the smbdataset's format."""
        data = self.path.read_bytes()
        try:
            if not data.startswith(SIGNATURE):
                return None
            state = read_state(data[picture_end(data) :])
        except VideoError:  # a plain picture
            return None
        ram = np.frombuffer(state[b"RAM"], np.uint8)[None]
        return self.path, Labels(np.frombuffer(state[b"BP1"], np.uint8), ram)


def read_any_picture(path: Path) -> Rgb:
    """A picture in RGB.

    Raises:
        VideoError: if it is none or too large.
    """
    check_file(path)
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise VideoError("it is no picture that can be read")
    check_pixels(picture.shape[1], picture.shape[0])
    return np.asarray(picture, np.uint8)


def read_mask(path: str) -> NDArray[np.bool_]:
    """A mask picture as bool `(h, w)`, True where it is not black.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        return np.asarray(read_any_picture(Path(path)).any(2), np.bool_)
    except VideoError as error:
        raise ValueError(str(error)) from None
