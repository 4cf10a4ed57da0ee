"""What datamodules of counted samples share: shuffled passes, exact resume, the same for any rank.

A subclass says in `_datasets` what is trained on and what is held out; its batches carry
`position`, which `clip.sampler` hands to the dataset with each `Draw`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader, Dataset

from datamodules.clip.sampler import ClipSampler, HeldOutSampler, Position, TrainingSampler
from datamodules.clip.split import Split, split_by_fraction, split_by_level


class ShuffledDataModule(L.LightningDataModule, ABC):
    """Samples of a dataset, shuffled anew in each pass; the same for every run.

    Which sample comes when follows from the seed and the data alone, however many workers read and
    however the batch is shared out over ranks. Training goes on after the last batch that was
    consumed, not after the one that was prefetched.

    Args:
        batch_size: samples a step and process.
        seed: seed of their order, at least 0.
        num_workers: processes that read samples beside the training; 0 reads in the training
            process.
        val_fraction: share of what is recorded that is held out, in [0, 1).
        val_levels: levels held out instead of a fraction, such as `1-1`.
    """

    keep_workers = True  # from epoch to epoch; starting them takes a second
    collate: Callable[[list[Any]], Any]
    """Makes a batch of samples; the batch has the `position` of its last one."""
    kind = "samples"
    """What the samples are called in messages."""
    remedy = "give more data"
    """What to do where there are too few of them."""

    def __init__(
        self,
        batch_size: int,
        seed: int,
        num_workers: int,
        val_fraction: float,
        val_levels: list[str] | str | None,
    ) -> None:
        super().__init__()
        self._at_least(
            {"batch_size": (batch_size, 1), "seed": (seed, 0), "num_workers": (num_workers, 0)}
        )
        if not 0 <= val_fraction < 1:
            raise ValueError(
                f"val_fraction {val_fraction} leaves nothing to train on or is below 0; "
                "set data.val_fraction to 0 or more, but less than 1"
            )
        self._batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        self.val_fraction = val_fraction
        self.val_levels = [val_levels] if isinstance(val_levels, str) else val_levels
        self.train_samples: Dataset[Any] | None = None
        self.held_out_samples: Dataset[Any] | None = None
        self._start: Position | None = None
        self._consumed: Position | None = None

    @abstractmethod
    def _datasets(self) -> tuple[Dataset[Any], Dataset[Any]]:
        """What is trained on and what is held out."""

    @staticmethod
    def _at_least(given: dict[str, tuple[int, int]]) -> None:
        """Refuses values, by the name of their option, that are below their bound."""
        for name, (value, bound) in given.items():
            if value < bound:
                raise ValueError(f"{name} {value} is too small; set data.{name} to {bound} or more")

    def _split(self, names: Sequence[str]) -> Split:
        """Shares out recordings of these names; those of one level stay together."""
        if self.val_levels:
            return split_by_level(names, self.val_levels)
        return split_by_fraction(names, self.val_fraction, self.seed)

    @property
    def batch_size(self) -> int:
        """Samples a step and process; once data are open, no more than there are to train on."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        # Lightning's tuner doubles it until memory or samples run out; the second is no error.
        most = value
        if self.train_samples is not None:
            most = max(1, length(self.train_samples) // self._ranks[0])
        if value > most:
            rank_zero_warn(f"batch_size {value} is more than there are {self.kind}; taking {most}")
        self._batch_size = min(value, most)

    @property
    def _ranks(self) -> tuple[int, int]:
        """Number of processes and which of them this is."""
        trainer = self.trainer
        return (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)

    def setup(self, stage: str) -> None:
        """Opens the data and shares them out, so that a wrong folder ends the run at once."""
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        self._consumed = None
        if self.train_samples is None:
            self.train_samples, self.held_out_samples = self._datasets()

    def resume_from(self, position: Any) -> None:
        """Training goes on right after the batch that carried this position.

        Args:
            position: `position` of a batch, or a list of those of all ranks, which are alike.
        """
        self._start = position[0] if isinstance(position, list) else position
        self._consumed = None

    def _position(self) -> Position | None:
        """Where the next iteration begins: after what was consumed, not after what was read."""
        if self.trainer is not None and self.trainer.fit_loop.total_batch_idx < 0:
            self._consumed = None  # what Lightning's tuner tried out is not part of the run
        return self._start if self._consumed is None else self._consumed

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled samples; whole batches only."""
        samples, (ranks, rank) = self._built(self.train_samples), self._ranks
        if length(samples) < self.batch_size * ranks:
            most = length(samples) // ranks
            raise ValueError(
                f"{length(samples)} {self.kind} do not fill a batch of batch_size "
                f"{self.batch_size} x {ranks} process(es); "
                + (f"set data.batch_size to {most} or less, or " if most else "")
                + self.remedy
            )
        sampler = TrainingSampler(
            samples, self.batch_size, ranks, rank, seed=self.seed, position=self._position
        )
        return self._loader(samples, sampler)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Held-out samples, the same in each epoch; nothing where nothing is held out."""
        return self._held_out() if length(self._built(self.held_out_samples)) else []

    def test_dataloader(self) -> DataLoader[Any]:
        """The held-out samples."""
        return self._held_out()

    def predict_dataloader(self) -> DataLoader[Any]:
        """The held-out samples."""
        return self._held_out()

    def _held_out(self) -> DataLoader[Any]:
        samples, (ranks, rank) = self._built(self.held_out_samples), self._ranks
        if length(samples) < ranks:
            raise ValueError(
                f"{length(samples)} {self.kind} are held out, too few for {ranks} process(es); "
                "set data.val_fraction higher or name data.val_levels"
            )
        return self._loader(samples, HeldOutSampler(samples, self.batch_size, ranks, rank))

    def _loader(self, samples: Dataset[Any], sampler: ClipSampler) -> DataLoader[Any]:
        trainer = self.trainer
        return DataLoader(
            samples,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=isinstance(sampler, TrainingSampler),
            num_workers=self.num_workers,
            persistent_workers=self.keep_workers and self.num_workers > 0,
            collate_fn=type(self).collate,
            pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
            # Its own generator: the seed of the workers is not to move torch's global one.
            generator=torch.Generator(),
        )

    def _built(self, samples: Dataset[Any] | None) -> Dataset[Any]:
        if samples is None:
            raise RuntimeError("the data have not been opened; call setup first")
        return samples

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """A training batch counts as consumed."""
        if self.trainer is not None and self.trainer.training:
            self._consumed = batch["position"]
        return batch


def length(samples: Dataset[Any]) -> int:
    """Number of samples; torch does not say that a dataset has one."""
    return len(samples)  # type: ignore[arg-type]
