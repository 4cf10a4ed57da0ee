"""What every packet of a group needs: its shape, how the picture moves, the game's state."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HEAD = struct.Struct("<HHHBBHH")  # shape, quality, packets, values of a state, bytes of moves
LONGEST, LARGEST = 1024, 8192  # frames of a group, pixels of a side
STEPS = 32_767  # of a state's values in [-1, 1], on either side
MOST_VALUES = 4096  # of a state


class Shared(NamedTuple):
    """Of one group."""

    shape: tuple[int, int, int]
    """Frames, height and width."""
    quality: int
    packets: int
    moves: NDArray[np.int8]
    """By how many pixels each frame is moved, `(t, 2)`, t the frames with padding."""
    state: NDArray[np.int16] | None
    """Steps of the state's values, `(t, d)`, see `to_steps`."""

    def pack(self) -> bytes:
        """To bytes."""
        moves = zlib.compress(self.moves.T.tobytes(), 9)
        state = b""
        if self.state is not None:  # by change: most values stay as they are
            changes = np.diff(self.state, axis=0, prepend=np.zeros_like(self.state[:1]))
            state = zlib.compress(changes.T.astype("<i2").tobytes(), 9)
        values = 0 if self.state is None else self.state.shape[1]
        head = HEAD.pack(*self.shape, self.quality, self.packets, values, len(moves))
        return head + moves + state


def unpack(data: bytes, length: int) -> Shared:
    """The inverse of `Shared.pack`.

    Args:
        data: the bytes.
        length: frames that a clip of the model has, to which a group is padded.

    Raises:
        ValueError: they are of no group.
    """
    if len(data) < HEAD.size:
        raise ValueError(f"a group's head has {len(data)} bytes, {HEAD.size} at least are needed")
    t, h, w, quality, packets, values, size = HEAD.unpack_from(data)
    if not (1 <= t <= LONGEST and 1 <= h <= LARGEST and 1 <= w <= LARGEST and quality and packets):
        raise ValueError(f"a group of {t} frames of {h}x{w} by {quality} codebooks cannot be")
    if values > MOST_VALUES:
        raise ValueError(f"a state of {values} values is more than {MOST_VALUES}")
    padded = -(-t // length) * length
    body = data[HEAD.size :]
    moves = np.frombuffer(inflate(body[:size], 2 * padded), np.int8).reshape(2, padded).T
    state = None
    if values:
        changes = np.frombuffer(inflate(body[size:], 2 * t * values), "<i2").reshape(values, t).T
        state = changes.cumsum(0, dtype=np.int16)
    return Shared((t, h, w), quality, packets, moves, state)


def inflate(data: bytes, size: int) -> bytes:
    """Exactly so many bytes out of compressed ones; no more are ever made.

    Raises:
        ValueError: there are fewer or more, or they cannot be read.
    """
    reader = zlib.decompressobj()
    try:
        out = reader.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"a group's head cannot be read: {error}") from error
    if len(out) != size:
        raise ValueError(f"a group's head holds {len(out)} bytes where {size} belong")
    return out


def to_steps(state: NDArray[np.float32]) -> NDArray[np.int16]:
    """Values in [-1, 1] to whole steps."""
    return np.rint(np.clip(state, -1, 1) * STEPS).astype(np.int16)


def from_steps(steps: NDArray[np.int16]) -> NDArray[np.float32]:
    """The inverse of `to_steps`, to a step."""
    return steps.astype(np.float32) / np.float32(STEPS)
