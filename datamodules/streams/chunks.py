"""Streams of frames, played side by side in chunks.

One frame a message costs the main process 300 µs; 64 frames of palette indices in one message cost
a few µs each. So a worker plays a chunk of every stream it owns and hands all of it over at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from datamodules.streams.packing import SLACK, Packer

PREFETCH = 2
SLOTS = PREFETCH + 1  # those that are being written or wait, and the one that is being read

Snapshot = dict[str, Any]
"""Where a stream stands, in plain values; an array under `state` is its only bulk."""


class StreamError(OSError):
    """What a stream reads from fails for good; the message is one line for the user."""


class Frame(NamedTuple):
    """One native frame and where it comes from."""

    pixels: NDArray[np.uint8]
    """Palette indices `(h, w)` or RGB `(h, w, 3)`, contiguous; valid until the next frame."""
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
            # Without a worker a chunk is used up before the next one is played.
            ring: list[Tensor | None] = [None] * (SLOTS if worker else 1)
            for slot in cycle(range(len(ring))):
                packer = Packer(ring[slot], shared=worker is not None)
                yield play(sources, self.chunk, packer).message(slot, take_notes(sources))
                ring[slot] = packer.blob
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


def play(sources: list[Source], chunk: int, packer: Packer) -> Packer:
    """Plays the next frames of each stream; fewer than a chunk where games are about to switch."""
    # All streams switch at the same step, whichever worker plays them.
    steps = min([chunk, *(source.uniform for source in sources if source.uniform)])
    for source in sources:
        packer.begin(source.snapshot())
        for left in reversed(range(steps)):
            pixels, *record = source.next(remember=left == 0)
            if packer.blob is None:
                packer.reserve(len(sources) * (steps * pixels.nbytes + SLACK))
            packer.add(pixels, tuple(record))
        packer.end(source.palette)
    return packer


def take_notes(sources: list[Source]) -> list[str]:
    """What the streams have to tell the user, once."""
    notes = [note for source in sources for note in source.notes]
    for source in sources:
        source.notes = []
    return notes


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
