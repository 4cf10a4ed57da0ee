"""Whatever is in a file, reading it ends, and in nothing but an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("hypothesis", reason="pip install -e .[dev]")

import fuzz
from processes import Run


@pytest.mark.parametrize("name", fuzz.SHARES)
def test_damaged_input_is_read_or_answered(
    name: str,
    times: Callable[[int, int], int],
    tried: Callable[..., None],
    seed: int,
    tmp_path: Path,
) -> None:
    number = dict(fuzz.shares(times(1_000, 100_000)))[name]
    arguments = [name, str(number), str(seed), str(tmp_path)]
    run = Run(arguments, tmp_path / "log.txt", main=fuzz.main)
    status = run.end(120 + number)
    said = run.output
    assert status == 0, f"python -m fuzz {' '.join(arguments)}, {tmp_path}: {said[-4000:]}"
    read = int(said.rpartition("read ")[2])
    assert read >= number // 2
    tried(f"damaged input ({name}), read or answered by an error of ours", read)
