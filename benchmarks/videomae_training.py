"""VideoMAE learns from a datamodule's clips for so much CPU time, and survives being killed."""

from __future__ import annotations

import io
import math
import statistics
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.videomae import VideoMAE
from callbacks.atomic_file import replace_file
from datamodules import SmbFrameDataModule
from lit_modules.layers.noise import SampleNoise
from lit_modules.mae.cubes import CELL, grid_of
from lit_modules.mae.masking import TubeMask

WARM_UP = 0.05  # share of the training
DECAY = 0.99  # of the mean of weights, as in our presets for a CPU
SAVE_EVERY = 60  # seconds by the clock
RECENT = 50  # steps whose mean loss is told


class Recipe(NamedTuple):
    """How the peer is trained: AdamW and a cosine (Tong et al. 2022, "VideoMAE", table 8)."""

    minutes: float  # of CPU time
    mask_ratio: float = 0.9
    half: bool = False  # in bf16
    rate: float = 1.0e-3
    weight_decay: float = 0.05
    clip: float = 1.0  # length of the gradient at most

    def share(self, progress: float) -> float:
        """Share of the full learning rate at a share of the time, both in [0, 1]."""
        if progress < WARM_UP:
            return progress / WARM_UP
        return (1 + math.cos(math.pi * min(1.0, (progress - WARM_UP) / (1 - WARM_UP)))) / 2


class VideoMAETraining:
    """A peer and how far it has come.

    Args:
        peer: with new weights.
        data: its clips, set up.
        recipe: how it learns.
        path: where it is saved; what lies there is gone on with.

    Raises:
        ValueError: what lies there was trained by another recipe.
    """

    def __init__(
        self, peer: VideoMAE, data: SmbFrameDataModule, recipe: Recipe, path: Path
    ) -> None:
        self.peer, self.data, self.recipe, self.path = peer, data, recipe, path
        self.average = AveragedModel(peer, multi_avg_fn=get_ema_multi_avg_fn(DECAY))  # type: ignore[no-untyped-call]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in peer.parameters() if p.ndim > 1]},
            {"params": [p for p in peer.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups, recipe.rate, (0.9, 0.95), weight_decay=recipe.weight_decay, fused=True
        )
        self.noise = SampleNoise(0)
        self.seconds, self.steps = 0.0, 0
        self.position: Any = None
        self.recent: deque[float] = deque(maxlen=RECENT)
        if path.is_file():
            self.load()

    @property
    def settings(self) -> dict[str, Any]:
        """What may not change half-way."""
        data = {name: getattr(self.data, name) for name in ("data_dir", "batch_size", "val_levels")}
        return self.recipe._asdict() | self.peer.sizes._asdict() | data

    @property
    def progress(self) -> float:
        """How much of the time is used up, in [0, 1]."""
        return min(1.0, self.seconds / 60 / self.recipe.minutes)

    @property
    def loss(self) -> float:
        """Mean of the last steps."""
        return statistics.fmean(self.recent) if self.recent else math.nan

    @property
    def mean(self) -> VideoMAE:
        """The peer with the mean of its last weights, to be judged."""
        return cast(VideoMAE, self.average.module.eval())

    def run(self) -> None:
        """Trains until the time is used up. Reading clips counts, saving does not."""
        saved, mark = time.monotonic(), time.process_time()
        for batch in self.batches():
            if self.progress >= 1:
                break
            self.step(batch)
            now = time.process_time()
            self.seconds, mark = self.seconds + now - mark, now
            if time.monotonic() - saved > SAVE_EVERY:
                self.save()
                saved, mark = time.monotonic(), time.process_time()
        self.save()

    def batches(self) -> Iterator[dict[str, Any]]:
        """Training clips for ever, from where it stopped."""
        while True:
            if self.position is not None:
                self.data.resume_from(self.position)
            for batch in self.data.train_dataloader():
                yield self.data.on_after_batch_transfer(batch, 0)

    def step(self, batch: dict[str, Any]) -> None:
        """Hide, predict, learn."""
        video: Tensor = batch["video"].float().div_(127.5).sub_(1)
        grid = grid_of(video, CELL * self.peer.side)
        hidden = TubeMask()(self.noise.generators(batch["sample"]), grid, self.recipe.mask_ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * self.recipe.share(self.progress)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.half):
            loss = self.peer.loss(video, hidden)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.peer.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update_parameters(self.peer)
        self.recent.append(loss.item())
        self.steps += 1
        self.position = batch["position"]

    def save(self) -> None:
        """Writes everything, whole or not at all, and tells how far it is."""
        content = io.BytesIO()
        torch.save(
            {
                "settings": self.settings,
                "peer": self.peer.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "seconds": self.seconds,
                "steps": self.steps,
                "position": self.position,
                "recent": list(self.recent),
            },
            content,
        )
        replace_file(self.path, content.getvalue())
        print(
            f"{self.path.stem}: {self.seconds / 60:.1f} of {self.recipe.minutes:.1f} CPU minutes,"
            f" {self.steps} steps, loss {self.loss:.4f}",
            flush=True,
        )

    def load(self) -> None:
        """Takes up what was saved."""
        saved = torch.load(self.path, weights_only=True)
        if saved["settings"] != self.settings:
            raise ValueError(
                f"{self.path} was trained with {saved['settings']}, not {self.settings};"
                " set --folder to another one"
            )
        self.peer.load_state_dict(saved["peer"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.seconds, self.steps = saved["seconds"], saved["steps"]
        self.position = saved["position"]
        self.recent.extend(saved["recent"])
