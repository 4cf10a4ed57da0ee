"""A run ends between two batches and leaves a checkpoint of its very last step."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint


class GracefulStop(Checkpoint):
    """Ctrl+C stops after the batch at hand; a second Ctrl+C stops at once.

    An interrupt in the middle of a step would leave weights that have learned from a frame that the
    stream position has not passed, and such a run could not be resumed exactly. However a run ends,
    `last.ckpt` then is its last step's, also when `every_n_train_steps` does not divide it, with
    the weights that training goes on from beside averaged ones. Like all that saves checkpoints it
    comes after the callbacks whose state it saves.

    Args:
        agree_every_n_steps: how often several ranks agree on stopping, in steps; one rank alone
            must not leave the others waiting. A single process stops at once.
    """

    def __init__(self, agree_every_n_steps: int = 10) -> None:
        self.agree_every_n_steps = agree_every_n_steps
        self.interrupted = False
        self._previous_handler: Any = None

    @staticmethod
    def stopped(trainer: L.Trainer) -> bool:
        """Whether Ctrl+C ended the run of this trainer."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        return any(isinstance(c, GracefulStop) and c.interrupted for c in callbacks)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes over Ctrl+C for the time of the training."""
        try:
            self._previous_handler = signal.signal(signal.SIGINT, self._request)
        except ValueError:  # not the main thread: whoever runs us keeps the signal
            self._previous_handler = None

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Ends the run here once every rank knows that it should."""
        if trainer.world_size == 1:
            stop = self.interrupted
        elif (batch_idx + 1) % self.agree_every_n_steps == 0:
            stop = trainer.strategy.reduce_boolean_decision(self.interrupted, all=False)
        else:
            stop = False
        if stop:
            self.interrupted = trainer.should_stop = True
        # Of an epoch that is cut short, before Lightning counts it as done.
        if trainer.should_stop or 0 < trainer.max_steps <= trainer.global_step:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves the last step of a run of epochs, with what its validation has left.

        Not in `on_train_end`, where averaged weights have taken the place of those that training
        goes on from.
        """
        if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gives Ctrl+C back."""
        self._restore_handler()

    def _save(self, trainer: L.Trainer) -> None:
        """Brings `last.ckpt` of each checkpoint callback that keeps one up to this step."""
        for callback in trainer.checkpoint_callbacks:
            if (
                isinstance(callback, ModelCheckpoint)
                and callback.save_last
                and callback._last_global_step_saved != trainer.global_step
                and not trainer.fast_dev_run  # type: ignore[attr-defined]
            ):
                last = f"{callback.dirpath}/{callback.CHECKPOINT_NAME_LAST}.ckpt"
                trainer.save_checkpoint(last, False)  # not the weights alone
                # So that it neither saves this step again nor, at the end, one of its own.
                callback._last_global_step_saved = trainer.global_step
                callback._last_checkpoint_saved = last

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Gives Ctrl+C back."""
        self._restore_handler()

    def _restore_handler(self) -> None:
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)
            self._previous_handler = None
