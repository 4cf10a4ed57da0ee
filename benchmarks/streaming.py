"""Frames per second and online error of each preset and optimizer, per game and seed.

Every run is `train.py fit` in a process of its own, and its figures are those of `summary.json`.
Runs that a folder already holds are not repeated, so an interrupted benchmark goes on where it was,
and they are reported too, so a long one can be run in parts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.progress import track

GAMES = ("Breakout", "SpaceInvaders", "Assault", "Pacman", "Asteroids")
ATARI, THREE_BRANCH = "configs/streaming_ae/atari.yaml", "configs/streaming_ae/three_branch.yaml"
LEARNERS = {
    "atari": [ATARI],
    "atari-stateless": [ATARI, "--model.background", "false"],
    "atari-adam": [ATARI, "--model.optimizer", "Adam", "--model.optimizer.lr", "1.0e-3"],
    "three-branch": [THREE_BRANCH],
    "three-branch-adaptive": [THREE_BRANCH, "--model.optimizer", "AdaptiveObGD"],
    "three-branch-adam": [
        THREE_BRANCH, "--model.optimizer", "Adam", "--model.optimizer.lr", "1.0e-3",
    ],
}  # fmt: skip
FIGURES = (
    "online_mse_first500",
    "online_mse_last100",
    "rounded_code_mse_last100",
    "previous_frame_mse_last100",
    "running_mean_mse_last100",
    "frames_per_second",
)


def main(argv: list[str]) -> dict[str, Any]:
    """Runs what `argv` asks for; returns every run's figures and their means over seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks streaming", description=__doc__)
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=["atari"])
    parser.add_argument("--games", nargs="+", default=GAMES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument(
        "--jobs", type=int, default=1, help="runs at a time, one thread each if > 1"
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark_streaming"))
    options = parser.parse_args(argv)
    runs = [
        (learner, game, seed)
        for learner in options.learners
        for game in options.games
        for seed in options.seeds
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda run: train(run, options), runs)
        list(track(results, "training", total=len(runs)))
    rows = [
        figures(path)
        for path in sorted(options.folder.glob(f"*/frames_{options.frames}/summary.json"))
    ]
    return {
        "frames": options.frames,
        "jobs": options.jobs,
        "runs": rows,
        "means": list(means(rows)),
    }


def train(run: tuple[str, str, int], options: argparse.Namespace) -> None:
    """One training run of a learner on a game with a seed, unless the folder holds it."""
    learner, game, seed = run
    name = f"{learner}_{game}_{seed}"
    if (options.folder / name / f"frames_{options.frames}" / "summary.json").exists():
        return
    command = [
        *(sys.executable, "train.py", "fit", "-c", *LEARNERS[learner]),
        *("--data.games", game, "--data.seed", str(seed), "--seed_everything", str(seed)),
        *("--model.code_bits", "8", "--trainer.max_steps", str(options.frames)),
        *("--trainer.logger.save_dir", str(options.folder), "--trainer.logger.name", name),
        *("--trainer.logger.version", f"frames_{options.frames}"),
    ]
    threads = {"OMP_NUM_THREADS": "1"} if options.jobs > 1 else {}
    done = subprocess.run(
        command, env={**os.environ, **threads}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


def figures(summary: Path) -> dict[str, Any]:
    """What `summary.json` in the folder of a run says."""
    learner, game, seed = summary.parent.parent.name.split("_")[-3:]
    found = json.loads(summary.read_text())
    found["rounded_code_mse_last100"] = found["metrics"]["online/mse_rounded_code"]
    kept = {figure: found[figure] for figure in FIGURES}
    return {"learner": learner, "game": game, "seed": int(seed), **kept}


def means(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Means over seeds, per learner and game, with the worst seed's last-100 error."""
    for learner, game in dict.fromkeys((row["learner"], row["game"]) for row in rows):
        group = [row for row in rows if (row["learner"], row["game"]) == (learner, game)]
        averages = {figure: statistics.fmean(row[figure] for row in group) for figure in FIGURES}
        worst = max(row["online_mse_last100"] for row in group)
        yield {"learner": learner, "game": game, **averages, "worst_seed_last100": worst}
