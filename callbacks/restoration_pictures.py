"""Held-out clips beside what a masked autoencoder makes of them, while a run goes on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from callbacks.event_files import picture, surviving_writers
from callbacks.gif_writer import GifWriter
from callbacks.restorations import GAP, panels, pictures
from callbacks.stream_position import rng_states, set_rng_states
from datamodules.video_io import to_uint8
from lit_modules.base import unit
from lit_modules.mae.masking import MaskName, hidden_pixels


class RestorationPictures(Callback):
    """Shows the first held-out clips: as they are, as the model sees them, restored, and the error.

    After each validation as `<run>/samples/epoch_001.gif` and so on, a clip a row, and in
    TensorBoard the same, moving, and a still picture of the middle frame. `validate` and `test`
    leave `validate.gif` and `test.gif`. The masks are always the same, so that progress shows.
    Weights are those that are validated, averaged where they are averaged; a run with pictures
    equals one without. One that fails is a warning.

    Args:
        num: clips to show, at least 1.
        mask: kind of the masks, see `model.mask`.
        mask_ratio: share of the mask units that is hidden, in (0, 1).
        every_n_epochs: epochs between two GIFs.
        fps: frames a second of a GIF, unless the data have a rate.
    """

    def __init__(
        self,
        num: int = 4,
        mask: MaskName = "tube",
        mask_ratio: float = 0.9,
        every_n_epochs: int = 1,
        fps: float = 15.0,
    ) -> None:
        if num < 1 or every_n_epochs < 1:
            raise ValueError(f"num {num} and every_n_epochs {every_n_epochs} must be at least 1")
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio {mask_ratio} must lie between 0 and 1")
        self.num, self.mask, self.mask_ratio = num, mask, mask_ratio
        self.every_n_epochs, self.fps = every_n_epochs, fps
        self._rows: list[Tensor] = []  # panels of each clip, uint8 (t, 3, h, 4w + gaps)
        self._writer: GifWriter | None = None
        self._event_writers: list[Any] = []

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds where to write; on rank 0 alone."""
        log_dir = trainer.log_dir  # on every rank: it is a broadcast
        self._rows, self._writer = [], None
        if stage != "predict" and log_dir is not None and trainer.is_global_zero:
            self._event_writers = surviving_writers(trainer)
            self._writer = GifWriter(Path(log_dir) / "samples", self._event_writers)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Restores what is to be shown of this batch, with the weights that are validated."""
        self._collect(trainer, pl_module, batch)

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Restores what is to be shown of this batch."""
        self._collect(trainer, pl_module, batch)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes what has been collected."""
        self._write(trainer)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes what has been collected."""
        self._write(trainer)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Waits for what is being written; Lightning comes here however a run ends."""
        if self._writer is not None:
            self._writer.finish()

    def _name(self, trainer: L.Trainer) -> str | None:
        """Of the GIF that is due, if one is."""
        if self._writer is None or trainer.sanity_checking:
            return None
        if trainer.state.fn != TrainerFn.FITTING:
            return trainer.state.fn and trainer.state.fn.value
        epoch = trainer.current_epoch + 1
        return None if epoch % self.every_n_epochs else f"epoch_{epoch:03d}"

    def _collect(self, trainer: L.Trainer, module: L.LightningModule, batch: Any) -> None:
        first = len(self._rows)
        if first >= self.num or self._name(trainer) is None:
            return
        part = {
            name: value[: self.num - first]
            for name, value in batch.items()
            if name in ("video", "state", "state_mask")
        }
        states = rng_states(module.device)
        try:
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                self._rows += self._restored(module, part, first)
        except Exception as error:  # out of memory, most likely
            warnings.warn(
                f"nothing was restored to be shown at step {trainer.global_step} ({error}); the "
                "run goes on",
                stacklevel=2,
            )
        finally:
            set_rng_states(states, module.device)

    def _restored(self, module: Any, batch: dict[str, Tensor], first: int) -> Iterator[Tensor]:
        """Panels of each clip, on the CPU; clip k is masked by k alone."""
        video = module.scale(batch["video"])
        numbers = range(first, first + len(video))
        hidden = module.masks(numbers, video, self.mask, self.mask_ratio)
        restored = to_uint8(unit(module.restorations(batch, video, hidden)["state"])).cpu()
        pixels = hidden_pixels(hidden, module.net.encoder.unit_side, video.shape).cpu()
        for true, mask, made in zip(batch["video"].cpu(), pixels, restored, strict=True):
            # (3, t, h, w) -> (t, 3, h, w)
            yield panels(true.transpose(0, 1), mask, made.transpose(0, 1))

    def _write(self, trainer: L.Trainer) -> None:
        name, rows = self._name(trainer), self._rows
        self._rows = []
        if self._writer is None or name is None or not rows:
            return
        clip = stacked(rows)
        still = next(pictures(clip[len(clip) // 2 :]))
        for writer in self._event_writers:
            value = picture("samples/restoration_still", still)
            writer.add_summary(Summary(value=[value]), trainer.global_step)
        fps = getattr(trainer.datamodule, "fps", None) or self.fps  # type: ignore[attr-defined]
        self._writer.write_beside(
            *(f"{name}.gif", "samples/restoration", partial(pictures, clip), fps),
            trainer.global_step,
        )


def stacked(rows: list[Tensor]) -> Tensor:
    """Clips `(t, 3, h, w)` above each other, black lines between them: `(t, 3, h', w)`."""
    t, channels, _, w = rows[0].shape
    gap = rows[0].new_zeros(t, channels, GAP, w)
    return torch.cat([part for row in rows for part in (row, gap)][:-1], 2)
