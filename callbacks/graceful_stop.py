"""A run that is told to end does so between two batches, with a checkpoint of its last step."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any, NoReturn

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

SAME_PRESS = 1.0
"""Seconds in which a second SIGINT is the first: a terminal sends it, and torchrun hands it on."""

SHARDS = (("save_distributed_checkpoint", True, "false"), ("state_dict_type", "sharded", "full"))
"""Settings of strategies that share weights out, and their values with and without shards."""


class GracefulStop(Checkpoint):
    """Ctrl+C, SIGTERM and SIGUSR1 stop after the batch at hand; a second Ctrl+C stops at once.

    An interrupt in the middle of a step would leave weights that have learned from a frame that the
    stream position has not passed, and such a run could not be resumed exactly. However a run ends,
    `last.ckpt` then is its last step's, also when `every_n_train_steps` does not divide it, with
    the weights that training goes on from beside averaged ones. Like all that saves checkpoints it
    comes after the callbacks whose state it saves.

    A signal to any one rank stops all of them after the same step; a validation that is under way
    comes to its end first, since half of one would mislead what goes by its scores. Under SLURM the
    signal that announces the end of the job (`--signal=USR1@90`) also queues it again, as Lightning
    does, but at the end of the step; `--ckpt_path last` does the same for other queues.

    Args:
        agree_every_n_steps: how often several ranks agree on stopping, in steps; one rank alone
            must not leave the others waiting. A single process stops at once.
    """

    def __init__(self, agree_every_n_steps: int = 1) -> None:
        self.agree_every_n_steps = agree_every_n_steps
        self.signal = 0
        self._since = 0.0
        self._previous: dict[int, Any] = {}
        self._over = threading.Event()
        self._requeue: Any = None

    @staticmethod
    def of(trainer: L.Trainer) -> int:
        """Number of the signal that ended the run of this trainer; 0 for none."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        return max((c.signal for c in callbacks if isinstance(c, GracefulStop)), default=0)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Lets SIGTERM end what is no training at once, which Lightning would go on with.

        Raises:
            ValueError: checkpoints would be folders of shards, which no digest guards.
        """

        def end(signum: int, frame: FrameType | None) -> NoReturn:
            raise SystemExit(128 + signum)

        for setting, bad, good in SHARDS:
            if getattr(trainer.strategy, f"_{setting}", None) == bad:
                raise ValueError(
                    f"{setting} {bad} saves folders of shards, which nothing here can check; "
                    f"set trainer.strategy.{setting} to {good}"
                )
        if stage != "fit":
            setattr(trainer._signal_connector, "_sigterm_notifier_fn", end)  # noqa: B010

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Takes over the signals for the time of the training."""
        self.signal = 0
        if threading.current_thread() is not threading.main_thread():
            return  # whoever runs us keeps the signals
        connector = trainer._signal_connector
        environment = trainer._accelerator_connector.cluster_environment
        signals = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            announced = environment.requeue_signal or signal.SIGUSR1
            signals.add(announced)
            self._requeue = announced, connector._slurm_sigusr_handler_fn
        self._previous = {number: signal.signal(number, self._request) for number in signals}
        # Lightning's handler of SIGTERM broadcasts from within: the ranks that are in a step of
        # their own never answer (#20806). Ours, which it calls as well, does without.
        setattr(connector, "_sigterm_notifier_fn", lambda *_: None)  # noqa: B010
        # SIGTERM to a whole job would kill the workers that load data, and by that the step at
        # hand. They inherit that it is blocked; a thread of its own still takes it for us.
        self._over.clear()
        threading.Thread(target=self._over.wait, name="signals", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def _request(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal == 0:
            self.signal, self._since = signum, now
        elif signum == signal.SIGINT and now - self._since > SAME_PRESS:
            raise KeyboardInterrupt

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Ends the run here once every rank knows that it should."""
        stop = self.signal
        if trainer.world_size > 1:
            stop = 0
            if (batch_idx + 1) % self.agree_every_n_steps == 0:
                own = torch.tensor(self.signal, device=trainer.strategy.root_device)
                stop = int(trainer.strategy.reduce(own, reduce_op="max"))
        if stop:
            self.signal, trainer.should_stop = stop, True
            # Lightning would validate before it stops; whoever sent the signal does not wait.
            trainer.fit_loop.epoch_loop._skip_next_val = True
        # Of an epoch that is cut short, before Lightning counts it as done.
        if trainer.should_stop or 0 < trainer.max_steps <= trainer.global_step:
            self._save(trainer)
        if stop and self._requeue is not None and self._requeue[0] == stop:
            self._queue_again(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves the last step of a run of epochs, with what its validation has left.

        Not in `on_train_end`, where averaged weights have taken the place of those that training
        goes on from.
        """
        if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
            self._save(trainer)

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

    def _queue_again(self, trainer: L.Trainer) -> None:
        """Lightning's own: `hpc_ckpt_N.ckpt` in `trainer.default_root_dir`, `scontrol requeue`."""
        signum, queue_again = self._requeue
        loggers, trainer.loggers = trainer.loggers, []  # it would close them, and we still write
        try:
            queue_again(signum, None)
        finally:
            trainer.loggers = loggers

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Gives the signals back, after all that is written at the end."""
        self._give_back(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Gives the signals back."""
        self._give_back(trainer)

    def _give_back(self, trainer: L.Trainer) -> None:
        previous, self._previous = self._previous, {}
        for number, handler in previous.items():
            signal.signal(number, handler)
        if previous:
            trainer._signal_connector._original_handlers.update(previous)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            self._over.set()


def exit_status(trainer: L.Trainer) -> int:
    """128 and the signal that ended a run, as shells count; 1 if its end could not be saved; or 0.

    Rank 0 speaks for all: Lightning kills what is left of a run whose other ranks end in an error.
    """
    if not trainer.is_global_zero:
        return 0
    stopped = GracefulStop.of(trainer)
    unsaved = getattr(trainer.strategy.checkpoint_io, "failed", False)
    return 128 + stopped if stopped else int(unsaved)
