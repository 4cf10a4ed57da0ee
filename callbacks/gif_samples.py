"""Source beside reconstruction as a GIF, while a run goes on and when it ends."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from callbacks.event_files import encoded_picture, surviving_writers
from datamodules.video_io import to_uint8, write_video

Pair = tuple[Tensor, Tensor]


class GifSamples(Callback):
    """Writes the newest frames of the first stream beside their reconstructions.

    `<run>/samples/step_0001000.gif` and so on, reduced to `height` and written by a thread beside
    the training; at the end, however it comes, `samples/final.gif` in full size. TensorBoard gets
    the same GIFs. A GIF that cannot be written is a warning; one that is due while its forerunner
    is still being written is left out.

    Args:
        every_n_steps: steps between two GIFs; 0 leaves only the last one.
        frames: frames in a GIF.
        stride: every `stride`-th frame is shown.
        fps: frames per second of the GIF.
        height: rows of a GIF during the run, in pixels, at most.
    """

    def __init__(
        self,
        every_n_steps: int = 1000,
        frames: int = 60,
        stride: int = 1,
        fps: float = 15.0,
        height: int = 112,
    ) -> None:
        self.every_n_steps = every_n_steps
        self.stride = stride
        self.fps = fps
        self.height = height
        self._recent: deque[Pair] = deque(maxlen=frames)
        self._folder: Path | None = None
        self._writers: list[Any] = []
        self._thread: ThreadPoolExecutor | None = None
        self._job: Future[None] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds where to write."""
        log_dir = trainer.log_dir  # on every rank: it is a broadcast
        if log_dir is not None and trainer.is_global_zero:
            self._folder = Path(log_dir) / "samples"
            self._writers = surviving_writers(trainer)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keeps references to this step's pictures; their bytes are made when a GIF is."""
        if self._folder is None:
            return
        step = trainer.global_step
        if step % self.stride == 0:
            self._recent.append(_first_stream(batch["frame"], outputs["reconstruction"]))
        if self.every_n_steps and step % self.every_n_steps == 0:
            self._write_beside(self._folder / f"step_{step:07d}.gif", step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the last GIF."""
        self._write_last(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Writes the last GIF of a run that was cut short."""
        self._write_last(trainer)

    def _write_beside(self, path: Path, step: int) -> None:
        if self._job is not None and not self._job.done():
            return
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="gif")
        self._job = self._thread.submit(self._write, path, step, list(self._recent), self.height)

    def _write_last(self, trainer: L.Trainer) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True)
            self._thread = self._job = None
        if self._folder is not None and self._recent:
            self._write(self._folder / "final.gif", trainer.global_step, list(self._recent))
            self._recent.clear()

    def _write(
        self, path: Path, step: int, pairs: Sequence[Pair], height: int | None = None
    ) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, side_by_side(pairs, height), self.fps)
            encoded = path.read_bytes()
        except Exception as error:  # disk full, path blocked, encoder: none is worth the run
            warnings.warn(f"{path} was not written ({error}); training goes on", stacklevel=2)
            return
        *_, h, w = pairs[0][0].shape
        value = encoded_picture("samples/source_and_reconstruction", encoded, (h, 2 * w))
        for writer in self._writers:
            writer.add_summary(Summary(value=[value]), step)


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
