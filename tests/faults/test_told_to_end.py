"""Whoever is told to end, all ranks do, after the step at hand, and can go on as if never told."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harms import tell_steps
from laboratory import SYSTEMS, Laboratory, as_compared, last, step_of, wait_for_saves
from processes import PATIENCE, ROOT, Run, checkpoints, ranks, read
from test_resume import assert_identical

GRACE = 30.0
"""Seconds in which all ranks have ended."""
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_run_that_is_told_to_end_saves_its_step_and_resumes(
    name: str,
    number: signal.Signals,
    laboratory: Laboratory,
    times: Callable[[int, int], int],
    tried: Callable[..., None],
    seed: int,
    tmp_path: Path,
) -> None:
    laboratory.whole(name)
    rng = random.Random(f"{seed} {name} {number}")
    for i in range(times(1, 5)):
        folder, told = tmp_path / str(i), tmp_path / f"told{i}"
        run = laboratory.start(name, folder, harm=tell_steps(told))
        wait_for_saves(run, folder, rng.randrange(1, 20), rng)
        run.send(number)
        status = run.end(GRACE)
        if not told.exists():  # it was at its end already
            assert status == 0
            continue
        assert status == 128 + number, run.output[-3000:]
        assert "Traceback" not in run.output
        assert 0 <= step_of(last(folder)) - int(told.read_text()) <= 1
        laboratory.start(name, folder).finish()
        laboratory.check_end(name, folder)
        tried(f"{number.name} to a single process: saved within a step, resumed bit for bit")


def start_two(laboratory: Laboratory, folder: Path, told: Path | None = None) -> list[Run]:
    """Two ranks, as torchrun would start them."""
    version = ("--trainer.logger.version", "0")
    return [
        laboratory.start(
            *("streaming_ae", folder, *TWO, *version),
            harm=told and tell_steps(told.with_name(f"{told.name}_{rank}")),
            environment=environment,
        )
        for rank, environment in enumerate(ranks(2))
    ]


@pytest.fixture(scope="module")
def whole(laboratory: Laboratory) -> dict[str, object]:
    """How two ranks end to whom nothing happens."""
    folder = laboratory.folder / "two_ranks"
    for run in start_two(laboratory, folder):
        run.finish()
    return read(last(folder))


def check_two(whole: dict[str, object], folder: Path) -> None:
    """Holds the end of two ranks against it."""
    end = read(last(folder))
    for key in ("global_step", "state_dict", "optimizer_states", "streams", "stream_position"):
        assert_identical(*(as_compared(x.get(key), key) for x in (whole, end)), key)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("rank", [0, 1])
def test_signal_to_any_rank_ends_all_after_the_same_step(
    rank: int,
    number: signal.Signals,
    laboratory: Laboratory,
    whole: dict[str, object],
    times: Callable[[int, int], int],
    tried: Callable[..., None],
    seed: int,
    tmp_path: Path,
) -> None:
    rng = random.Random(f"{seed} {rank} {number}")
    for i in range(times(1, 5)):
        folder, told = tmp_path / str(i), tmp_path / f"told{i}"
        runs = start_two(laboratory, folder, told)
        wait_for_saves(runs[0], folder, rng.randrange(1, 20), rng)
        runs[rank].send(number)
        statuses = [run.end(GRACE) for run in runs]
        assert statuses == [128 + number, 0], [run.output[-3000:] for run in runs]
        step = int(told.with_name(f"{told.name}_{rank}").read_text())
        assert 0 <= step_of(last(folder)) - step <= 1
        for run in start_two(laboratory, folder):
            run.finish()
        check_two(whole, folder)
        tried(f"{number.name} to one rank of two: both ended, resumed bit for bit")


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()]


OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""As the guide to scaling says: in torchrun's own store ranks that start again find the addresses
of those that are dead (torch 2.13), and wait for them."""


def test_torchrun_starts_again_when_a_rank_is_killed(
    laboratory: Laboratory,
    whole: dict[str, object],
    times: Callable[[int, int], int],
    tried: Callable[..., None],
    seed: int,
    tmp_path: Path,
) -> None:
    rng = random.Random(f"{seed} torchrun")
    for i in range(times(1, 6)):
        folder, log = tmp_path / str(i), tmp_path / f"log{i}.txt"
        arguments = laboratory.arguments("streaming_ae", folder, *TWO)
        elastic = ("--nproc-per-node", "2", "--max-restarts", "2", "--monitor-interval", "0.2")
        elastic = (*elastic, "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
        command = [sys.executable, "-m", "torch.distributed.run", *elastic, "train.py", *arguments]
        version = ("--trainer.logger.version", "0")
        with log.open("w") as out:
            agent = subprocess.Popen(
                [*command, *version],
                cwd=ROOT,
                env=os.environ | OWN_STORE,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + PATIENCE
            while not checkpoints(folder):
                assert agent.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.02)
            time.sleep(rng.uniform(0.0, 1.0))
            victim = children(agent.pid)[i % 2]
            os.kill(victim, signal.SIGKILL)
            status = agent.wait(2 * PATIENCE)
        finally:
            agent.terminate()  # it ends its ranks
            agent.wait(PATIENCE)
        assert status == 0, log.read_text()[-3000:]
        assert "SIGKILL" in log.read_text() or "-9" in log.read_text()
        check_two(whole, folder)
        tried("kill -9 of one rank under torchrun: started again, end bit for bit")
