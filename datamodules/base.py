"""What all streams of frames share: endless, sharded over ranks, resumable to the frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import cv2
import lightning as L
import torch

from datamodules.pixels import to_rgb
from datamodules.streams.chunks import StreamSet
from datamodules.streams.loader import StreamLoader

HELD_OUT = 1_000_003
"""Added to the seed for validation, test and prediction: play that training never sees."""


class IterableDataModule(L.LightningDataModule, ABC):
    """One frame of each stream a batch, for ever.

    A batch holds `frame` uint8 `(b, 3, h, w)`, `action` int64 `(b,)`, `episode_start` bool `(b,)`,
    `source`, `frame_index` int64 `(b,)`, `seconds` float64 `(b,)` and `position`: where the streams
    stand after this batch. Stream i of rank r has the global index `r * streams + i`, and what it
    shows follows from (seed, global index) alone.

    Leaving an epoch and beginning the next goes on after the last batch that was transferred to
    the device, not after the one that was prefetched.

    Args:
        size: height and width of the frames.
        streams: parallel streams a process, which is the batch size.
        num_workers: worker processes that play the streams; 0 plays them in the training process.
        seed: seed of everything that is random in the streams, at least 0.
        chunk: frames of a stream that a worker hands over at once.
        max_restarts: how often an environment or the worker processes may die.
    """

    def __init__(
        self,
        size: tuple[int, int] = (224, 224),
        streams: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        chunk: int = 64,
        max_restarts: int = 5,
    ) -> None:
        super().__init__()
        least = {"streams": 1, "num_workers": 0, "seed": 0, "chunk": 1, "max_restarts": 0}
        given = (streams, num_workers, seed, chunk, max_restarts)
        for (name, bound), value in zip(least.items(), given, strict=True):
            if value < bound:
                raise ValueError(f"{name} {value} is too small; set data.{name} to {bound} or more")
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size {size} is no height and width; set data.size to two integers")
        self.size = (size[0], size[1])
        self.streams, self.num_workers, self.seed = streams, num_workers, seed
        self.chunk, self.max_restarts = chunk, max_restarts
        self._start: Any = None
        self._consumed: Any = None

    @abstractmethod
    def stream_set(self, indices: Sequence[int], seed: int, position: Any) -> StreamSet:
        """The streams with these global indices, at a position or, for None, at the beginning."""

    @property
    @abstractmethod
    def game_names(self) -> list[str]:
        """What each stream of this rank shows first."""

    @property
    def indices(self) -> list[int]:
        """Global indices of this rank's streams."""
        rank = self.trainer.global_rank if self.trainer is not None else 0
        return [rank * self.streams + i for i in range(self.streams)]

    def setup(self, stage: str) -> None:
        """Starts afresh; keeps OpenCV to one thread, as a frame is too small to share out."""
        cv2.setNumThreads(1)
        self._consumed = None

    def resume_from(self, position: Any) -> None:
        """Training goes on right after the batch that carried this position.

        Args:
            position: `position` of a batch, or a list of those of all ranks.
        """
        self._start, self._consumed = position, None

    def train_dataloader(self) -> StreamLoader:
        """The streams themselves."""
        # Asked at each iteration, that is when a run resumes and at the start of each epoch.
        return self._loader(
            self.seed, lambda: self._start if self._consumed is None else self._consumed
        )

    def val_dataloader(self) -> StreamLoader:
        """Other streams of the same kind, from their beginning each time."""
        return self._held_out("val")

    def test_dataloader(self) -> StreamLoader:
        """As `val_dataloader`."""
        return self._held_out("test")

    def predict_dataloader(self) -> StreamLoader:
        """As `val_dataloader`."""
        return self._held_out("predict")

    def _held_out(self, stage: str) -> StreamLoader:
        limit = getattr(self.trainer, f"limit_{stage}_batches", 1)
        if isinstance(limit, float) and limit > 0:
            raise ValueError(
                f"limit_{stage}_batches {limit} of an endless stream has no end; "
                f"set trainer.limit_{stage}_batches to a number of frames"
            )
        return self._loader(self.seed + HELD_OUT, lambda: None)

    def _loader(self, seed: int, position: Any) -> StreamLoader:
        def make(position: Any) -> StreamSet:
            return self.stream_set(self.indices, seed, position)

        return StreamLoader(make, position, self.num_workers, self.max_restarts)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Moves palette bytes; the position stays on the host."""
        batch = dict(batch)
        position = batch.pop("position")
        batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return {**batch, "position": position}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Looks up colours and resizes on the device; a training batch counts as consumed."""
        batch = dict(batch)
        batch["frame"] = to_rgb(batch["frame"], batch.pop("palette"), self.size)
        if self.trainer is not None and self.trainer.training:
            self._consumed = batch["position"]
        return batch
