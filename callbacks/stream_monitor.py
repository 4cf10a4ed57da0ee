"""The live view of a stream that is being learned: TensorBoard and the progress bar."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.nn.functional import pad

from callbacks.event_files import histogram, picture, scalars, surviving_writers
from datamodules.video_io import to_uint8
from lit_modules.streaming_ae.losses import ssim


class StreamMonitor(Callback):
    """Writes scalars, pictures, feature maps, histograms and speed to TensorBoard while it trains.

    It reads what `training_step` returns: `metrics` (0-d tensors by logged name), `frame`,
    `reconstruction` and `change_mask`. Scalars stay on the device until `flush_every` steps or
    `flush_seconds` have passed, then come over in one transfer; no other step waits for the device.
    Loggers other than TensorBoard get every `trainer.log_every_n_steps`-th step.

    Args:
        scalars_every: steps between two points of a curve.
        flush_every: steps after which points are written at the latest.
        flush_seconds: seconds after which points are written at the latest.
        ssim_every: steps between two values of `online/ssim`.
        pictures_every: steps between pictures and feature maps of the first stream.
        histograms_every: steps between histograms of parameters and gradients.
    """

    def __init__(
        self,
        scalars_every: int = 1,
        flush_every: int = 50,
        flush_seconds: float = 1.0,
        ssim_every: int = 100,
        pictures_every: int = 500,
        histograms_every: int = 500,
    ) -> None:
        self.scalars_every = scalars_every
        self.flush_every = flush_every
        self.flush_seconds = flush_seconds
        self.ssim_every = ssim_every
        self.pictures_every = pictures_every
        self.histograms_every = histograms_every
        self._writers: list[Any] = []
        self._loggers: list[Logger] = []
        self._pending: list[tuple[int, float, tuple[str, ...], Tensor]] = []
        self._since = 0.0
        self._steps = 0
        self._frames = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds where to write."""
        self._writers = surviving_writers(trainer)
        self._loggers = [x for x in trainer.loggers if not isinstance(x, TensorBoardLogger)]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock."""
        self._restart_clock()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leaves the time of a validation out of the speed."""
        self._restart_clock()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Takes down this step and writes what is due."""
        if not trainer.is_global_zero:
            return
        step = trainer.global_step
        self._steps += 1
        self._frames += len(outputs["frame"]) * trainer.world_size
        if step % self.scalars_every == 0:
            self._take_down(step, outputs)
        seconds = time.monotonic() - self._since
        if self._steps >= self.flush_every or seconds >= self.flush_seconds:
            self._write_scalars(trainer, seconds)
        if _due(step, self.pictures_every):
            self._write_each(step, _pictures(pl_module, outputs))
        if _due(step, self.histograms_every):
            self._write_each(step, _histograms(pl_module))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes what is left."""
        self._write_scalars(trainer, time.monotonic() - self._since)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Writes what is left."""
        self._write_scalars(trainer, time.monotonic() - self._since)

    def _restart_clock(self) -> None:
        self._since, self._steps, self._frames = time.monotonic(), 0, 0

    def _take_down(self, step: int, outputs: dict[str, Any]) -> None:
        metrics = outputs["metrics"]
        if _due(step, self.ssim_every):
            with torch.no_grad():
                similarity = ssim(outputs["reconstruction"], outputs["frame"])
            metrics = {**metrics, "online/ssim": similarity}
        # Stacking copies, so a module may reuse the tensors it returned (CUDA graphs do).
        values = torch.stack([value.float() for value in metrics.values()])
        self._pending.append((step, time.time(), tuple(metrics), values))

    def _write_scalars(self, trainer: L.Trainer, seconds: float) -> None:
        """Brings the points over in one transfer and writes one event a step."""
        if not self._pending:
            return
        flat = torch.cat([values for *_, values in self._pending]).tolist()
        points, start = [], 0
        for step, wall_time, names, _ in self._pending:
            points.append((step, wall_time, dict(zip(names, flat[start:], strict=False))))
            start += len(names)
        self._pending = []
        if self._steps:
            points[-1][-1]["speed/frames_per_second"] = self._frames / seconds
            points[-1][-1]["speed/step_milliseconds"] = 1000 * seconds / self._steps
        for writer in self._writers:
            for step, wall_time, metrics in points:
                writer.add_summary(scalars(metrics), step, wall_time)
            writer.flush()
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        self._write_to_other_loggers(points, every)
        self._show(trainer, points[-1][-1])
        self._restart_clock()

    def _write_to_other_loggers(
        self, points: list[tuple[int, float, dict[str, float]]], every: int
    ) -> None:
        for logger in list(self._loggers):
            try:
                for step, _, metrics in points:
                    if every and step % every == 0:
                        logger.log_metrics(metrics, step)
                        logger.save()
            except OSError as error:
                self._loggers.remove(logger)
                where = type(logger).__name__
                warnings.warn(f"{where} cannot write ({error}); going on without it", stacklevel=2)

    @staticmethod
    def _show(trainer: L.Trainer, metrics: dict[str, float]) -> None:
        """Puts the newest values on the progress bar.

        `self.log(prog_bar=True)` would cost 0.3 ms, and then fetch the value from the device on
        each step that follows.
        """
        formats = {"train/loss": ".2e", "online/psnr": ".1f", "speed/frames_per_second": ".1f"}
        shown = {"speed/frames_per_second": "fps"}
        bar: dict[str, Any] = trainer.progress_bar_metrics
        for name, form in formats.items():
            if name in metrics:
                bar[shown.get(name, name.rpartition("/")[2])] = f"{metrics[name]:{form}}"

    def _write_each(self, step: int, values: Iterable[Summary.Value]) -> None:
        """One event a value: an event is written whole, and a page loads pictures one by one."""
        for value in values if self._writers else ():
            for writer in self._writers:
                writer.add_summary(Summary(value=[value]), step)


def _due(step: int, every: int) -> bool:
    """Every `every` steps, and on the first one so that the page is not empty; never for 0."""
    return every > 0 and (step == 1 or step % every == 0)


@torch.no_grad()
def _pictures(pl_module: L.LightningModule, outputs: dict[str, Any]) -> list[Summary.Value]:
    """Input, reconstruction, error and change mask of the first stream, and its feature maps.

    The error is shown as its square root, so that a late run's small ones stay visible.
    """
    frame, reconstruction = outputs["frame"][0], outputs["reconstruction"][0]
    error = (frame - reconstruction).abs().mean(0, keepdim=True).sqrt().expand_as(frame)
    change = outputs["change_mask"][0].to(frame.dtype).expand_as(frame)
    shown = {
        "input": frame,
        "reconstruction": reconstruction,
        "error": error,
        "change_mask": change,
        "strip": torch.cat((frame, reconstruction, error, change), dim=-1),
    }
    pictures = [
        picture(f"pictures/{name}", to_uint8(image).permute(1, 2, 0).contiguous().cpu().numpy())
        for name, image in shown.items()
    ]
    maps: dict[str, Tensor] = pl_module.feature_maps(outputs["frame"])  # type: ignore[operator]
    for name, activation in maps.items():
        pictures.append(picture(f"features/{name}", tiles(activation[0]).cpu().numpy()))
    return pictures


def tiles(channels: Tensor) -> Tensor:
    """Activations `(c, h, w)` -> one uint8 picture `(rows h', columns w')`, nearly square.

    Each channel is spread over the full range of grey and framed by one black pixel.
    """
    low, high = channels.aminmax(dim=-1, keepdim=True)
    low, high = low.amin(-2, keepdim=True), high.amax(-2, keepdim=True)
    spread = (channels.float() - low) / (high - low).clamp_min(1e-12)
    columns = math.ceil(math.sqrt(len(channels)))
    rows = math.ceil(len(channels) / columns)
    spread = pad(spread, (1, 1, 1, 1, 0, rows * columns - len(channels)))
    _, h, w = spread.shape
    # (rows columns, h, w) -> (rows h, columns w)
    grid = spread.view(rows, columns, h, w).transpose(1, 2).reshape(rows * h, columns * w)
    return to_uint8(grid)


def _histograms(pl_module: L.LightningModule) -> list[Summary.Value]:
    """Histograms of all parameters and of the gradients of the step at hand."""
    named = dict(pl_module.named_parameters())
    gradients = {name: p.grad for name, p in named.items() if p.grad is not None}
    values: list[Summary.Value] = []
    for prefix, tensors in (("parameters", named), ("gradients", gradients)):
        if not tensors:
            continue
        flat = torch.cat([x.detach().float().flatten() for x in tensors.values()]).cpu().numpy()
        ends = np.cumsum([x.numel() for x in tensors.values()])
        for name, part in zip(tensors, np.split(flat, ends[:-1]), strict=True):
            values += histogram(f"{prefix}/{name}", part)
    return values
