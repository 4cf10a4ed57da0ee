"""A stream of noise and a network that learns it: the smallest run the callbacks can watch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

HEIGHT, WIDTH = 16, 24


class NoiseStream(IterableDataset):
    """Frame n of the stream is a function of n alone; `position` counts the frames given out."""

    def __init__(self, start: int, streams: int) -> None:
        self.start, self.streams = start, streams

    def __iter__(self) -> Iterator[dict[str, Any]]:
        n = self.start
        while True:
            generator = torch.Generator().manual_seed(n)
            shape = (self.streams, 3, HEIGHT, WIDTH)
            frame = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
            n += 1
            yield {"frame": frame, "frame_index": torch.full((self.streams,), n - 1), "position": n}


class Endless:
    """A loader that goes on where it was when the next epoch asks for its iterator."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader, self.iterator = loader, None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.iterator is None:
            self.iterator = iter(self.loader)
        return self.iterator


class NoiseData(L.LightningDataModule):
    game_names = ("Noise",)
    seed = 7

    def __init__(self, streams: int = 1, num_workers: int = 0) -> None:
        super().__init__()
        self.streams, self.num_workers = streams, num_workers
        self.position: int | None = None

    def resume_from(self, position: int) -> None:
        self.position = position

    def train_dataloader(self) -> Endless:
        first = 1000 * self.trainer.global_rank
        stream = NoiseStream(first if self.position is None else self.position, self.streams)
        loader = DataLoader(stream, batch_size=None, num_workers=self.num_workers)
        self.loader = Endless(loader)
        return self.loader

    def teardown(self, stage: str) -> None:
        self.loader.iterator = None  # ends its worker


class NoiseLearner(L.LightningModule):
    """Manual optimisation, random numbers of all three libraries in each step."""

    code_floats = 5

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = nn.Conv2d(3, 3, 3, padding=1)
        self.seen: list[int] = []
        self.errors: list[float] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        frame = batch["frame"].float() / 255
        noise = torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002
        reconstruction = self.net(frame)
        mse = (reconstruction - frame).square().mean()
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(mse * (1 + 0.1 * noise))
        optimizer.step()
        mse = mse.detach()
        metrics = {"train/loss": mse, "online/mse": mse, "online/psnr": -10 * mse.log10()}
        metrics["online/previous_frame_mse"] = 2 * mse
        metrics["online/running_mean_mse"] = 3 * mse
        self.remember(batch, mse)
        return {
            "loss": mse,
            "metrics": metrics,
            "frame": frame,
            "reconstruction": reconstruction.detach().clamp(0, 1),
            "change_mask": frame[:, :1] > 0.5,
        }

    def remember(self, batch: dict[str, Any], mse: Tensor) -> None:
        self.seen.append(int(batch["frame_index"][0]))
        self.errors.append(float(mse))

    def feature_maps(self, frame: Tensor) -> dict[str, Tensor]:
        return {"encoder/small": self.net(frame), "decoder/small": frame[:, :2]}


class ClipData(L.LightningDataModule):
    """Clips of noise, as many epochs as one likes; `sample` is the number of the clip."""

    fps = 25.0

    def __init__(self, batch_size: int = 2, clip_length: int = 3, clips: int = 12) -> None:
        super().__init__()
        self.batch_size, self.clip_length, self.clips = batch_size, clip_length, clips

    def train_dataloader(self) -> DataLoader:
        return self.loader(0)

    def val_dataloader(self) -> DataLoader:
        return self.loader(1000)

    def loader(self, first: int) -> DataLoader:
        shape = (3, self.clip_length, 8, 12)
        clips = [
            {
                "video": torch.randint(
                    0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(i)
                ),
                "sample": i,
            }
            for i in range(first, first + self.clips)
        ]
        # Its own generator: torch's global one is the training's.
        return DataLoader(clips, batch_size=self.batch_size, generator=torch.Generator())


class Samples(NamedTuple):
    video: Tensor


class ClipGenerator(L.LightningModule):
    """Learns one clip's mean colour by automatic optimisation; `sample` shows it in noise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 3)
        self.losses: list[float] = []
        self.sampled: list[dict[str, Any]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    def loss(self, batch: dict[str, Any]) -> Tensor:
        colours = batch["video"].float().mean((2, 3, 4)) / 127.5 - 1
        return (self.net(colours) + torch.randn(3) - 0.5).square().mean()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        loss = self.loss(batch)
        self.losses.append(float(loss.detach()))
        self.log("train/loss", loss)
        return {"loss": loss}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("val/loss", self.loss(batch), batch_size=len(batch["video"]))

    def sample(self, num: int, seed: int) -> Samples:
        torch.randn(7)  # a sampler that also touches the global generator
        colour = self.net.bias.detach()
        self.sampled.append({"bias": colour.clone(), "training": self.training, "seed": seed})
        noise = torch.randn(num, 3, 4, 8, 12, generator=torch.Generator().manual_seed(seed))
        return Samples(0.1 * noise + colour.view(1, 3, 1, 1, 1))
