"""The course of a training as one picture."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from torch import Tensor

from callbacks.atomic_file import replace_file
from callbacks.loss_history import LossHistory

SMOOTH = 50
"""The smooth line averages over one part in fifty of the run."""


class LossCurve(Callback):
    """Draws `<run>/loss_curve.png`: training loss of each step, raw and smoothed, and validation.

    Rewritten after every epoch and when the run ends, however it does. The history is in the
    checkpoint, so a resumed run's curve is whole. Rank 0 shows its own losses. A picture that
    cannot be written is a warning.

    Args:
        validation: logged name of the validation loss, drawn after each validation.
        log_scale: logarithmic axis of losses, as long as they are above 0.
    """

    KEY = "loss_curve"

    def __init__(self, validation: str = "val/loss", log_scale: bool = True) -> None:
        self.validation = validation
        self.log_scale = log_scale
        self._training = LossHistory()
        self._validated: list[tuple[int, float]] = []
        self._path: Path | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Finds where to write; on rank 0 alone."""
        log_dir = trainer.log_dir  # on every rank: it is a broadcast
        if log_dir is not None and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._path = Path(log_dir) / "loss_curve.png"

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keeps the loss on its device."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            if pl_module.automatic_optimization:  # Lightning has divided it
                loss = loss * trainer.accumulate_grad_batches
            self._training.append(loss)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes down the validation loss of this step."""
        loss = trainer.callback_metrics.get(self.validation)
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if loss is not None and fitting:
            self._validated.append((len(self._training), float(loss)))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the curve so far."""
        self._write()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the curve of the run."""
        self._write()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Draws what a broken run came to."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._write()

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Stores the history."""
        validated = [[step, loss] for step, loss in self._validated]
        checkpoint[self.KEY] = {**self._training.state_dict(), "validated": validated}

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes the history up again."""
        state = checkpoint.get(self.KEY)
        if state is not None and trainer.state.fn == TrainerFn.FITTING:
            self._training.load_state_dict(state)
            self._validated = [(step, loss) for step, loss in state["validated"]]

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            self._training.fetch()
            replace_file(self._path, self._draw())
        except Exception as error:  # disk full, path blocked, no matplotlib: none is worth the run
            warnings.warn(f"{self._path} was not written ({error})", stacklevel=2)

    def _draw(self) -> bytes:
        """The picture as PNG, without a display."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        steps, points = np.array(self._training.steps()), np.array(self._training.points)
        window = max(1, len(points) // SMOOTH)
        axes.plot(steps, points, color="C0", alpha=0.3, linewidth=0.8)
        axes.plot(steps, smoothed(points, window), color="C0", label="training")
        if self._validated:
            axes.plot(*zip(*self._validated, strict=True), "o-", color="C1", label="validation")
        shown = np.concatenate((points, [loss for _, loss in self._validated]))
        if self.log_scale and (shown > 0).any() and not (shown <= 0).any():
            axes.set_yscale("log")
        axes.set_xlabel("training step")
        axes.set_ylabel("loss")
        axes.grid(alpha=0.3)
        axes.legend()
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        return picture.getvalue()


def smoothed(points: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Means of `window` neighbours or, at the ends and where some are not finite, of fewer."""
    if not len(points):
        return points
    kernel = np.ones(window)
    finite = np.isfinite(points)
    total = np.convolve(np.where(finite, points, 0), kernel, "same")
    count = np.convolve(finite, kernel, "same")
    smooth: NDArray[np.float64] = np.full_like(points, np.nan)
    np.divide(total, count, out=smooth, where=count > 0.5)
    return smooth
