"""Streams of frames, played in chunks and handed over as one tensor.

One frame a message costs the main process 300 µs; 64 frames of palette indices in one message cost
a few µs each. So a worker plays a chunk of every stream it owns and packs all of them into one
tensor, which `unpack` views on the other side. Tensors in shared memory are written again and
again in turn (a fresh one costs a page fault every 4 KiB on either side: 25 µs a frame) and cross
the process boundary once; later messages only name them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import cycle, groupby
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

PREFETCH = 2
SLOTS = PREFETCH + 1  # those that are being written or wait, and the one that is being read

Snapshot = dict[str, Any]
"""Where a stream stands, in plain values; an array under `state` is its only bulk."""


SLACK = 4096  # states differ by a few bytes: such a chunk still fits in the tensor before


class StreamError(OSError):
    """What a stream reads from fails for good; the message is one line for the user."""


class Frame(NamedTuple):
    """One native frame and where it comes from."""

    pixels: NDArray[np.uint8]
    """Palette indices `(h, w)` or RGB `(h, w, 3)`."""
    action: int
    episode_start: bool
    source: int
    frame_index: int
    seconds: float


class Source(ABC):
    """One endless stream of frames that can be left and taken up again."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @property
    def palette(self) -> NDArray[np.int32] | None:
        """RGBX bytes of each palette index as `(256,)` integers; None where frames are RGB."""
        return None

    @property
    def uniform(self) -> int | None:
        """How many of the next frames share one palette, at least 1; None for all."""
        return None

    @abstractmethod
    def next(self, remember: bool = False) -> Frame:
        """The next frame; `remember` announces that `snapshot` is asked for right after it."""

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """The state after the last frame, from which the stream goes on bit for bit."""

    def close(self) -> None:
        """Frees what the stream holds open."""
        return


class StreamSet(IterableDataset[dict[str, Any]], ABC):
    """Several streams played side by side; an item is one chunk of each.

    Every worker plays a contiguous share of the streams, so that concatenating the items of all
    workers gives the streams in order. What a stream shows does not depend on the share.

    Args:
        indices: global index of each stream.
        chunk: frames an item, at least 1; fewer where games switch.
        position: where to go on (`position` of the last batch consumed), or None to begin.
    """

    def __init__(self, indices: Sequence[int], chunk: int = 64, position: Any = None) -> None:
        self.indices, self.chunk, self.position = list(indices), chunk, position

    @abstractmethod
    def open(self, index: int, snapshot: Snapshot | None) -> Source:
        """Stream `index`, from its beginning or from a snapshot."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Endless packed chunks; a stream that cannot go on ends them by an `error` item."""
        worker = get_worker_info()
        rank, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        count = len(self.indices)
        mine = self.indices[count * rank // workers : count * (rank + 1) // workers]
        sources: list[Source] = []
        try:
            for index in mine:
                sources.append(self._take_up(index))
            ring: list[Tensor | None] = [None] * (SLOTS if worker else 0)
            for slot in cycle(range(SLOTS)):
                # All streams switch games at the same step, whichever worker plays them.
                steps = min([self.chunk, *(s.uniform for s in sources if s.uniform)])
                yield pack([play(source, steps) for source in sources], ring, slot)
        except StreamError as error:
            yield {"error": str(error)}
        finally:
            for source in sources:
                source.close()

    def _take_up(self, index: int) -> Source:
        """Opens a stream and replays what was consumed since the snapshot."""
        if self.position is None:
            return self.open(index, None)
        where = find(self.position, index)
        source = self.open(index, where["snapshot"])
        for left in reversed(range(where["offset"])):
            source.next(remember=left == 0)
        return source


class Chunk(NamedTuple):
    """Frames of one stream and the snapshot that they follow."""

    snapshot: Snapshot
    frames: list[Frame]
    palette: NDArray[np.int32] | None
    notes: list[str]


def play(source: Source, steps: int) -> Chunk:
    """The next frames of a stream."""
    snapshot = source.snapshot()
    frames = [source.next(remember=left == 0) for left in reversed(range(steps))]
    notes, source.notes = source.notes, []
    return Chunk(snapshot, frames, source.palette, notes)


class Unpacked(NamedTuple):
    """An item again: `t` steps of `n` streams; pixels are views of the item's one tensor."""

    pixels: list[list[Tensor]]
    """Of each stream: runs of frames of one size, `(count, h, w)` or `(count, h, w, 3)`."""
    records: Tensor
    """`(n, t, 5)` float64: action, episode start, source, frame index, seconds."""
    palettes: Tensor
    """`(n, 256)` int32."""
    snapshots: list[Snapshot]
    notes: list[str]


def pack(chunks: list[Chunk], ring: list[Tensor | None], slot: int = 0) -> dict[str, Any]:
    """Lays all arrays of the chunks end to end in one tensor.

    Args:
        chunks: one of each stream, all of the same length.
        ring: this worker's tensors in shared memory, filled as needed; empty for a fresh tensor.
        slot: which tensor of the ring to overwrite.
    """
    runs = [
        [(len(list(run)), shape) for shape, run in groupby(f.pixels.shape for f in chunk.frames)]
        for chunk in chunks
    ]
    states = [len(chunk.snapshot.get("state", ())) for chunk in chunks]
    layout = Layout(len(chunks[0].frames), runs, states)
    nbytes = layout.nbytes()
    blob = ring[slot] if ring else None
    known = blob is not None and len(blob) >= nbytes
    if blob is None or not known:
        blob = torch.empty(nbytes + SLACK if ring else nbytes, dtype=torch.uint8)
        if ring:
            ring[slot] = blob.share_memory_()  # type: ignore[no-untyped-call]
    views = (view.numpy() for view in layout.carve(blob))
    records, palettes = next(views), next(views)
    for row, chunk in enumerate(chunks):
        records[row] = [frame[1:] for frame in chunk.frames]
        palettes[row] = 0 if chunk.palette is None else chunk.palette
        frames = iter(chunk.frames)
        for _ in runs[row]:
            for pixels in next(views):
                pixels[:] = next(frames).pixels
        next(views)[:] = chunk.snapshot.get("state", ())
    return {
        "slot": slot,
        "blob": None if known else blob,
        "layout": layout,
        "snapshots": [drop_state(chunk.snapshot) for chunk in chunks],
        "notes": [note for chunk in chunks for note in chunk.notes],
    }


def unpack(item: dict[str, Any], ring: dict[int, Tensor]) -> Unpacked:
    """Inverse of `pack`; the frames are views, valid until the slot is written again.

    Args:
        item: what `pack` made.
        ring: the worker's tensors met so far by slot; kept up to date here.

    Raises:
        StreamError: if the item tells that a stream cannot go on.
    """
    if "error" in item:
        raise StreamError(item["error"])
    layout: Layout = item["layout"]
    if item["blob"] is not None:
        ring[item["slot"]] = item["blob"]
    views = layout.carve(ring[item["slot"]])
    records, palettes = next(views), next(views)
    pixels: list[list[Tensor]] = []
    snapshots: list[Snapshot] = []
    for runs, snapshot in zip(layout.runs, item["snapshots"], strict=True):
        pixels.append([next(views) for _ in runs])
        state = next(views)
        # A clone: a checkpoint must not keep (or store) the whole chunk for it.
        snapshots.append({**snapshot, "state": state.clone()} if len(state) else snapshot)
    return Unpacked(pixels, records, palettes, snapshots, item["notes"])


class Layout(NamedTuple):
    """What lies where in the tensor of an item."""

    steps: int
    runs: list[list[tuple[int, tuple[int, ...]]]]
    """Of each stream: how many frames of which shape follow one another."""
    states: list[int]
    """Of each stream: bytes of its snapshot's state."""

    def parts(self) -> Iterator[tuple[torch.dtype, tuple[int, ...]]]:
        """Type and shape of each array; the widest types come first, so that all are aligned."""
        streams = len(self.runs)
        yield torch.float64, (streams, self.steps, len(Frame._fields) - 1)
        yield torch.int32, (streams, 256)
        for runs, state in zip(self.runs, self.states, strict=True):
            for count, shape in runs:
                yield torch.uint8, (count, *shape)
            yield torch.uint8, (state,)

    def nbytes(self) -> int:
        """Size of the tensor."""
        return sum(dtype.itemsize * prod(shape) for dtype, shape in self.parts())

    def carve(self, blob: Tensor) -> Iterator[Tensor]:
        """Views of the arrays in order."""
        start = 0
        for dtype, shape in self.parts():
            end = start + dtype.itemsize * prod(shape)
            yield blob[start:end].view(dtype).view(shape)
            start = end


def drop_state(snapshot: Snapshot) -> Snapshot:
    """The snapshot without its bulk."""
    return {name: value for name, value in snapshot.items() if name != "state"}


def find(position: Any, index: int) -> dict[str, Any]:
    """Snapshot and offset of the stream with this global index.

    Args:
        position: the position of one rank, or a list of those of several ranks.
        index: global index of the stream.

    Raises:
        StreamError: if the position does not tell of this stream.
    """
    ranks = position if isinstance(position, list | tuple) else [position]
    for rank in ranks:
        if index in rank["streams"]:
            return {"snapshot": rank["streams"][index], "offset": rank["offset"]}
    known = sorted(known for rank in ranks for known in rank["streams"])
    raise StreamError(
        f"the position tells of streams {known}, not of stream {index}; "
        "resume with the same data.streams and number of devices"
    )
