"""What a run came to: `summary.json` for scripts, a table for whoever watched."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from rich import get_console
from rich.table import Table
from torch import Tensor

from callbacks.atomic_file import replace_file
from callbacks.event_files import surviving_writers

FIRST, LAST = 500, 100
ONLINE = {
    "online_mse_last100": "online/mse",
    "previous_frame_mse_last100": "online/previous_frame_mse",
    "running_mean_mse_last100": "online/running_mean_mse",
}


class RunSummary(Callback):
    """Writes `<run>/summary.json` at the end of `fit`, however it ends, and prints a table.

    `steps`, `frames` (of all streams and ranks, over all resumed parts), `frames_per_second` (of
    this process's part: waiting for data included, validation and samples left out) and `metrics`
    by logged name. What a module returns as `metrics` from `training_step` is averaged over its
    last 100 steps; what it logs is taken as logged. Modules with `online/mse` among their metrics
    add `game`, `seed`, `code_floats`, `online_mse_first500`, `online_mse_last100` and both
    baselines, averaged over ranks; a run cut short by an error speaks for rank 0 alone.
    """

    KEY = "run_summary"

    def __init__(self) -> None:
        self._names: list[str] = []
        self._last: deque[Tensor] = deque(maxlen=LAST)
        self._first_sum: Tensor | None = None
        self._first_count = 0
        self._frames = 0
        self._own_frames = 0
        self._seconds = 0.0
        self._mark = 0.0
        self._folder: Path | None = None
        self._summary: dict[str, Any] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds where to write; keeps an event file that cannot be written from ending the run."""
        surviving_writers(trainer)
        log_dir = trainer.log_dir  # on every rank: it is a broadcast
        self._folder = None if log_dir is None else Path(log_dir)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock."""
        self._last = deque((row.to(pl_module.device) for row in self._last), maxlen=LAST)
        if self._first_sum is not None:
            self._first_sum = self._first_sum.to(pl_module.device)
        self._mark = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leaves the time of a validation out."""
        self._mark = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leaves out what was done between two epochs, such as samples that were drawn."""
        self._mark = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Counts the frames and keeps the figures on the device; nothing waits for them."""
        now = time.monotonic()
        self._seconds += now - self._mark
        self._mark = now
        frames = _frames_of(batch) * trainer.world_size
        self._frames += frames
        self._own_frames += frames
        metrics = outputs.get("metrics") if isinstance(outputs, Mapping) else None
        if not metrics:
            return
        if list(metrics) != self._names:
            self._names = list(metrics)
            self._last.clear()
        # Stacking copies, so a module may reuse the tensors it returned (CUDA graphs do).
        row = torch.stack([value.detach().float() for value in metrics.values()])
        self._last.append(row)
        if "online/mse" in metrics and self._first_count < FIRST:
            mse = row[self._names.index("online/mse")]
            self._first_sum = mse if self._first_sum is None else self._first_sum + mse
            self._first_count += 1

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Stores the figures so far, averaged over ranks, so that a resumed run's are right."""
        last, first_sum = self._averages(trainer)
        checkpoint[self.KEY] = {
            "frames": self._frames,
            "names": self._names,
            "last": last,
            "first_sum": first_sum,
            "first_count": self._first_count,
        }

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes the figures up again."""
        state = checkpoint.get(self.KEY)
        if state is None or trainer.state.fn != TrainerFn.FITTING:
            return
        self._frames = state["frames"]
        self._names = state["names"]
        self._last = deque(state["last"] if state["last"] is not None else (), maxlen=LAST)
        self._first_sum = state["first_sum"]
        self._first_count = state["first_count"]

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Sums the run up."""
        self._write(trainer, self._summarise(trainer, *self._averages(trainer)))

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Sums a broken run up without waiting for other ranks, which may not come here."""
        if trainer.state.fn == TrainerFn.FITTING and self._frames:
            last = torch.stack(list(self._last)) if self._last else None
            self._write(trainer, self._summarise(trainer, last, self._first_sum))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Prints the table when the progress bar has left the screen."""
        if stage == "fit" and self._summary is not None and trainer.is_global_zero:
            get_console().print(_table(self._summary, _places(trainer, self._folder)))

    def _averages(self, trainer: L.Trainer) -> tuple[Tensor | None, Tensor | None]:
        """Last rows `(n, metrics)` and the sum of the first errors, averaged over ranks."""
        if not self._last:
            return None, None
        last = trainer.strategy.reduce(torch.stack(list(self._last)), reduce_op="mean")
        first = self._first_sum
        if first is not None:
            first = trainer.strategy.reduce(first.clone(), reduce_op="mean")
        return last, first

    def _summarise(
        self, trainer: L.Trainer, last: Tensor | None, first_sum: Tensor | None
    ) -> dict[str, Any]:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if last is not None:
            metrics |= dict(zip(self._names, last.mean(0).tolist(), strict=True))
        summary: dict[str, Any] = {
            "steps": trainer.global_step,
            "frames": self._frames,
            "frames_per_second": self._own_frames / self._seconds if self._seconds else None,
            "metrics": metrics,
        }
        if first_sum is not None:
            datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
            origin = {
                "game": ", ".join(dict.fromkeys(getattr(datamodule, "game_names", ()))) or None,
                "seed": getattr(datamodule, "seed", None),
                "code_floats": getattr(trainer.lightning_module, "code_floats", None),
            }
            summary |= {key: value for key, value in origin.items() if value is not None}
            summary["online_mse_first500"] = float(first_sum) / self._first_count
            summary |= {key: metrics[name] for key, name in ONLINE.items() if name in metrics}
        return summary

    def _write(self, trainer: L.Trainer, summary: dict[str, Any]) -> None:
        self._summary = summary
        if self._folder is None or not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        path = self._folder / "summary.json"
        try:
            replace_file(path, (json.dumps(_finite(summary), indent=2) + "\n").encode())
        except OSError as error:
            warnings.warn(f"{path} was not written ({error})", stacklevel=2)


def _frames_of(batch: Any) -> int:
    """Frames in a stream batch `(b, c, h, w)` or a clip batch `(b, c, t, h, w)`."""
    if isinstance(batch, Mapping) and "frame" in batch:
        return len(batch["frame"])
    if isinstance(batch, Mapping) and "video" in batch:
        return int(batch["video"].shape[0] * batch["video"].shape[2])
    return 0


def _finite(value: Any) -> Any:
    """JSON knows no infinity (the PSNR of a perfect frame) and no NaN: they become null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _places(trainer: L.Trainer, folder: Path | None) -> dict[str, Path]:
    """Where the run's files lie, those that are there."""
    if folder is None:
        return {}
    places = {"GIF": folder / "samples" / "final.gif"}
    checkpoint = trainer.checkpoint_callback
    if isinstance(checkpoint, ModelCheckpoint) and checkpoint.dirpath:
        places["checkpoint"] = Path(checkpoint.dirpath) / "last.ckpt"
    if any(folder.glob("events.out.tfevents.*")):
        places["TensorBoard log"] = folder
    places["summary"] = folder / "summary.json"
    return {name: path for name, path in places.items() if path.exists()}


def _table(summary: dict[str, Any], places: dict[str, Path]) -> Table:
    table = Table(title=f"Run of {summary['steps']:,} steps", show_header=False)
    if "online_mse_first500" in summary:
        source = summary.get("game", "Stream")
        table.title = f"{source}: {summary['frames']:,} frames learned online"
        labels = ("online MSE, last 100", "  copy of previous frame", "  running mean")
        for label, key in zip(labels, ONLINE, strict=True):
            if key in summary:
                table.add_row(label, _with_psnr(summary[key]))
        table.add_row("online MSE, first 500", _with_psnr(summary["online_mse_first500"]))
        if "code_floats" in summary:
            table.add_row("code values per frame", f"{summary['code_floats']:,}")
    else:
        for name, value in summary["metrics"].items():
            table.add_row(name, f"{value:.4g}")
    if summary["frames_per_second"]:
        table.add_row("frames per second", f"{summary['frames_per_second']:.1f}")
    here = Path.cwd()
    for name, path in places.items():
        full = path.resolve()
        table.add_row(name, str(full.relative_to(here) if full.is_relative_to(here) else full))
    return table


def _with_psnr(mse: float) -> str:
    return f"{mse:.2e} ({-10 * math.log10(mse):.1f} dB)" if mse > 0 else f"{mse:.2e}"
