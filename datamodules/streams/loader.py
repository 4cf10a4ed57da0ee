"""Chunks from worker processes become batches of one frame of each stream."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.streams.chunks import PREFETCH, StreamError, StreamSet
from datamodules.streams.packing import Unpacked, unpack

log = logging.getLogger(__name__)


class StreamLoader:
    """Endless batches of a `StreamSet`; each iteration goes on at the position it is given.

    A worker process that dies (out of memory, `kill`) costs nothing but time: all workers start
    again at the last batch that was handed out, and its frames follow exactly.

    Args:
        make: builds the streams at a position, or at their beginning for None.
        position: where the next iteration shall begin; asked once an iteration.
        num_workers: worker processes; at most one a stream is started, 0 plays in this process.
        max_restarts: how often worker processes may die in one iteration.
    """

    def __init__(
        self,
        make: Callable[[Any], StreamSet],
        position: Callable[[], Any],
        num_workers: int = 0,
        max_restarts: int = 5,
    ) -> None:
        self.make, self.position = make, position
        self.num_workers, self.max_restarts = num_workers, max_restarts
        self._said: set[str] = set()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Raises `StreamError` if a stream cannot go on."""
        position, deaths = self.position(), 0
        while True:
            try:
                for batch in self._batches(position):
                    position = batch["position"]
                    yield batch
            except (RuntimeError, OSError, EOFError) as error:
                if not (self.num_workers and is_death(error)):
                    raise
                deaths += 1
                if deaths > self.max_restarts:
                    raise StreamError(
                        f"worker processes died {deaths} times ({first_line(error)}); is memory or "
                        "/dev/shm short? lower data.chunk, data.num_workers or data.streams"
                    ) from error
                self._say(
                    f"a worker process died ({first_line(error)}); workers start again "
                    f"at the last frame (restart {deaths} of {self.max_restarts})"
                )

    def _batches(self, position: Any) -> Iterator[dict[str, Any]]:
        streams = self.make(position)
        workers = min(self.num_workers, len(streams.indices))
        if workers < self.num_workers:
            self._say(f"{len(streams.indices)} stream(s) keep {workers} worker(s) busy, no more")
        loader = DataLoader(
            streams,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=PREFETCH if workers else None,
            # Its own generator: the seed of the workers is not to move torch's global one.
            generator=torch.Generator(),
        )
        items = quiet_iterator(loader)
        rings: list[dict[int, Tensor]] = [{} for _ in range(max(workers, 1))]
        try:
            while True:
                # The loader takes the workers in turn, so a round is one item of each.
                shares = [unpack(good(next(items)), ring) for ring in rings]
                for note in (note for share in shares for note in share.notes):
                    self._say(note)
                yield from unroll(shares, streams.indices)
        finally:
            del items  # ends the workers now; an error's traceback would keep them

    def _say(self, message: str) -> None:
        """Warns once: frames that are played again after a restart tell the same again."""
        if message not in self._said:
            self._said.add(message)
            log.warning(message)


def good(item: dict[str, Any]) -> dict[str, Any]:
    """The item, unless it tells that a stream cannot go on."""
    if "error" in item:
        raise StreamError(item["error"])
    return item


def unroll(shares: list[Unpacked], indices: list[int]) -> Iterator[dict[str, Any]]:
    """One batch a step; all of them share the snapshots that the chunk began with."""
    snapshots = (snapshot for share in shares for snapshot in share.snapshots)
    streams = dict(zip(indices, snapshots, strict=True))
    palette = torch.cat([share.palettes for share in shares])
    records = torch.cat([share.records for share in shares]).permute(2, 1, 0)  # (field, t, b)
    action, start, source, index = records[:4].long().contiguous().unbind()
    rows = zip(
        frames([runs for share in shares for runs in share.pixels]),
        action.unbind(),
        start.bool().unbind(),
        source.unbind(),
        index.unbind(),
        records[4].contiguous().unbind(),
        strict=True,
    )
    for step, row in enumerate(rows, start=1):
        yield {
            "frame": row[0],
            "palette": palette,
            "action": row[1],
            "episode_start": row[2],
            "source": row[3],
            "frame_index": row[4],
            "seconds": row[5],
            "position": {"streams": streams, "offset": step},
        }


def frames(streams: list[list[Tensor]]) -> Iterator[Tensor | list[Tensor]]:
    """One native frame of each stream a step, stacked where sizes agree.

    Always a copy, since the worker will write to the memory of these views again.
    """
    alike = len({run.shape[1:] for runs in streams for run in runs}) == 1
    for row in zip(*([frame for run in runs for frame in run] for runs in streams), strict=True):
        yield torch.stack(row) if alike else [frame.clone() for frame in row]


def quiet_iterator(loader: DataLoader[Any]) -> Iterator[Any]:
    """An iterator whose dead worker is noticed when its next item is due, not at any moment.

    Torch installs a SIGCHLD handler that raises in whatever line the main thread executes, say in
    the middle of a training step. Without it the iterator itself finds out within five seconds.
    """
    if threading.current_thread() is not threading.main_thread() or not loader.num_workers:
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    if before is None or getattr(before, "__module__", "").startswith("torch."):
        before = signal.SIG_DFL
    items = iter(loader)
    signal.signal(signal.SIGCHLD, before)
    return items


def is_death(error: Exception) -> bool:
    """Whether a worker died, rather than raised (torch then tells where it `Caught` the error)."""
    if "Caught " in str(error) or isinstance(error, StreamError):
        return False
    return not isinstance(error, RuntimeError) or "exited unexpectedly" in str(error)


def first_line(error: Exception) -> str:
    """The error in one line."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__
