"""What is done inside a run, before it trains, so that it comes to harm or tells where it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch


def tell_steps(path: Path) -> partial[None]:
    """The run writes into a file which step it is in when it is told to end."""
    return partial(_tell_steps, path)


def _tell_steps(path: Path) -> None:
    from callbacks import GracefulStop

    request, step = GracefulStop._request, 0

    def start(self: Any, trainer: Any, *_: Any) -> None:
        nonlocal step
        step = trainer.global_step + 1

    def told(self: Any, *given: Any) -> None:
        path.write_text(str(step))
        request(self, *given)

    GracefulStop.on_train_batch_start = start
    GracefulStop._request = told


def poison(at: int) -> partial[None]:
    """A batch of training, at a step, is no numbers."""
    return partial(_poison, at)


def _poison(at: int) -> None:
    from lightning.pytorch.strategies import Strategy

    from lit_modules.base import LitVideoModel

    train, scale = Strategy.training_step, LitVideoModel.scale
    now = done = False

    def training_step(self: Any, batch: Any, *more: Any) -> Any:
        nonlocal now, done
        now = not done and self.lightning_module.trainer.global_step == at
        done |= now
        if now and "velocity" in batch:
            batch = batch | {"velocity": torch.full_like(batch["velocity"], torch.nan)}
        try:
            return train(self, batch, *more)
        finally:
            now = False

    def scaled(self: Any, video: torch.Tensor) -> torch.Tensor:
        return scale(self, video) * (torch.nan if now else 1.0)

    Strategy.training_step = training_step
    LitVideoModel.scale = scaled


def write_samples(folder: Path) -> partial[None]:
    """Each rank writes into a folder which samples it has learned from, a line a batch."""
    return partial(_write_samples, folder)


def _write_samples(folder: Path) -> None:
    from callbacks import GracefulStop

    folder.mkdir(parents=True, exist_ok=True)

    def start(self: Any, trainer: Any, module: Any, batch: Any, number: int) -> None:
        names = ["sample"] if "sample" in batch else ["source", "frame_index"]
        shown = torch.stack([batch[name].long() for name in names], 1)
        with (folder / f"rank{trainer.global_rank}").open("a") as file:
            file.write(f"{shown.tolist()}\n")

    GracefulStop.on_train_batch_start = start
