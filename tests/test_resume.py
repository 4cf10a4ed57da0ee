"""A run that was killed goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parent.parent
FIVE_GAMES = '["Breakout","Assault","SpaceInvaders","Pacman","Asteroids"]'
STEPS = 400


def command(folder: Path, workers: int, *more: str, preset: str = "atari") -> list[str]:
    """A small run that plays five games at once and saves often."""
    return [
        *(sys.executable, "train.py", "fit"),
        *(
            "-c",
            f"configs/streaming_ae/{preset}.yaml",
            "-c",
            f"tests/conf/streaming_ae/{preset}.yaml",
        ),
        *("--data.games", FIVE_GAMES, "--data.streams", "5", "--data.num_workers", str(workers)),
        *("--trainer.max_steps", str(STEPS), "--trainer.limit_train_batches", "150"),
        *("-c", "tests/conf/save_often.yaml"),
        *("--trainer.logger.save_dir", str(folder), *more),
    ]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(arguments: list[str]) -> None:
    done = start(arguments)
    output, _ = done.communicate(timeout=300)
    assert done.returncode == 0, output[-3000:]


STREAM = ("state_dict", "optimizer_states", "streams", "run_summary")


def final_state(
    folder: Path, steps: int = STEPS, system: str = "streaming_ae", kept: tuple[str, ...] = STREAM
) -> dict[str, Any]:
    """What the last checkpoint of a finished run holds: weights, optimizer, averages, losses."""
    versions = sorted((folder / system).iterdir())
    checkpoint = torch.load(versions[-1] / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == steps
    return {name: checkpoint[name] for name in kept}


def assert_identical(one: Any, other: Any, path: str = "") -> None:
    assert type(one) is type(other), path
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_identical(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_identical(*pair, f"{path}/{index}")
    elif "seconds" not in path:
        assert one == other, path


def wait_for_checkpoint(
    folder: Path, process: subprocess.Popen[str], system: str = "streaming_ae"
) -> Path:
    path = folder / system / "version_0/checkpoints/last.ckpt"
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return path


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_run_resumes_bit_identical_for_all_five_games(workers: int, tmp_path: Path) -> None:
    finish(command(tmp_path / "whole", workers))
    killed = start(command(tmp_path / "killed", workers))
    path = wait_for_checkpoint(tmp_path / "killed", killed)
    time.sleep(random.uniform(0.0, 0.5))
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL  # it had not come to its end
    finish(command(tmp_path / "killed", workers, "--ckpt_path", str(path)))
    assert_identical(final_state(tmp_path / "whole"), final_state(tmp_path / "killed"))


@pytest.mark.parametrize(
    ("system", "workers", "more"),
    [
        ("flow", 0, ("--model.actions", "true")),
        ("flow", 2, ("--model.actions", "true")),
        ("mae", 2, ("--model.dynamic_weights", "true")),
    ],
)
def test_killed_run_over_clips_resumes_bit_identical(
    system: str, workers: int, more: tuple[str, ...], recordings: Path, tmp_path: Path
) -> None:
    def clips(folder: Path, *and_more: str) -> list[str]:
        return [
            *(sys.executable, "train.py", "fit"),
            *("-c", f"configs/{system}/tiny.yaml", "-c", f"tests/conf/{system}/tiny.yaml"),
            *("-c", "tests/conf/save_often.yaml", "--data.data_dir", str(recordings)),
            *("--trainer.max_steps", "120", "--trainer.max_epochs", "-1", *more),
            *("--trainer.limit_train_batches", "11", "--data.num_workers", str(workers)),
            *("--trainer.logger.save_dir", str(folder), *and_more),
        ]

    whole, parts = tmp_path / "whole", tmp_path / "killed"
    finish(clips(whole))
    killed = start(clips(parts))
    path = wait_for_checkpoint(parts, killed, system)
    time.sleep(random.uniform(0.0, 0.5))
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL  # it had not come to its end
    finish(clips(parts, "--ckpt_path", str(path)))
    kept = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")
    states = [final_state(folder, 120, system, kept) for folder in (whole, parts)]
    assert_identical(*states)


def test_interrupted_run_ends_cleanly_with_gif_and_summary_and_resumes(tmp_path: Path) -> None:
    finish(command(tmp_path / "whole", 0))
    stopped = start(command(tmp_path / "stopped", 0))
    path = wait_for_checkpoint(tmp_path / "stopped", stopped)
    stopped.send_signal(signal.SIGINT)
    output, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, output[-3000:]
    assert "Traceback" not in output
    run = path.parent.parent
    assert (run / "summary.json").is_file()
    assert list((run / "samples").glob("*.gif"))
    assert torch.load(path, weights_only=True)["global_step"] < STEPS
    finish(command(tmp_path / "stopped", 0, "--ckpt_path", str(path)))
    assert_identical(final_state(tmp_path / "whole"), final_state(tmp_path / "stopped"))


def test_scenes_and_traces_of_obgd_resume_bit_identical(tmp_path: Path) -> None:
    one_stream = ("--data.streams", "1", "--trainer.max_steps", "90")
    scenes = ("--model.scenes", "4", "--data.switch_every", "30")
    for preset, more in (("atari", (*one_stream, *scenes)), ("three_branch", one_stream)):
        whole, parts = tmp_path / preset / "whole", tmp_path / preset / "parts"
        finish(command(whole, 0, *more, preset=preset))
        finish(command(parts, 0, *more, "--trainer.max_steps", "50", preset=preset))
        path = parts / "streaming_ae/version_0/checkpoints/last.ckpt"
        finish(command(parts, 0, *more, "--ckpt_path", str(path), preset=preset))
        assert_identical(final_state(whole, 90), final_state(parts, 90))
