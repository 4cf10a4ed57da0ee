"""What a segmenter finds, as files: clips, codes, energies, pictures of how it went."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter
from rich.console import Console
from rich.table import Table

from callbacks.atomic_file import replace_file
from callbacks.segment_files import VideoFiles
from datamodules.windows import VideoWindowDataModule
from datamodules.windows.feed import Video
from lit_modules.latent_action.segmenter_module import LitSegmenter

UNASKED = "Couldn't infer the batch indices fetched from your dataloader: `DataLoader`"


class SegmentWriter(BasePredictionWriter):
    """Writes each video's segments into a folder of its own, `<output_dir>/<video>/`.

    `segments/*.mp4` are the clips, `code_indices/*.codes.json` their codes, `energy.jsonl` all
    windows, `prequant/*.npy` the tokens before rounding, `overlay.mp4` the video with its energy,
    `video.json` a summary; `<output_dir>/videos.jsonl` holds the summaries of all.

    A video whose `video.json` tells of the same file and settings is done and not read again. One
    that cannot be read (to its end) is named when the others are done, and the run ends with an
    error.

    Args:
        output_dir: where the folders go; null is `segments/<name of the source>` beside the
            runs of the logger.
        clips: write a clip of each segment.
        overlay: write the video with the energy curve, thresholds and figures below it.
        prequant: write the tokens before rounding, `(windows, n, d)` float32.
    """

    def __init__(
        self,
        output_dir: str | None = None,
        clips: bool = True,
        overlay: bool = True,
        prequant: bool = False,
    ) -> None:
        super().__init__("batch")
        self.output_dir = output_dir
        self.kinds = {"clips": clips, "overlay": overlay, "prequant": prequant}
        self.folder = Path()
        self._settings: dict[str, Any] = {}
        self._videos: list[Video] = []
        self._done = 0
        self._open: dict[int, VideoFiles] = {}
        self._thread: ThreadPoolExecutor | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds out which videos are done."""
        super().setup(trainer, pl_module, stage)
        if stage != "predict":
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(pl_module, LitSegmenter) or not isinstance(data, VideoWindowDataModule):
            raise ValueError(
                "SegmentWriter writes what a LitSegmenter finds in a VideoWindowDataModule"
            )
        self.folder = Path(self.output_dir) if self.output_dir else default_folder(trainer, data)
        self._settings = {**pl_module.settings, **data.settings, **self.kinds}
        done = {v.number for v in data.videos if self.is_done(v)}
        data.leave_out(done, self.folder)
        self._videos, self._done = data.videos, len(done)
        trainer.predict_loop.return_predictions = False  # they would fill the memory
        trainer.predict_loop._warning_cache.add(UNASKED)

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Writes what a batch has led to."""
        number = batch["video"]
        if batch["first"]:
            self._open[number] = self.begin(pl_module, number, batch)
        self._open[number].add(batch, prediction)
        if batch["last"]:
            self._open.pop(number).finish(batch)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes and shows the summaries of all videos once every rank has done its own.

        Raises:
            ValueError: if a video could not be read to its end.
        """
        self.close()
        trainer.strategy.barrier("segments")
        if not trainer.is_global_zero:
            return
        summaries = [row for video in self._videos if (row := self.summary(video.name))]
        lines = "".join(json.dumps(row) + "\n" for row in summaries)
        replace_file(self.folder / "videos.jsonl", lines.encode())
        show(summaries, self.folder, self._done)
        bad = [row for row in summaries if row["status"] != "done"]
        if bad:
            reasons = "; ".join(f"{row['path']}: {', '.join(row['problems'])}" for row in bad)
            raise ValueError(
                f"{len(bad)} of {len(summaries)} videos could not be read to their end: {reasons}; "
                "the others are done; mend or remove these (python -m datamodules.windows check)"
            )

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Closes what is open; its videos are not done and will be read again."""
        self.close()

    def close(self) -> None:
        """Closes all files of videos that are not at their end."""
        while self._open:
            self._open.popitem()[1].close()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def begin(self, pl_module: Any, number: int, batch: Any) -> VideoFiles:
        """The files of the next video."""
        video = next(video for video in self._videos if video.number == number)
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="clips")
        facts = {
            "path": video.path,
            "energy": pl_module.energy,
            "thresholds": pl_module.thresholds,
            "codebook_size": pl_module.codebook_size,
            "stride": batch["stride"],
            "horizon": batch["velocity"].shape[1],
        }
        settings = self.settings_of(video)
        folder = self.folder / video.name
        return VideoFiles(folder, video.name, facts, settings, thread=self._thread, **self.kinds)

    def is_done(self, video: Video) -> bool:
        """Whether an earlier run has dealt with the same file in the same way, to its end."""
        summary = self.summary(video.name) or {"status": "failed"}
        same: bool = summary.get("settings") == self.settings_of(video)
        return same and summary["status"] != "failed"

    def settings_of(self, video: Video) -> dict[str, Any]:
        """What the results of a video depend on."""
        with suppress(OSError):  # a live source, or a file that is gone: both are read (again)
            status = os.stat(video.path)
            return {**self._settings, "file": [video.path, status.st_size, status.st_mtime_ns]}
        return {**self._settings, "file": [video.path, time.time_ns()]}

    def summary(self, name: str) -> dict[str, Any] | None:
        """What is known of a video, None if it is not done."""
        with suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads((self.folder / name / "video.json").read_text())
            return found
        return None


def default_folder(trainer: L.Trainer, data: VideoWindowDataModule) -> Path:
    """`segments/<name of the source>` beside the versions of the logger's runs."""
    logger = trainer.logger
    root = Path(logger.save_dir or "runs") / str(logger.name) if logger else Path("runs")
    source = Path(str(data.source)).resolve()
    name = "live" if data.live else source.stem if source.is_file() else source.name
    return root / "segments" / name


def show(summaries: list[dict[str, Any]], folder: Path, done: int) -> None:
    """Prints a table of the videos."""
    title = f"Segments in {folder}" + (f" ({done} videos were done before)" if done else "")
    table = Table("video", "seconds", "windows", "segments", "status", title=title)
    for row in summaries:
        status = row["status"] + "".join(f"\n{problem}" for problem in row["problems"])
        if row["dropped_windows"]:
            status += f"\n{row['dropped_windows']} windows dropped"
        figures = (f"{row['seconds']:.1f}", str(row["windows"]), str(row["segments"]))
        table.add_row(row["video"], *figures, status)
    Console(stderr=True).print(table)
