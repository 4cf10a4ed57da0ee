"""A disk that is full costs files, not the run, and never a checkpoint that was good."""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from laboratory import SYSTEMS, Laboratory, last, step_of
from processes import Run

from lit_modules.checkpoints import read_file

FULL = "was not written at step"
NO_LOG = "training goes on without it"


@contextmanager
def no_file_may_grow(run: Run) -> Iterator[None]:
    """No file of the run may be longer than 512 bytes."""
    assert run.process.pid is not None
    _, hard = resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (512, hard))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


def wait_for_steps(run: Run, folder: Path, steps: int) -> None:
    """Waits until so many steps are saved."""
    run.wait_for(
        lambda: any(step_of(path) >= steps for path in folder.rglob("last.ckpt")), every=0.05
    )
    assert run.alive, run.output[-3000:]


def times_said(said: str, what: str) -> int:
    """In how many lines something is said."""
    return sum(what in line for line in said.splitlines())


@pytest.mark.parametrize("name", SYSTEMS)
def test_run_outlives_a_full_disk_and_saves_again_when_there_is_room(
    name: str,
    laboratory: Laboratory,
    times: Callable[[int, int], int],
    tried: Callable[..., None],
    seed: int,
    tmp_path: Path,
) -> None:
    laboratory.whole(name)
    rng = random.Random(f"{seed} {name}")
    for number in range(times(1, 5)):
        folder = tmp_path / str(number)
        run = laboratory.start(name, folder)
        wait_for_steps(run, folder, rng.randrange(2, SYSTEMS[name].steps // 2))
        with no_file_may_grow(run):
            kept = step_of(last(folder))
            run.wait_for(lambda run=run: times_said(run.output, FULL) >= 2)
            assert run.alive, run.output[-3000:]
            assert read_file(last(folder))["global_step"] >= kept
        said = run.finish()
        assert times_said(said, NO_LOG) <= 1, said
        laboratory.check_end(name, folder)
        tried(f"disk full for a while ({name}): went on, saved again, end bit for bit")


@pytest.mark.parametrize("name", SYSTEMS)
def test_run_that_cannot_save_its_end_says_so_and_keeps_the_last_good_checkpoint(
    name: str,
    laboratory: Laboratory,
    times: Callable[[int, int], int],
    tried: Callable[..., None],
    seed: int,
    tmp_path: Path,
) -> None:
    laboratory.whole(name)
    rng = random.Random(f"{seed} {name} end")
    for number in range(times(1, 5)):
        folder = tmp_path / str(number)
        run = laboratory.start(name, folder)
        wait_for_steps(run, folder, rng.randrange(2, SYSTEMS[name].steps // 2))
        with no_file_may_grow(run):
            status = run.end()
        assert status == 1, run.output[-3000:]
        assert FULL in run.output
        assert "Traceback" not in run.output, run.output[-3000:]
        assert 0 < read_file(last(folder))["global_step"] < SYSTEMS[name].steps
        laboratory.start(name, folder).finish()
        laboratory.check_end(name, folder)
        tried(f"disk full to the end ({name}): status 1, resumed from the last good, bit for bit")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "litarcade", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=30)


def fill(place: Path) -> Path:
    """Leaves not one byte."""
    filler = place / "filler"
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass
    assert shutil.disk_usage(place).free == 0
    return filler


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_file_system_without_room_is_outlived_too(
    name: str,
    small_disk: Path,
    laboratory: Laboratory,
    times: Callable[[int, int], int],
    tried: Callable[..., None],
) -> None:
    laboratory.whole(name)
    for number in range(times(1, 3)):
        folder = small_disk / str(number)
        run = laboratory.start(name, folder)
        wait_for_steps(run, folder, SYSTEMS[name].steps // 4)
        filler = fill(small_disk)
        run.wait_for(lambda run=run: times_said(run.output, FULL) >= 2)
        assert run.alive, run.output[-3000:]
        assert read_file(last(folder))["global_step"] > 0
        filler.unlink()
        said = run.finish()
        assert times_said(said, NO_LOG) <= 1, said
        laboratory.check_end(name, folder)
        shutil.rmtree(folder)
        tried(f"file system full for a while ({name}): went on, saved again, end bit for bit")
