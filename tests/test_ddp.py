"""Two ranks: different frames, equal replicas, and a run that ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
TWO_RANKS = ("--trainer.devices", "2", "--trainer.strategy", "ddp")


def run(arguments: list[str]) -> None:
    done = subprocess.run(
        arguments, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def fit(folder: Path, preset: str, *more: str) -> list[str]:
    return [
        *("fit", "-c", f"configs/{preset}.yaml", "-c", f"tests/conf/{preset}.yaml"),
        *("--trainer.logger.save_dir", str(folder), *more),
    ]


def ranks(folder: Path, count: int) -> list[dict]:
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(count)]


@pytest.mark.parametrize("preset", ["streaming_ae/atari", "streaming_ae/three_branch"])
def test_replicas_stay_equal_under_ddp_on_different_frames(preset: str, tmp_path: Path) -> None:
    script = str(ROOT / "tests/fit_and_keep.py")
    run([sys.executable, script, str(tmp_path), *fit(tmp_path, preset, *TWO_RANKS)])
    first, second = ranks(tmp_path, 2)
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name]), name
    assert not torch.equal(first["frame"], second["frame"])


def test_two_ranks_see_what_one_rank_with_two_streams_sees(tmp_path: Path) -> None:
    script = str(ROOT / "tests/fit_and_keep.py")
    two, one = tmp_path / "two", tmp_path / "one"
    run([sys.executable, script, str(two), *fit(two, "streaming_ae/atari", *TWO_RANKS)])
    run([sys.executable, script, str(one), *fit(one, "streaming_ae/atari", "--data.streams", "2")])
    both, (alone,) = ranks(two, 2), ranks(one, 1)
    assert torch.equal(torch.cat([rank["frame"] for rank in both]), alone["frame"])
    for name, weight in alone["weights"].items():
        torch.testing.assert_close(both[0]["weights"][name], weight, rtol=0.05, atol=5e-3)


def test_torchrun_trains_to_the_end(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    run([*torchrun, "train.py", *fit(tmp_path, "streaming_ae/atari", *TWO_RANKS)])
    assert (tmp_path / "streaming_ae/version_0/summary.json").is_file()


@pytest.mark.parametrize(("preset", "rate"), [("flow/tiny", "10"), ("mae/tiny", "0.3")])
def test_two_ranks_learn_the_clips_of_one_rank_with_twice_the_batch(
    preset: str, rate: str, recordings: Path, tmp_path: Path
) -> None:
    data = ("--data.data_dir", str(recordings), "--model.optimizer", "SGD")
    data += ("--model.optimizer.lr", rate, "--trainer.max_steps", "5")
    script = str(ROOT / "tests/fit_and_keep.py")
    two, one = tmp_path / "two", tmp_path / "one"
    run([sys.executable, script, str(two), *fit(two, preset, *data, *TWO_RANKS)])
    run([sys.executable, script, str(one), *fit(one, preset, *data, "--data.batch_size", "4")])
    both, (alone,) = ranks(two, 2), ranks(one, 1)
    for name, weight in alone["weights"].items():
        assert torch.equal(both[0]["weights"][name], both[1]["weights"][name]), name
        torch.testing.assert_close(both[0]["weights"][name], weight, rtol=1e-4, atol=1e-6)
