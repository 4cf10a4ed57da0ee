"""A small tokenizer, a few windows and a trainer; as a script: FOLDER DEVICES fits on processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from made_motion import paddles
from torch.utils.data import DataLoader, Dataset, Subset

from callbacks import CodebookUsage, StreamPosition
from lit_modules import LitMotionTokenizer

SMALL = {"points": 25, "hidden_dim": 16, "depth": 1, "heads": 2, "code_length": 8}


class Windows(Dataset[dict[str, Any]]):
    def __init__(self, windows: int) -> None:
        self.velocity, _ = paddles(windows, side=5)

    def __len__(self) -> int:
        return len(self.velocity)

    def __getitem__(self, i: int) -> dict[str, Any]:
        velocity = self.velocity[i]
        return {"velocity": velocity, "visible": torch.ones(velocity.shape[:2], dtype=torch.bool)}


class WindowData(L.LightningDataModule):
    """Twelve windows in order, four a batch of all ranks, which take them in turns."""

    def train_dataloader(self) -> DataLoader[Any]:
        ranks = self.trainer.world_size
        own = Subset(Windows(12), range(self.trainer.global_rank, 12, ranks))
        return DataLoader(own, batch_size=4 // ranks)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


def trainer(folder: Path, epochs: int, *callbacks: L.Callback, **more: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # Lightning's would shuffle what one process takes in order
        callbacks=[StreamPosition(), CodebookUsage(), *callbacks],
        **more,
    )


def make(**more: Any) -> LitMotionTokenizer:
    torch.manual_seed(0)
    return LitMotionTokenizer(**{**SMALL, **more})


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, devices = Path(sys.argv[1]), int(sys.argv[2])
    module = make(optimizer=lambda params: torch.optim.SGD(params, lr=0.1))
    run = trainer(folder, 1, devices=devices, strategy="ddp" if devices > 1 else "auto")
    run.fit(module, WindowData())
    folder.mkdir(parents=True, exist_ok=True)
    logged = {name: float(value) for name, value in run.callback_metrics.items()}
    kept = {"weights": module.state_dict(), "logged": logged}
    torch.save(kept, folder / f"rank{run.global_rank}.pt")
