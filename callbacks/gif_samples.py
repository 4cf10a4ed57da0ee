"""What a model makes, as GIFs, while a run goes on and when it ends."""

from __future__ import annotations

import signal
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from callbacks.event_files import surviving_writers
from callbacks.generated_clips import clip_frames, draw, grid_frames
from callbacks.gif_writer import GifWriter
from callbacks.graceful_stop import GracefulStop
from datamodules.video_io import to_uint8

Pair = tuple[Tensor, Tensor]


class GifSamples(Callback):
    """Writes GIFs into `<run>/samples` and TensorBoard; one that fails is a warning.

    Of a model of streams: the newest frames of the first stream beside their reconstructions, as
    `step_0001000.gif` and so on, reduced to `height` and written by a thread beside the training;
    one that is due while its forerunner is still being written is left out.

    Of a generator, that is a module with `sample(num, seed)`: after each epoch `sample_epoch1.gif`
    (one clip) and `grid_epoch1.gif` (all of them) and so on, always from the same noise, so that
    progress shows, at the data's rate and with averaged weights where they are averaged.

    However a run ends it leaves `final.gif`: the newest pairs in full size, or a grid.

    Args:
        every_n_steps: steps between two GIFs of a stream; 0 leaves only the last one.
        frames: frames in a GIF of a stream.
        stride: every `stride`-th frame of a stream is shown.
        fps: frames per second of a GIF, unless a generator's data have a rate.
        height: rows of a stream's GIF during the run, in pixels, at most.
        every_n_epochs: epochs between two samples of a generator; 0 leaves only the last ones.
        num: clips in a generator's grid.
        seed: seed of a generator's samples.
    """

    def __init__(
        self,
        every_n_steps: int = 1000,
        frames: int = 60,
        stride: int = 1,
        fps: float = 15.0,
        height: int = 112,
        every_n_epochs: int = 1,
        num: int = 4,
        seed: int = 0,
    ) -> None:
        self.every_n_steps = every_n_steps
        self.stride = stride
        self.fps = fps
        self.height = height
        self.every_n_epochs = every_n_epochs
        self.num = num
        self.seed = seed
        self._recent: deque[Pair] = deque(maxlen=frames)
        self._drawn: tuple[int, Tensor] | None = None
        self._generates = False
        self._writer: GifWriter | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds where to write; on rank 0 alone."""
        log_dir = trainer.log_dir  # on every rank: it is a broadcast
        if stage == "fit" and log_dir is not None and trainer.is_global_zero:
            self._writer = GifWriter(Path(log_dir) / "samples", surviving_writers(trainer))
        self._generates = callable(getattr(pl_module, "sample", None))

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keeps references to this step's pictures; their bytes are made when a GIF is."""
        if self._writer is None or self._generates:
            return
        step = trainer.global_step
        if step % self.stride == 0:
            self._recent.append(_first_stream(batch["frame"], outputs["reconstruction"]))
        if self.every_n_steps and step % self.every_n_steps == 0 and not self._writer.busy:
            frames = partial(side_by_side, list(self._recent), self.height)
            self._writer.write_beside(
                f"step_{step:07d}.gif", "samples/source_and_reconstruction", frames, self.fps, step
            )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Samples after an epoch; one that was cut short is no epoch."""
        progress = trainer.fit_loop.epoch_loop.batch_progress
        whole = progress.is_last_batch or progress.current.ready >= trainer.num_training_batches
        epoch = trainer.current_epoch + 1
        if self._generates and whole and self.every_n_epochs and epoch % self.every_n_epochs == 0:
            self._write_samples(trainer, pl_module, epoch)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the last GIF; a job that is taken away has no time to sample one."""
        if not self._generates or GracefulStop.of(trainer) in (0, signal.SIGINT):
            self._write_last(trainer, pl_module)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Writes the last GIF of a run that was cut short."""
        at_once = isinstance(exception, KeyboardInterrupt) and GracefulStop.of(trainer)
        if not (at_once and self._generates):  # a second Ctrl+C does not wait for samples
            self._write_last(trainer, pl_module)

    def _write_samples(
        self, trainer: L.Trainer, pl_module: L.LightningModule, epoch: int | None = None
    ) -> None:
        """Writes the clip and the grid of an epoch or, without one, the last grid."""
        if self._writer is None:
            return
        step = trainer.global_step
        if self._drawn is None or self._drawn[0] != step:
            try:
                self._drawn = step, draw(trainer, pl_module, self.num, self.seed)
            except Exception as error:  # out of memory, most likely
                warnings.warn(
                    f"nothing was sampled at step {step} ({error}); training goes on", stacklevel=2
                )
                return
        clips = self._drawn[1]
        fps = getattr(trainer.datamodule, "fps", None) or self.fps  # type: ignore[attr-defined]
        if epoch is None:
            frames = partial(grid_frames, clips)
            self._writer.write("final.gif", "samples/final", frames, fps, step)
            return
        for name, tag, frames in (
            ("sample", "samples/clip", partial(clip_frames, clips[0])),
            ("grid", "samples/grid", partial(grid_frames, clips)),
        ):
            self._writer.write_beside(f"{name}_epoch{epoch}.gif", tag, frames, fps, step)

    def _write_last(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._writer is None:
            return
        self._writer.finish()
        if self._generates and trainer.global_step:
            self._write_samples(trainer, pl_module)
        elif self._recent:
            frames = partial(side_by_side, list(self._recent))
            tag = "samples/source_and_reconstruction"
            self._writer.write("final.gif", tag, frames, self.fps, trainer.global_step)
            self._recent.clear()


def _first_stream(frame: Tensor, reconstruction: Tensor) -> Pair:
    """The first of `(b, 3, h, w)`; a copy where a view would keep the other streams alive."""
    if len(frame) == 1:
        return frame[0], reconstruction[0]
    return frame[0].clone(), reconstruction[0].clone()


def side_by_side(pairs: Sequence[Pair], height: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """uint8 frames and [0, 1] reconstructions, both `(3, h, w)` -> uint8 `(h', 2w', 3)` pictures.

    Args:
        pairs: frames and reconstructions, oldest first.
        height: rows of the result at most, in pixels; None keeps the size.
    """
    for pair in pairs:
        halves = [to_uint8(x) if x.is_floating_point() else x for x in pair]
        # 2 x (3, h, w) -> (h, 2w, 3)
        image = np.concatenate([x.permute(1, 2, 0).cpu().numpy() for x in halves], axis=1)
        if height is not None and image.shape[0] > height:
            width = round(image.shape[1] * height / image.shape[0])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        yield np.ascontiguousarray(image)
