"""Who trains and who judges: recordings are kept apart by level, by file or in time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn


class Split(NamedTuple):
    """Indices of recordings on either side; none is held out where there is but one group."""

    train: list[int]
    held_out: list[int]


def level_of(name: str) -> str | None:
    """The `<world>-<level>` in a name, at its start or after an underscore.

    `000_1-1_xvid.avi` and `1-1_s2_win.avi` hold `1-1`, `2024-01-02_play.avi` holds none.
    """
    found = re.search(r"(?:^|_)(\d{1,2}-\d{1,2})(?=_|$)", PurePath(name).stem)
    return found and found.group(1)


def split_by_level(names: Sequence[str], levels: Sequence[str]) -> Split:
    """Holds out what shows one of these levels.

    Warns of those that no name holds.

    Raises:
        ValueError: if no name holds any of them, or if nothing is left to train on.
    """
    there = [level_of(name) for name in names]
    known = sorted({level for level in there if level})
    if missing := [level for level in levels if level not in known]:
        problem = (
            f"no file holds level {', '.join(missing)} of data.val_levels; "
            f"there are: {', '.join(known) or 'none, so leave data.val_levels unset'}"
        )
        if len(missing) == len(levels):
            raise ValueError(problem)
        rank_zero_warn(problem)
    held_out = [i for i, level in enumerate(there) if level in levels]
    train = [i for i, level in enumerate(there) if level not in levels]
    if not train:
        raise ValueError(
            f"every file shows one of data.val_levels {', '.join(levels)}; name fewer, so that "
            "some are left to train on"
        )
    return Split(train, held_out)


def split_by_fraction(names: Sequence[str], fraction: float, seed: int) -> Split:
    """Holds out about this fraction of the files; those of one level stay together.

    At least one file is held out and at least one is not, unless all of them show the same level
    or there is but one.
    """
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        groups.setdefault(level_of(name) or f"file {name}", []).append(i)
    order = np.random.default_rng([seed, len(names)]).permutation(sorted(groups)).tolist()
    wanted = max(1, round(fraction * len(names)))
    held_out: list[int] = []
    for group in order[:-1]:  # the last one is kept to train on
        if fraction > 0 and len(held_out) < wanted:
            held_out += groups[group]
    return Split([i for i in range(len(names)) if i not in held_out], sorted(held_out))
