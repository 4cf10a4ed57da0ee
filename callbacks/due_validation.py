"""A run that goes on does not pass over what was still due of the epoch when it was saved."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loops.evaluation_loop import RestartStage


class DueValidation(Callback):
    """Makes up for the validation and the end of an epoch that a checkpoint was saved just before.

    Where a step ends an epoch, checkpoints of steps are written before its validation and before
    the hooks of its end. Lightning takes both for done when it resumes from one: scores would be
    missing from the best checkpoint and from curves, counts would run on into the next epoch, and
    the run would not be the one that nothing happened to.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Has the loops look again whether something is due, unless it was over already."""
        epochs, batches = trainer.fit_loop, trainer.fit_loop.epoch_loop
        if not batches.restarting or batches.restarted_on_last:
            return
        batches.val_loop.restarting = False
        batches.val_loop._restart_stage = RestartStage.RESTARTED_MID_EVALUATION
        ended = batches.restarted_on_train_batch_end and batches.batch_progress.is_last_batch
        if ended and epochs.restarted_mid_epoch:  # then it has counted the epoch as over
            progress: Any = epochs.epoch_progress
            for count in (progress.total, progress.current):
                count.processed -= 1
                count.completed -= 1
            batches.batch_progress.increment_completed()
            batches.reset_restart_stage()
