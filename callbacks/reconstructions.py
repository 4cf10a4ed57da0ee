"""A stream beside what an autoencoder makes of it, and how near that comes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import lightning as L
import torch
from rich.progress import track
from torch import Tensor
from torchmetrics import MeanSquaredError, MetricCollection
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from datamodules import AleStreamDataModule, AviStreamDataModule, IterableDataModule
from datamodules.video_io import Rgb, to_uint8
from lit_modules import LitStreamingAutoencoder


class Reconstructions:
    """Source, reconstruction and error of each frame side by side; nothing is learned on the way.

    Args:
        module: the autoencoder.
        input: video file or folder of videos to read in order.
        game: game to play at random where `input` is None.
        seed: of the game's play.
    """

    def __init__(
        self, module: LitStreamingAutoencoder, input: str | None, game: str, seed: int
    ) -> None:
        self.module, self.from_files = module, input is not None
        size = module.net.size
        self.data: IterableDataModule = (
            AviStreamDataModule(data_dir=input, size=size)
            if input is not None
            else AleStreamDataModule(games=game, size=size, seed=seed)
        )
        self.scores = MetricCollection(
            {
                "mse": MeanSquaredError(),
                "psnr": PeakSignalNoiseRatio(data_range=1.0),
                "ssim": StructuralSimilarityIndexMeasure(data_range=1.0),
            }
        ).to(module.device)
        self.frames = 0

    def panels(self, most: int) -> Iterator[Rgb]:
        """Pictures `(h, 3w, 3)`; fewer than `most` where the videos end before."""
        stream = batches(self.data, self.module)
        if self.from_files:
            stream = once_through(stream)
        for batch in track(islice(stream, most), "frames", total=most):
            frame, made = self.module.reconstruct(batch)
            self.scores.update(made, frame)
            self.frames += 1
            yield to_uint8(beside_error(frame, made))[0].permute(1, 2, 0).numpy()

    def figures(self) -> dict[str, float]:
        """Scores over all frames so far."""
        return {name: float(value) for name, value in self.scores.compute().items()}


def batches(data: L.LightningDataModule, module: L.LightningModule) -> Iterator[Any]:
    """The batches of `predict` without a trainer, on the module's device."""
    data.setup("predict")
    for batch in data.predict_dataloader():
        yield data.on_after_batch_transfer(
            module.transfer_batch_to_device(batch, module.device, 0), 0
        )


def once_through(stream: Iterator[Any]) -> Iterator[Any]:
    """A stream of files up to where it begins again with the first."""
    first = None
    for batch in stream:
        file = int(batch["source"][0])
        if first is None:
            first = file
        elif file == first and batch["episode_start"][0]:
            return
        yield batch


def beside_error(frame: Tensor, reconstruction: Tensor) -> Tensor:
    """Frames and reconstructions `(b, 3, h, w)` -> with the absolute error `(b, 3, h, 3w)`."""
    return torch.cat([frame, reconstruction, (frame - reconstruction).abs()], dim=-1)
