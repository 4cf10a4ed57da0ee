"""`kill -9` at any moment: what was saved can be read, and going on from it is exact."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from laboratory import OTHER_FILE_SYSTEM, SYSTEMS, Laboratory, wait_for_saves
from processes import Run, checkpoints

from lit_modules.checkpoints import read_file

NEWEST = 2  # or the one before


def environment(number: int, folder: Path) -> dict[str, str]:
    """`$TMPDIR` is elsewhere in every other run."""
    elsewhere = OTHER_FILE_SYSTEM
    there = elsewhere.is_dir() and elsewhere.stat().st_dev != folder.stat().st_dev
    return {"TMPDIR": str(elsewhere)} if number % 2 and there else {"TMPDIR": str(folder)}


def wait_for_moment(run: Run, folder: Path, rng: random.Random) -> None:
    """A moment of its start, of its training or of its writing."""
    kind = rng.choices(("start", "training", "writing"), (1, 4, 5))[0]
    if kind == "start":
        run.process.join(rng.uniform(0.0, 3.0))
        return
    wait_for_saves(run, folder, rng.randrange(1, 12), rng)
    if kind == "writing":
        run.wait_for(lambda: any(folder.rglob(".*.part")))
        run.process.join(rng.uniform(0.0, 0.02))


def readable(path: Path) -> bool:
    """Whether a checkpoint is whole."""
    try:
        return bool(read_file(path)["global_step"])
    except ValueError:
        return False


@pytest.mark.parametrize("name", SYSTEMS)
def test_killed_runs_go_on_as_if_nothing_had_happened(
    name: str,
    laboratory: Laboratory,
    times: Callable[[int, int], int],
    tried: Callable[..., None],
    seed: int,
    tmp_path: Path,
) -> None:
    rng = random.Random(f"{seed} {name}")
    laboratory.whole(name)
    wanted, killed, runs, unreadable = times(3, 50), 0, 0, 0
    since, ended = 0, True  # kills since the run began
    while killed < wanted or not ended:
        folder = tmp_path / str(runs)
        folder.mkdir(exist_ok=True)
        run = laboratory.start(name, folder, environment=environment(killed, tmp_path))
        if killed < wanted:
            wait_for_moment(run, folder, rng)
            ended = not run.kill()
        else:
            run.finish()
            ended = True
        if not ended:
            killed, since = killed + 1, since + 1
            newest = checkpoints(folder)[:NEWEST]
            unreadable += sum(not readable(path) for path in newest)
            assert not newest or any(map(readable, newest)), newest
            continue
        assert run.process.exitcode == 0, run.output[-3000:]
        laboratory.check_end(name, folder)
        tried(f"kill -9 of {name}, then resumed bit for bit", since)
        since, runs = 0, runs + 1
    assert unreadable == 0
    assert not list(Path(os.environ.get("TMPDIR", "/tmp")).glob("*.ckpt"))
