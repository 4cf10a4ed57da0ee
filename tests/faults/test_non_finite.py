"""A loss that is no number ends the run or is gone back behind, and is never saved."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from harms import poison
from laboratory import SYSTEMS, Laboratory, last
from processes import checkpoints, read


def is_finite(path: Path) -> bool:
    """Whether all weights of a checkpoint are numbers."""
    weights = read(path)["state_dict"].values()
    return all(bool(w.isfinite().all()) for w in weights if torch.is_floating_point(w))


@pytest.mark.parametrize("policy", ["stop", "rollback"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_poisoned_batch_reaches_no_checkpoint(
    name: str,
    policy: str,
    laboratory: Laboratory,
    times: Callable[[int, int], int],
    tried: Callable[..., None],
    seed: int,
    tmp_path: Path,
) -> None:
    rng, steps = random.Random(f"{seed} {name} {policy}"), SYSTEMS[name].steps
    for number in range(times(1, 5)):
        folder, at = tmp_path / str(number), rng.randrange(3, steps)
        more = ("--finite_loss.on_nonfinite", policy, "--finite_loss.check_every_n_steps", "5")
        run = laboratory.start(name, folder, *more, harm=poison(at))
        status = run.end()
        assert all(map(is_finite, checkpoints(folder))), at
        # Saves, which look, are every other step: behind the last one none is left to go on with.
        if policy == "stop" or at >= steps - 2:
            assert status == 1, (at, run.output[-3000:])
            (line,) = [line for line in run.output.splitlines() if "error:" in line]
            assert "not finite" in line
            assert read(last(folder))["global_step"] <= at
        else:
            assert status == 0, (at, run.output[-3000:])
            assert run.output.count("rollback 1 of at most") == 1
            assert read(last(folder))["global_step"] == steps
        tried(f"batch of NaN, {policy}: as asked, no bad checkpoint over a good one")
