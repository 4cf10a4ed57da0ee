"""Two ranks that hold half of each weight learn what two ranks learn that hold all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from laboratory import Laboratory
from processes import Run, command, ranks

from lit_modules.checkpoints import load_module, read_checkpoint

TWO = ("--trainer.devices", "2")
WHOLE = (*TWO, "--trainer.strategy", "ddp")
SHARDED = (*TWO, "-c", "configs/fsdp.yaml", "--trainer.strategy.data_parallel_size", "2")


def fit(laboratory: Laboratory, folder: Path, steps: int, *more: str) -> Path:
    """Trains with two ranks; the last checkpoint."""
    learn = ("--data.data_dir", str(laboratory.data("mae")), "--trainer.max_steps", str(steps))
    learn += ("--trainer.max_epochs", "-1", "--model.optimizer.lr", "1.0e-3")
    arguments = command("mae", "large", folder, *learn, *more)
    runs = [
        Run(arguments, folder / f"log{rank}.txt", environment=environment)
        for rank, environment in enumerate(ranks(2))
    ]
    for run in runs:
        run.finish()
    (*_, newest) = sorted(folder.rglob("last.ckpt"))
    return newest


def test_sharded_weights_learn_as_whole_ones_and_are_saved_whole(
    laboratory: Laboratory, tried: Callable[..., None], tmp_path: Path
) -> None:
    whole = read_checkpoint(fit(laboratory, tmp_path / "whole", 5, *WHOLE))
    end = fit(laboratory, tmp_path / "sharded", 5, *SHARDED)
    sharded = read_checkpoint(end)
    # Beside averaged weights a checkpoint holds those that training goes on from.
    learned = whole.get("current_model_state", whole["state_dict"])
    for key, weight in learned.items():
        torch.testing.assert_close(sharded["state_dict"][key], weight, rtol=1e-3, atol=1e-5)
    assert load_module(end).net.encoder.norm.weight.ndim == 1
    resumed = fit(laboratory, tmp_path / "sharded", 7, *SHARDED, "--ckpt_path", "last")
    assert read_checkpoint(resumed)["global_step"] == 7
    tried("weights shared out over two ranks (FSDP2): as whole ones, saved whole, resumed")
