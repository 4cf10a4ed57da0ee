"""A signal ends a run after the step at hand, on every rank, with a checkpoint to go on from."""

import json
import os
import signal
import stat
import time
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from callbacks import GracefulStop, SafeCheckpoint, StreamPosition
from callbacks.graceful_stop import exit_status


class Send(Callback):
    """Signals in the middle of the step after `step`, to this process and what `to` names."""

    def __init__(self, number, step=3, rank=0, to=lambda: []):
        self.number, self.step, self.rank, self.to = number, step, rank, to

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            for process in [*self.to(), os.getpid()]:
                os.kill(process, self.number)
            while not GracefulStop.of(trainer):  # another thread takes SIGTERM, when it comes to it
                time.sleep(0.001)


def children():
    return [int(x) for x in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def fit(run, *more, steps=8, **limits):
    saver = ModelCheckpoint(every_n_train_steps=1000, save_last=True, enable_version_counter=False)
    callbacks = [saver, StreamPosition(), GracefulStop(), *more]
    options = {"enable_checkpointing": True, "plugins": [SafeCheckpoint()]} | limits
    return run.fit(callbacks, steps=steps, **options)


def last(trainer):
    return f"{trainer.checkpoint_callback.dirpath}/last.ckpt"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signal_ends_the_run_after_its_step_and_it_goes_on_bit_for_bit(run, number):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    _, whole = fit(run)
    trainer, first = fit(run, Send(number))
    assert trainer.global_step == torch.load(last(trainer), weights_only=True)["global_step"] == 4
    assert exit_status(trainer) == 128 + number
    _, second = fit(run, ckpt_path=last(trainer))
    assert first.errors + second.errors == whole.errors
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_signal_to_the_whole_job_leaves_its_workers_at_work(run, noise_data):
    data = noise_data(num_workers=1)
    trainer, module = fit(run, Send(signal.SIGTERM, to=children), data=data)
    assert (trainer.global_step, exit_status(trainer)) == (4, 143)
    assert module.seen == [0, 1, 2, 3]


def test_torchrun_that_hands_an_interrupt_on_is_no_second_one(run):
    trainer, _ = fit(run, Send(signal.SIGINT, to=lambda: [os.getpid()]))
    assert (trainer.global_step, exit_status(trainer)) == (4, 130)


def test_stopped_run_does_not_stay_to_validate(run, generator, clip_data):
    validated = []

    class Validating(generator):
        def validation_step(self, batch, batch_idx):
            validated.append(self.trainer.global_step)

    stop = Send(signal.SIGTERM, step=8)
    epochs = {"steps": 6, "max_epochs": 3, "num_sanity_val_steps": 0}
    trainer, _ = fit(run, stop, module=Validating(), data=clip_data(), **epochs)
    assert trainer.global_step == 9
    assert set(validated) == {6}


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signal_to_any_rank_ends_all_after_the_same_step(run, number, rank):
    class Tell(Callback):
        def teardown(self, trainer, pl_module, stage):
            told = [trainer.global_step, GracefulStop.of(trainer), exit_status(trainer)]
            (run.folder / f"rank{trainer.global_rank}").write_text(json.dumps(told))

    ranks = {"strategy": "ddp_fork", "devices": 2}
    fit(run, Send(number, rank=rank), Tell(), **ranks)
    told = [json.loads((run.folder / f"rank{r}").read_text()) for r in range(2)]
    assert told == [[4, number, 128 + number], [4, number, 0]]
    checkpoint = torch.load(next(run.folder.rglob("last.ckpt")), weights_only=True)
    assert checkpoint["global_step"] == 4
    assert [position["position"] for position in checkpoint["stream_position"]] == [4, 1004]


def test_job_that_slurm_ends_is_queued_again_at_the_end_of_the_step(run, monkeypatch):
    asked = run.folder / "asked"
    scontrol = run.folder / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f"#!/bin/sh\necho $* >> {asked}\n")
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    job = {"JOB_ID": "77", "NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    plugins = [SafeCheckpoint(), SLURMEnvironment(auto_requeue=True)]
    options = {"plugins": plugins, "default_root_dir": str(run.folder)}
    trainer, _ = fit(run, Send(signal.SIGUSR1), **options)
    assert asked.read_text().split() == ["requeue", "77"]
    assert (trainer.global_step, exit_status(trainer)) == (4, 138)
    resumed, module = fit(
        run,
        plugins=[SafeCheckpoint(), SLURMEnvironment(auto_requeue=True)],
        default_root_dir=str(run.folder),
    )
    assert resumed.ckpt_path.endswith("hpc_ckpt_1.ckpt")
    assert module.seen == [4, 5, 6, 7]


def test_sigterm_ends_a_validation_at_once(run, generator, clip_data):
    class Told(generator):
        def validation_step(self, batch, batch_idx):
            os.kill(os.getpid(), signal.SIGTERM)

    options = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = L.Trainer(callbacks=[GracefulStop()], default_root_dir=run.folder, **options)
    with pytest.raises(SystemExit) as stop:
        trainer.validate(Told(), datamodule=clip_data(), verbose=False)
    assert stop.value.code == 143


def test_checkpoints_in_shards_are_refused_with_the_remedy(run):
    trainer = L.Trainer(accelerator="cpu", logger=False, default_root_dir=run.folder)
    trainer.strategy._save_distributed_checkpoint = True
    with pytest.raises(ValueError, match="save_distributed_checkpoint to false"):
        GracefulStop().setup(trainer, L.LightningModule(), "fit")
