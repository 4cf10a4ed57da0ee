"""Runs of a tiny network on a stream of noise, each in the test's own folder."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from noise import ClipData, ClipGenerator, NoiseData, NoiseLearner


class OneThread(Callback):
    """In forked ranks: threads that the parent has used are not there, and waited for in vain."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        torch.set_num_threads(1)


class Run:
    """Fits `NoiseLearner` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fit(
        self,
        callbacks: list[Callback],
        steps: int = 6,
        ckpt_path: str | None = None,
        module: L.LightningModule | None = None,
        data: L.LightningDataModule | None = None,
        save_every: int | None = None,
        **trainer: Any,
    ) -> tuple[L.Trainer, Any]:
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        module = module or NoiseLearner()
        if save_every:
            saver = ModelCheckpoint(
                every_n_train_steps=save_every, save_top_k=-1, filename="{step}", save_last=True
            )
            callbacks = [saver, *callbacks]
        options: dict[str, Any] = {
            "logger": TensorBoardLogger(str(self.folder), name="run", default_hp_metric=False),
            "limit_train_batches": steps,
            "max_epochs": 1,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": bool(save_every),
            "log_every_n_steps": 1,
        }
        if trainer.get("strategy") == "ddp_fork":
            callbacks = [OneThread(), *callbacks]
        runner = L.Trainer(**(options | trainer), callbacks=callbacks)
        runner.fit(module, datamodule=data or NoiseData(), ckpt_path=ckpt_path)
        return runner, module


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def learner() -> type[NoiseLearner]:
    return NoiseLearner


@pytest.fixture
def noise_data() -> type[NoiseData]:
    return NoiseData


@pytest.fixture
def generator() -> type[ClipGenerator]:
    return ClipGenerator


@pytest.fixture
def clip_data() -> type[ClipData]:
    return ClipData
