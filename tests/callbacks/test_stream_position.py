"""Stop and resume equals uninterrupted, bit for bit."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from callbacks import StreamPosition
from callbacks.stream_position import rng_states, set_rng_states


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    ("limits", "stop_at"),
    [
        ({"limit_train_batches": 9, "max_epochs": 1}, 4),
        ({"limit_train_batches": 100, "max_epochs": -1, "max_steps": 9}, 4),
        ({"limit_train_batches": 1.0, "max_epochs": 1, "max_steps": 9}, 4),
        ({"limit_train_batches": 3, "max_epochs": 3}, 3),
        ({"limit_train_batches": 3, "max_epochs": 3}, 4),
        ({"limit_train_batches": 3, "max_epochs": -1, "max_steps": 9}, 6),
    ],
)
def test_resume_equals_uninterrupted(run, noise_data, limits, stop_at, num_workers):
    def data():
        return noise_data(num_workers=num_workers)

    trainer, whole = run.fit([StreamPosition()], save_every=stop_at, data=data(), **limits)
    checkpoint = f"{trainer.checkpoint_callback.dirpath}/step={stop_at}.ckpt"
    resumed_trainer, resumed = run.fit(
        [StreamPosition()], ckpt_path=checkpoint, save_every=stop_at, data=data(), **limits
    )
    assert whole.seen == list(range(9))
    assert resumed.seen == list(range(stop_at, 9))
    assert resumed.errors == whole.errors[stop_at:]
    assert resumed_trainer.global_step == trainer.global_step == 9
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_resume_is_silent_about_the_epoch_it_continues(run, recwarn):
    trainer, _ = run.fit([StreamPosition()], save_every=2)
    checkpoint = f"{trainer.checkpoint_callback.dirpath}/step=2.ckpt"
    recwarn.clear()
    run.fit([StreamPosition()], ckpt_path=checkpoint, save_every=2)
    said = [str(warning.message) for warning in recwarn]
    assert not any("resuming from a checkpoint that ended before" in text for text in said)
    assert not any("pre-optimization state" in text for text in said)


def test_checkpoint_loads_with_weights_only(run):
    trainer, _ = run.fit([StreamPosition()], save_every=3)
    checkpoint = torch.load(f"{trainer.checkpoint_callback.dirpath}/last.ckpt", weights_only=True)
    assert checkpoint["stream_position"][0]["position"] == 6


def test_other_number_of_processes_gets_all_positions(run, noise_data):
    class Whole(noise_data):
        def resume_from(self, position):
            self.given = position
            super().resume_from(position[0])

    trainer, _ = run.fit([StreamPosition()], save_every=3)
    path = f"{trainer.checkpoint_callback.dirpath}/step=3.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["stream_position"] *= 2
    torch.save(checkpoint, path)
    data = Whole()
    with pytest.warns(UserWarning, match=r"streams of 2 process.*this run has 1"):
        _, module = run.fit([StreamPosition()], ckpt_path=path, save_every=3, data=data)
    assert data.given == [3, 3]
    assert module.seen == [3, 4, 5]


def test_rng_states_repeat_what_follows():
    def draw():
        return random.gauss(0, 1), np.random.standard_normal(), torch.randn(1).item()  # noqa: NPY002

    draw()  # leaves a spare Gaussian behind in Python's and NumPy's generators
    states = rng_states(torch.device("cpu"))
    first = [draw() for _ in range(3)]
    set_rng_states(states, torch.device("cpu"))
    assert [draw() for _ in range(3)] == first


@pytest.mark.slow
def test_two_ranks_resume_each_its_own_stream(tmp_path):
    def fit(name, *checkpoint):
        folder = tmp_path / name
        folder.mkdir()
        script = Path(__file__).with_name("fit_two_ranks.py")
        command = [sys.executable, str(script), str(folder), "3", *map(str, checkpoint)]
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONPATH": path}
        subprocess.run(command, check=True, timeout=300, capture_output=True, env=environment)
        ranks = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]
        return ranks, json.loads(next(folder.rglob("summary.json")).read_text())

    whole, whole_summary = fit("whole")
    checkpoint = next((tmp_path / "whole").rglob("step=3.ckpt"))
    resumed, resumed_summary = fit("resumed", checkpoint)
    assert [rank["seen"][0] for rank in whole] == [0, 1000]
    for before, after in zip(whole, resumed, strict=True):
        assert after["seen"] == before["seen"][3:]
        assert after["errors"] == before["errors"][3:]
        assert after["weights"] == before["weights"] == whole[0]["weights"]
    mean = np.mean([rank["errors"] for rank in whole])
    for summary in (whole_summary, resumed_summary):
        assert (summary["steps"], summary["frames"]) == (8, 16)
        assert summary["online_mse_last100"] == pytest.approx(mean, rel=1e-5)
        assert summary["online_mse_first500"] == pytest.approx(mean, rel=1e-5)
