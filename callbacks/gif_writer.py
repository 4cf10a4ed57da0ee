"""GIFs into a run's folder and its TensorBoard log, never at the price of the run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import Summary

from callbacks.event_files import encoded_picture
from datamodules.video_io import write_video

Frames = Callable[[], Iterable[NDArray[np.uint8]]]
"""Makes the pictures `(h, w, 3)` of a GIF, in the thread that writes it."""


class GifWriter:
    """Writes GIFs, at once or by a thread beside the training; the first failure is a warning.

    Args:
        folder: where the GIFs go; made when the first one is written.
        event_writers: TensorBoard writers that get the same GIFs, moving.
    """

    def __init__(self, folder: Path, event_writers: list[Any]) -> None:
        self.folder = folder
        self._event_writers = event_writers
        self._warned = False
        self._thread: ThreadPoolExecutor | None = None
        self._job: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a GIF is being written beside the training."""
        return self._job is not None and not self._job.done()

    def write_beside(self, name: str, tag: str, frames: Frames, fps: float, step: int) -> None:
        """Queues a GIF for the thread."""
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="gif")
        self._job = self._thread.submit(self.write, name, tag, frames, fps, step)

    def finish(self) -> None:
        """Waits for what is queued."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)
            self._thread = self._job = None

    def write(self, name: str, tag: str, frames: Frames, fps: float, step: int) -> None:
        """Writes `<folder>/<name>` and the TensorBoard image `tag` of this step."""
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            clip = list(frames())
            write_video(path, clip, fps)
            encoded = path.read_bytes()
        except Exception as error:  # disk full, path blocked, encoder: none is worth the run
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"{path} was not written ({error}); training goes on, later GIFs are tried in "
                    "silence",
                    stacklevel=2,
                )
            return
        height, width, _ = clip[0].shape
        value = encoded_picture(tag, encoded, (height, width))
        for writer in self._event_writers:
            writer.add_summary(Summary(value=[value]), step)
