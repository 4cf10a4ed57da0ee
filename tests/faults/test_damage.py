"""A checkpoint that is not what was written is found out, and the one before taken instead."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from laboratory import SYSTEMS, Laboratory, last, step_of
from processes import Run

from lit_modules.checkpoints import read_file
from lit_modules.sealed_file import survey, write_sealed

Damage = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, rng: random.Random) -> bytes:
    """One bit is another."""
    place = rng.randrange(8 * len(data))
    return data[: place // 8] + bytes([data[place // 8] ^ 1 << place % 8]) + data[place // 8 + 1 :]


def cut(data: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(1, len(data))]


def empty(data: bytes, rng: random.Random) -> bytes:
    """All is missing."""
    return b""


DAMAGES: dict[str, tuple[Damage, int, int]] = {
    "one bit flipped": (flip, 1, 25),
    "cut short": (cut, 1, 5),
    "emptied": (empty, 1, 2),
}
"""Each with how often it is done to every system, in the small round and in the full one."""


@pytest.fixture(scope="module")
def halves(laboratory: Laboratory) -> dict[str, Path]:
    """Of each system a run that was killed some steps before its end."""
    folders = {}
    for name, system in SYSTEMS.items():
        folder = laboratory.folder / "halves" / name
        run = laboratory.start(name, folder)
        enough = system.steps - 20

        def far_enough(folder: Path = folder, enough: int = enough) -> bool:
            found = list(folder.rglob("last.ckpt"))
            return bool(found) and step_of(found[0]) >= enough

        run.wait_for(far_enough, 0.05)
        assert run.kill()
        folders[name] = folder
    return folders


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("kind", DAMAGES)
def test_run_goes_on_from_a_whole_checkpoint_beside_a_damaged_one(
    kind: str,
    name: str,
    laboratory: Laboratory,
    halves: dict[str, Path],
    times: Callable[[int, int], int],
    tried: Callable[..., None],
    seed: int,
    tmp_path: Path,
) -> None:
    damage, small, full = DAMAGES[kind]
    rng = random.Random(f"{seed} {name} {kind}")
    for number in range(times(small, full)):
        folder = tmp_path / str(number)
        shutil.copytree(halves[name], folder)
        broken, _ = survey(last(folder).parent)  # which a run would go on from
        assert broken is not None
        broken.write_bytes(damage(broken.read_bytes(), rng))
        given = ("--ckpt_path", str(broken)) if number % 2 else ()
        said = laboratory.start(name, folder, *given).finish()
        named = [line for line in said.splitlines() if f"{broken} is " in line]
        assert len(named) == 1, said
        assert "damaged" in named[0], said
        assert "going on from" in named[0], said
        laboratory.check_end(name, folder)
        shutil.rmtree(folder)
        tried(f"checkpoint {kind}: found, resumed from the one before, bit for bit")


def test_no_single_bit_and_no_length_of_a_checkpoint_is_left_unchecked(
    tried: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "a.ckpt"
    write_sealed({"weight": torch.arange(4.0)}, path)
    data = path.read_bytes()
    assert read_file(path)["weight"].tolist() == [0.0, 1.0, 2.0, 3.0]

    def is_found(changed: bytes) -> bool:
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="not a readable checkpoint"):
            read_file(path)
        return True

    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        assert is_found(bytes(flipped)), place
    assert all(is_found(data[:length]) for length in range(len(data)))
    tried("each single bit of a small checkpoint flipped, found", 8 * len(data))
    tried("a small checkpoint cut at each length, found", len(data))


def test_folder_without_a_whole_checkpoint_is_an_error_of_one_line(
    laboratory: Laboratory, halves: dict[str, Path], tried: Callable[..., None], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(halves["flow"], folder)
    for path in folder.rglob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:-1])
    given = ("--ckpt_path", str(last(folder)))
    run: Run = laboratory.start("flow", folder, *given)
    assert run.end() == 1, run.output
    (line,) = [line for line in run.output.splitlines() if "error:" in line]
    assert str(last(folder)) in line
    assert "no other of its folder is whole" in line
    tried("all checkpoints of a folder damaged: one line, nothing begun anew")
