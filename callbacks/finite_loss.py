"""A loss that is no number ends a run or is gone back behind, and is never saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.distributed.tensor import DTensor

from callbacks.safe_checkpoint import WITHHELD
from lit_modules.sealed_file import survey


class NonFiniteLossError(ValueError):
    """Training came to a loss or weights that are infinite or NaN."""


class FiniteLoss(Callback):
    """Stops or rolls back a run whose loss or weights are no longer finite.

    Losses are looked at on their device; the result is fetched, and agreed on by all ranks, every
    `check_every_n_steps` steps and before a checkpoint is written, when the weights are looked at
    as well: a step of finite loss may have ruined them. Such a checkpoint is not written.

    A rollback takes model, averages, optimizer and learning-rate schedule from the newest good
    checkpoint; data and the count of steps go on, past what the run stumbled over.

    Args:
        on_nonfinite: `stop` ends the run with an error, `rollback` goes on from the newest good
            checkpoint.
        check_every_n_steps: batches between two looks; at least 1.
        max_rollbacks: rollbacks of a run, then it stops.
    """

    def __init__(
        self,
        on_nonfinite: Literal["stop", "rollback"] = "stop",
        check_every_n_steps: int = 50,
        max_rollbacks: int = 3,
    ) -> None:
        if check_every_n_steps < 1 or max_rollbacks < 0:
            raise ValueError(
                f"check_every_n_steps {check_every_n_steps} must be at least 1 and max_rollbacks "
                f"{max_rollbacks} at least 0"
            )
        self.on_nonfinite = on_nonfinite
        self.check_every_n_steps = check_every_n_steps
        self.max_rollbacks = max_rollbacks
        self._rollbacks = 0
        self._unseen = 0
        self._bad: Tensor | None = None
        self._ruined = False

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Takes the loss down on its device; looks now and then."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            bad = ~loss.detach().isfinite().all()
            self._bad = bad if self._bad is None else self._bad | bad
        self._unseen += 1
        if self._unseen >= self.check_every_n_steps:
            self._look(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Goes back before anything more is learned."""
        if self._ruined:
            self._act(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Looks at losses and weights; Lightning calls this on every rank.

        Raises:
            NonFiniteLossError: they are not finite, and the run is to stop.
        """
        if trainer.state.fn != TrainerFn.FITTING:
            return
        looked_at = [~own(p).isfinite().all() for p in pl_module.parameters()]
        looked_at += [own(b).isnan().any() for b in pl_module.buffers()]  # a mask may be infinite
        if self._bad is not None:
            looked_at.append(self._bad)
        self._bad = torch.stack(looked_at).any() if looked_at else None
        self._look(trainer)
        if self._ruined and self.on_nonfinite == "stop":
            self._act(trainer, pl_module)
        if self._ruined:
            checkpoint[WITHHELD] = "loss or weights are not finite"

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Does not let a ruined run end as if all were well.

        Raises:
            NonFiniteLossError: no step is left to go back from.
        """
        self._look(trainer)
        if self._ruined:
            raise NonFiniteLossError(self._message(trainer, self._good(trainer)))

    def _look(self, trainer: L.Trainer) -> None:
        """Fetches whether any loss since the last look was bad, on any rank."""
        bad = self._bad is not None and bool(self._bad)
        self._ruined |= trainer.strategy.reduce_boolean_decision(bad, all=False)
        self._bad, self._unseen = None, 0

    def _act(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        good = self._good(trainer)
        self._rollbacks += 1
        if self.on_nonfinite == "stop" or good is None or self._rollbacks > self.max_rollbacks:
            raise NonFiniteLossError(self._message(trainer, good))
        rank_zero_warn(
            f"loss or weights are not finite at step {trainer.global_step}; going back to {good} "
            f"and on with the data that follow (rollback {self._rollbacks} of at most "
            f"{self.max_rollbacks})"
        )
        connector = trainer._checkpoint_connector
        connector.resume_start(good, weights_only=True)
        connector.restore_model()
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, WeightAveraging):
                callback.on_load_checkpoint(trainer, pl_module, connector._loaded_checkpoint)
        connector.restore_precision_plugin_state()
        connector.restore_optimizers_and_schedulers()
        connector.resume_end()
        for optimizer in trainer.optimizers:
            optimizer.zero_grad()  # what has been accumulated may be ruined as well
        self._ruined, self._bad = False, None

    @staticmethod
    def _good(trainer: L.Trainer) -> str | None:
        """The newest good checkpoint of this run, as rank 0 finds it, or the one it began with."""
        good = None
        for callback in trainer.checkpoint_callbacks if trainer.is_global_zero else []:
            if good is None and isinstance(callback, ModelCheckpoint) and callback.dirpath:
                good, _ = survey(Path(callback.dirpath))
        path = good if good is not None else trainer.ckpt_path
        found = trainer.strategy.broadcast(path)
        return None if found is None else str(found)

    @staticmethod
    def _message(trainer: L.Trainer, good: str | None) -> str:
        remedy = "lower the learning rate or set trainer.gradient_clip_val"
        if good is not None:
            remedy += f"; --ckpt_path {good} --finite_loss.on_nonfinite rollback goes on past it"
        return f"loss or weights are not finite at step {trainer.global_step}; {remedy}"


def own(value: Tensor) -> Tensor:
    """What this rank holds of a tensor that is shared out; the whole of any other."""
    local: Tensor = value.detach()
    return local.to_local() if isinstance(local, DTensor) else local
