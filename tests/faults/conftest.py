"""What all that does harm shares: how much of it, the data of small runs, a table of what was done.

`FAULTS=full` asks for the full round, `FAULTS=small` for minutes of it; else nothing is done.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from laboratory import Laboratory

ROUND = os.environ.get("FAULTS", "")
TRIED: Counter[str] = Counter()
FAILED: Counter[str] = Counter()
BEGAN = time.monotonic()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of it is slow, and done only where it is asked for."""
    here = Path(__file__).parent
    for item in (item for item in items if here in item.path.parents):
        item.add_marker(pytest.mark.slow)
        if ROUND not in ("small", "full"):
            item.add_marker(pytest.mark.skip(reason="harm is done by `make faults`"))


@pytest.fixture(scope="session")
def times() -> Callable[[int, int], int]:
    """How often something is tried, given as that of the small round and that of the full one."""
    share = float(os.environ.get("FAULTS_SHARE", "1"))
    return lambda small, full: small if ROUND == "small" else max(1, round(share * full))


@pytest.fixture(scope="session")
def seed() -> int:
    """What the moments and places of harm follow from; another one does other harm."""
    return int(os.environ.get("FAULTS_SEED", "0"))


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Counts what was tried for the table at the end, and that it held."""

    def count(what: str, number: int = 1) -> None:
        TRIED[what] += number

    return count


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Laboratory:
    """Small runs of every system and how they end when nothing happens to them."""
    return Laboratory(tmp_path_factory.mktemp("laboratory"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what was tried how often."""
    if TRIED:
        terminalreporter.section(f"harm, {ROUND} round, {time.monotonic() - BEGAN:.0f} s")
        for what, number in sorted(TRIED.items()):
            terminalreporter.write_line(f"| {what} | {number} |")
