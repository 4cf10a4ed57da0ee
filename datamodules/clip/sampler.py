"""Which clip comes when: an order that the number of ranks and workers does not change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler

Position = dict[str, int]
"""`sample` clips were consumed, the last `offset` of them in pass `epoch` through all `clips`."""


class Draw(NamedTuple):
    """What the loader asks of the dataset."""

    clip: int
    """Index in the dataset."""
    sample: int
    """Number of the sample in the run, counted over all ranks."""
    position: Position
    """Where the run stands after the batch that this sample is in."""


class ClipSampler(DistributedSampler[Any]):
    """Hands each rank its part of a global batch; batch j is samples `[j * B, (j + 1) * B)`.

    `B` is the batch size times the number of ranks and rank r has the r-th of its parts, so one
    rank with batch `2b` sees what two ranks with `b` see. It is a `DistributedSampler` because
    that is the kind which Lightning leaves alone.

    Args:
        dataset: the clips.
        batch_size: clips a batch of one rank.
        ranks: number of ranks.
        rank: which of them this is.
    """

    def __init__(self, dataset: Dataset[Any], batch_size: int, ranks: int, rank: int) -> None:
        super().__init__(dataset, num_replicas=ranks, rank=rank, shuffle=False, drop_last=True)
        self.batch_size, self.clips = batch_size, len(dataset)  # type: ignore[arg-type]

    def share(self, first: int, count: int) -> range:
        """This rank's samples of a global batch that begins with `first` and gives each `count`."""
        return range(first + self.rank * count, first + (self.rank + 1) * count)


class TrainingSampler(ClipSampler):
    """Pass after pass through all clips, each in the order that (seed, pass) gives.

    An iteration has `clips // B` batches and begins where the last consumed batch ended; the few
    clips that fill no batch at the end of a pass are left out of it. An epoch that
    `limit_train_batches` cuts short is gone on with by the next, so every clip has its turn.

    Args:
        dataset: the clips.
        batch_size: clips a batch of one rank.
        ranks: number of ranks.
        rank: which of them this is.
        seed: seed of the order.
        position: where the next iteration shall begin, None for the beginning; asked each time.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        ranks: int,
        rank: int,
        seed: int,
        position: Callable[[], Position | None],
    ) -> None:
        super().__init__(dataset, batch_size, ranks, rank)
        self.seed, self.position = seed, position

    def __len__(self) -> int:
        """Samples of this rank in one iteration."""
        return self.clips // (self.batch_size * self.num_replicas) * self.batch_size

    def __iter__(self) -> Iterator[Draw]:
        """One pass's worth of batches, from the position on."""
        epoch, offset, sample = self._begin(self.position())
        together = self.batch_size * self.num_replicas
        order: NDArray[np.int64] | None = None
        for _ in range(len(self) // self.batch_size):
            if offset + together > self.clips:
                epoch, offset, order = epoch + 1, 0, None
            if order is None:
                order = np.random.default_rng([self.seed, epoch]).permutation(self.clips)
            after = self._position(epoch, offset + together, sample + together)
            for i in self.share(0, self.batch_size):
                yield Draw(int(order[offset + i]), sample + i, after)
            offset, sample = offset + together, sample + together

    def _position(self, epoch: int, offset: int, sample: int) -> Position:
        return {"epoch": epoch, "offset": offset, "sample": sample, "clips": self.clips}

    def _begin(self, position: Position | None) -> tuple[int, int, int]:
        """Pass, place in it and sample number of the next batch."""
        if not position:
            return 0, 0, 0
        if position["clips"] != self.clips:
            rank_zero_warn(
                f"the checkpoint was saved with {position['clips']} clips, there are {self.clips}: "
                "a new pass through all of them begins"
            )
            return position["epoch"] + 1, 0, position["sample"]
        return position["epoch"], position["offset"], position["sample"]


class HeldOutSampler(ClipSampler):
    """All clips once, in an order that is always the same, as many for each rank.

    The order is mixed, so that the first batches alone show every file; it does not depend on a
    seed, so that runs are compared on the same ones. No clip comes twice: where the ranks cannot
    share evenly, fewer than `ranks` clips are left out, and the last batch may be smaller.
    """

    def __len__(self) -> int:
        """Samples of this rank."""
        return self.clips // self.num_replicas

    def __iter__(self) -> Iterator[Draw]:
        """Each clip of this rank's part."""
        order = np.random.default_rng(0).permutation(self.clips)
        for done in range(0, len(self), self.batch_size):
            count = min(self.batch_size, len(self) - done)
            after = done + count
            position = {"epoch": 0, "offset": after, "sample": after, "clips": self.clips}
            for i in self.share(done * self.num_replicas, count):
                yield Draw(int(order[i]), i, position)
