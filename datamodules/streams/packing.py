"""Chunks of several streams as one tensor and a few plain values, and back without copying.

Tensors in shared memory are written again and again in turn (a fresh one costs a page fault every
4 KiB on either side: 25 µs a frame) and cross the process boundary once; later messages only name
them by their slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SLACK = 1 << 15  # bytes a stream for what comes along with its frames

DTYPES = {"uint8": torch.uint8, "int32": torch.int32, "float64": torch.float64}

Part = tuple[torch.dtype, tuple[int, ...]]
"""Type and shape of an array in the tensor."""


class Unpacked(NamedTuple):
    """A chunk of `n` streams, `t` steps; pixels are views of the one tensor."""

    pixels: list[list[Tensor]]
    """Of each stream: runs of frames of one size, `(count, h, w)` or `(count, h, w, 3)`."""
    records: Tensor
    """`(n, t, 5)` float64: action, episode start, source, frame index, seconds."""
    palettes: Tensor
    """`(n, 256)` int32."""
    snapshots: list[dict[str, Any]]
    notes: list[str]


class Packer:
    """Lays frames end to end as they are played.

    Args:
        blob: tensor to overwrite, or None to begin with a new one.
        shared: whether a new one is to lie in shared memory.
    """

    def __init__(self, blob: Tensor | None, shared: bool) -> None:
        self.blob, self._given, self._shared = blob, blob, shared
        self._bytes = np.empty(0, np.uint8) if blob is None else blob.numpy()
        self._end = self._run = 0
        self._shape: tuple[int, ...] | None = None
        self._parts: list[Part] = []
        self._streams: list[dict[str, Any]] = []
        self._records: list[list[tuple[Any, ...]]] = []
        self._palettes: list[NDArray[np.int32]] = []

    def begin(self, snapshot: dict[str, Any]) -> None:
        """The next frames are of another stream, which stands at this snapshot."""
        state = np.asarray(snapshot.get("state", ()), np.uint8)
        plain = {name: value for name, value in snapshot.items() if name != "state"}
        self._streams.append({"snapshot": plain, "runs": 0})
        self._records.append([])
        self._append(state)

    def add(self, pixels: NDArray[np.uint8], record: tuple[Any, ...]) -> None:
        """One frame, copied at once, and its five numbers (see `Unpacked.records`)."""
        if pixels.shape != self._shape:
            self._close_run()
            self._shape, self._run = pixels.shape, self._end
        self._put(pixels)
        self._records[-1].append(record)

    def _close_run(self) -> None:
        if self._shape is not None:
            count = (self._end - self._run) // prod(self._shape)
            self._parts.append((torch.uint8, (count, *self._shape)))
            self._streams[-1]["runs"] += 1
            self._shape = None

    def end(self, palette: NDArray[np.int32] | None) -> None:
        """The stream has no more frames in this chunk."""
        self._close_run()
        self._palettes.append(np.zeros(256, np.int32) if palette is None else palette)

    def reserve(self, nbytes: int) -> None:
        """Makes room for that many bytes, keeping what is there."""
        if nbytes > len(self._bytes):
            old, blob = self._bytes[: self._end], torch.empty(nbytes, dtype=torch.uint8)
            # Sharing first: it copies.
            self.blob = blob.share_memory_() if self._shared else blob  # type: ignore[no-untyped-call]
            self._bytes = self.blob.numpy()
            self._bytes[: self._end] = old

    def message(self, slot: int, notes: list[str]) -> dict[str, Any]:
        """What `unpack` takes; the tensor goes along only if it is a new one."""
        self._append(np.array(self._records, np.float64))
        self._append(np.stack(self._palettes))
        blob = None if self.blob is self._given else self.blob
        return {
            "slot": slot,
            "blob": blob,
            "parts": self._parts,
            "streams": self._streams,
            "notes": notes,
        }

    def _append(self, array: NDArray[Any]) -> None:
        dtype = DTYPES[array.dtype.name]
        self._end = aligned(self._end, dtype)
        self._parts.append((dtype, array.shape))
        self._put(array)

    def _put(self, array: NDArray[Any]) -> None:
        end = self._end + array.nbytes
        if end > len(self._bytes):
            self.reserve(end + end // 4)
        self._bytes[self._end : end] = array.ravel().view(np.uint8)
        self._end = end


def unpack(message: dict[str, Any], ring: dict[int, Tensor]) -> Unpacked:
    """Inverse of `Packer`; the frames are views, valid until the slot is written again.

    Args:
        message: what `Packer.message` made.
        ring: the tensors met so far by slot; kept up to date here.
    """
    if message["blob"] is not None:
        ring[message["slot"]] = message["blob"]
    views = carve(ring[message["slot"]], message["parts"])
    pixels, snapshots = [], []
    for stream in message["streams"]:
        # A clone: a checkpoint must not keep (or store) the whole chunk for it.
        state = next(views).clone()
        snapshots.append(stream["snapshot"] | ({"state": state} if len(state) else {}))
        pixels.append([next(views) for _ in range(stream["runs"])])
    records, palettes = views
    return Unpacked(pixels, records.clone(), palettes.clone(), snapshots, message["notes"])


def carve(blob: Tensor, parts: list[Part]) -> Iterator[Tensor]:
    """Views of the arrays in order."""
    start = 0
    for dtype, shape in parts:
        start = aligned(start, dtype)
        end = start + dtype.itemsize * prod(shape)
        yield blob[start:end].view(dtype).view(shape)
        start = end


def aligned(place: int, dtype: torch.dtype) -> int:
    """The next place where a value of this type may begin."""
    return -(-place // dtype.itemsize) * dtype.itemsize
