"""TensorBoard event files that a full disk or a blocked path cannot turn into a dead run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import lightning as L
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import histogram_raw


class SurvivingFile:
    """An event file whose first failure is a warning and whose later calls do nothing.

    It stands below everything that writes to the logger, also below TensorBoard's own thread, so
    `self.log`, LearningRateMonitor and Lightning's own flushes survive as well.

    Args:
        file: what TensorBoard writes to.
        folder: of the log, to be named.
    """

    def __init__(self, file: Any, folder: str) -> None:
        self._file, self._folder = file, folder
        self.failed = False

    def write(self, data: bytes) -> None:
        """Appends."""
        self._attempt(self._file.write, data)

    def flush(self) -> None:
        """Hands what was appended to the disk."""
        self._attempt(self._file.flush)

    def close(self) -> None:
        """Flushes and closes."""
        self._attempt(self._file.close)

    def _attempt(self, call: Callable[..., Any], *args: Any) -> None:
        if self.failed:
            return
        try:
            call(*args)
        except Exception as error:  # whatever its file system raises
            self.failed = True
            warnings.warn(
                f"TensorBoard log {self._folder} cannot be written ({error}); training goes on "
                "without it",
                stacklevel=2,
            )


def surviving_writers(trainer: L.Trainer) -> list[Any]:
    """The `FileWriter` of each TensorBoard logger, guarded; none but on rank 0."""
    writers = []
    for logger in trainer.loggers if trainer.is_global_zero else []:
        if isinstance(logger, TensorBoardLogger):
            writer = logger.experiment._get_file_writer()
            records = writer.event_writer._async_writer._writer
            if not isinstance(records._writer, SurvivingFile):
                records._writer = SurvivingFile(records._writer, writer.get_logdir())
            writers.append(writer)
    return writers


def scalars(values: Mapping[str, float]) -> Summary:
    """All scalars of one step in one event."""
    return Summary(value=[Summary.Value(tag=t, simple_value=v) for t, v in values.items()])


def picture(tag: str, pixels: NDArray[np.uint8]) -> Summary.Value:
    """A uint8 picture `(h, w, 3)` RGB or `(h, w)` grey as PNG, packed lightly since it is live."""
    colour = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    _, encoded = cv2.imencode(".png", colour, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return encoded_picture(tag, encoded.tobytes(), (pixels.shape[0], pixels.shape[1]))


def encoded_picture(tag: str, encoded: bytes, size: tuple[int, int]) -> Summary.Value:
    """An encoded picture (PNG, or GIF, shown moving) of height and width `size`."""
    image = Summary.Image(height=size[0], width=size[1], colorspace=3, encoded_image_string=encoded)
    return Summary.Value(tag=tag, image=image)


def histogram(tag: str, values: NDArray[np.float32], bins: int = 64) -> list[Summary.Value]:
    """Histogram of the finite ones among `values`; nothing where there is none."""
    # float64, since 64 bins do not fit between two neighbouring float32
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size == 0:
        return []
    counts, edges = np.histogram(finite, bins)
    total, squares = float(finite.sum()), float(np.square(finite).sum())
    extremes = float(finite.min()), float(finite.max())
    raw = histogram_raw(  # type: ignore[no-untyped-call]
        tag, *extremes, finite.size, total, squares, edges[1:].tolist(), counts.tolist()
    )
    return list(raw.value)
