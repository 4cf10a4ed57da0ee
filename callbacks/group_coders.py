"""How groups of frames become packets: without loss, or by a trained model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lit_modules import LitVideoCodec
from lit_modules.codec import Group, Header
from lit_modules.codec.container.header import Mode
from lit_modules.codec.learned import LearnedCoder
from lit_modules.codec.lossless import decode_group, encode_group, kind_of
from lit_modules.mae.cubes import FRAMES

Frames = NDArray[np.uint8]
State = NDArray[np.float32]


class Coded(NamedTuple):
    """A group as it is stored."""

    mode: Mode
    shared: bytes
    packets: list[bytes]
    made: Frames
    """The frames as they will be decoded."""


class Shown(NamedTuple):
    """A group as it is decoded."""

    frames: Frames
    made_up: NDArray[np.bool_]
    """Which cubes of it were lost and filled in, `(T, rows, columns)`; none if it is whole."""
    cube: tuple[int, int]
    """Frames and pixels along a cube's sides."""


class GroupCoder(Protocol):
    """Both ways."""

    about: dict[str, Any]
    """What the header of a file says of it."""
    parallel: bool
    """Whether several groups may be coded at a time."""

    def encode(self, frames: Frames, state: State | None) -> Coded:
        """Codes frames `(t, h, w, 3)`."""

    def decode(self, group: Group, header: Header, before: Frames | None) -> Shown | None:
        """Decodes a group, as far as it is there, behind a frame `(h, w, 3)` that was shown.

        None if nothing can be shown of it.
        """


class LosslessCoder:
    """Frames bit for bit; what is coded is decoded again, to be sure."""

    parallel = True

    def __init__(self) -> None:
        self.about: dict[str, Any] = {"quality": "lossless"}

    def encode(self, frames: Frames, state: State | None) -> Coded:
        """Codes frames `(t, h, w, 3)`; the state is of no use here."""
        shared, packets = encode_group(frames)
        made = decode_group(packets, *frames.shape[:3])
        if made is None or not np.array_equal(made, frames):
            raise RuntimeError(
                f"frames {frames.shape} do not come back as they were; please report this"
            )
        return Coded(kind_of(packets[0]), shared, packets, made)

    def decode(self, group: Group, header: Header, before: Frames | None) -> Shown | None:
        """Decodes a group, which has one packet: it is there or it is not."""
        frames = decode_group(group.packets, len(group.seconds), header.height, header.width)
        return None if frames is None else Shown(frames, np.zeros((1, 1, 1), bool), (1, 1))


class ModelCoder:
    """Frames by a trained model, which is needed again to decode them.

    Args:
        module: the model.
        path: its checkpoint, by whose digest a file tells which model it needs.
        quality: codebooks at most, 1 to those of the model.
    """

    parallel = False  # one thread for each, or sums and so bytes would differ

    def __init__(self, module: LitVideoCodec, path: str, quality: int) -> None:
        self.coder = LearnedCoder(module, quality)
        self.about: dict[str, Any] = {"quality": quality, "model": digest(path)}

    def encode(self, frames: Frames, state: State | None) -> Coded:
        """Codes frames `(t, h, w, 3)` and the state `(t, d)` beside them."""
        shared, packets, made = self.coder.encode(frames, state)
        return Coded("learned", shared, packets, made)

    def decode(self, group: Group, header: Header, before: Frames | None) -> Shown | None:
        """Decodes a group; the model and the frame before fill in the cubes of lost packets."""
        if group.shared is None or not any(group.packets):
            return None
        frames, lost = self.coder.decode_group(group.shared, group.packets, before)
        return Shown(frames, lost, (FRAMES, self.coder.side))


def digest(path: str) -> str:
    """Of a checkpoint: 16 digits of its SHA-256."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
