"""How many processes learn and how many read changes nothing of what is learned."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import torch
from harms import write_samples
from laboratory import Laboratory, last
from processes import ranks, read

BATCH = {
    "streaming_ae": "--data.streams",
    "flow": "--data.batch_size",
    "mae": "--data.batch_size",
    "latent_action": "--data.batch_size",
}
"""What is halved where two ranks learn; four samples a step in all."""
RATE = {"streaming_ae": "0.01", "flow": "10", "mae": "0.3", "latent_action": "0.1"}
TOLERANCE = {"streaming_ae": (0.05, 5e-3)}
"""Where a loss holds a maximum or a median over the batch, ranks come to others of it."""


def fit(laboratory: Laboratory, name: str, world: int, workers: int, folder: Path) -> Path:
    """Five steps of plain descent with `world` ranks; their last checkpoint."""
    more = ("--model.optimizer", "SGD", "--model.optimizer.lr", RATE[name])
    more += ("--trainer.max_steps", "5", "--trainer.gradient_clip_val", "null")
    more += (BATCH[name], str(4 // world), "--data.num_workers", str(workers))
    if world > 1:
        more += ("--trainer.devices", str(world), "--trainer.strategy", "ddp")
    environments = ranks(world) if world > 1 else [{}]
    harm = write_samples(folder / "samples")
    runs = [
        laboratory.start(name, folder, *more, harm=harm, environment=environment)
        for environment in environments
    ]
    for run in runs:
        run.finish()
    return last(folder)


def samples(folder: Path, world: int) -> list[list[list[list[int]]]]:
    """Of each rank, of each step, the samples."""
    files = [folder / "samples" / f"rank{rank}" for rank in range(world)]
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]


@pytest.mark.parametrize("name", BATCH)
def test_ranks_and_workers_share_the_work_and_change_nothing(
    name: str,
    laboratory: Laboratory,
    times: Callable[[int, int], int],
    tried: Callable[..., None],
    tmp_path: Path,
) -> None:
    weights, seen = {}, {}
    every = times(0, 1)
    for world, workers in [(1, 0), (2, 0), (1, 2), (2, 1), (1, 1), (2, 2)][: 6 if every else 3]:
        folder = tmp_path / f"{world}_{workers}"
        weights[world, workers] = read(fit(laboratory, name, world, workers, folder))["state_dict"]
        seen[world, workers] = samples(folder, world)
    relative, absolute = TOLERANCE.get(name, (1e-4, 1e-6))
    for world, workers in weights:
        for key, weight in weights[1, 0].items():
            other = weights[world, workers][key]
            if world == 1:
                assert torch.equal(other, weight), (workers, key)
            else:
                torch.testing.assert_close(other, weight, rtol=relative, atol=absolute)
                assert torch.equal(other, weights[2, 0][key]), (workers, key)
        tried(f"results with other ranks and workers ({name})")

    alone = seen[1, 0][0]
    for (world, workers), of_ranks in seen.items():
        assert len(of_ranks) == world
        together = [sorted(chain(*step)) for step in zip(*of_ranks, strict=True)]
        assert together == [sorted(step) for step in alone], workers
        if world == 2 and name != "streaming_ae":
            first, second = ({tuple(s) for step in rank for s in step} for rank in of_ranks)
            assert not first & second
            tried(f"samples of two ranks without one in common ({name})")
