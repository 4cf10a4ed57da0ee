"""A run that goes on does not pass over the validation that was due when it was saved."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loops.evaluation_loop import RestartStage


class DueValidation(Callback):
    """Makes up for the validation that a checkpoint was saved just before.

    Where a step ends an epoch, checkpoints of steps are written before its validation. Lightning
    takes that for done when it resumes from one: its scores would be missing from the best
    checkpoint and from curves, and the run would not be the one that nothing happened to. (From the
    last step of a run nothing goes on; `train.py validate` scores its checkpoint.)
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Has the loop look whether a validation is due, unless it was over already."""
        loop = trainer.fit_loop.epoch_loop
        if loop.restarting and not loop.restarted_on_last:
            loop.val_loop.restarting = False
            loop.val_loop._restart_stage = RestartStage.RESTARTED_MID_EVALUATION
