"""Breakout, SpaceInvaders, Breakout again, 1,000 frames each: what coming back costs.

The ratio is the mean online error of the first 20 frames back over that of the last 100 frames
before the switch. Runs that the folder already holds are not repeated.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.progress import track
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.streaming import ATARI

LEG, BACK, BEFORE = 1000, 20, 100
REMEDIES = {"none": "0", "scenes": "8"}


def main(argv: list[str]) -> dict[str, Any]:
    """Runs both ways for each seed; returns every run's errors by leg and the ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks forgetting", description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark_forgetting"))
    options = parser.parse_args(argv)
    runs = [(remedy, seed) for seed in options.seeds for remedy in REMEDIES]
    rows = [measure(*run, options.folder) for run in track(runs, "training")]
    medians = {
        remedy: statistics.median(row["ratio"] for row in rows if row["remedy"] == remedy)
        for remedy in REMEDIES
    }
    return {"frames_a_leg": LEG, "runs": rows, "median_ratio": medians}


def measure(remedy: str, seed: int, folder: Path) -> dict[str, Any]:
    """One run through the three legs."""
    run = folder / f"{remedy}_{seed}" / "version_0"
    if not (run / "summary.json").exists():
        command = [
            *(sys.executable, "train.py", "fit", "-c", ATARI, "--model.scenes", REMEDIES[remedy]),
            *("--data.games", '["Breakout","SpaceInvaders"]', "--data.switch_every", str(LEG)),
            *("--data.seed", str(seed), "--seed_everything", str(seed)),
            *("--trainer.max_steps", str(2 * LEG + BEFORE)),
            *("--trainer.logger.save_dir", str(folder), "--trainer.logger.version", "version_0"),
            *("--trainer.logger.name", f"{remedy}_{seed}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    errors = [event.value for event in events.Reload().Scalars("online/mse")]
    before = statistics.fmean(errors[LEG - BEFORE : LEG])
    back = statistics.fmean(errors[2 * LEG : 2 * LEG + BACK])
    return {
        "remedy": remedy,
        "seed": seed,
        "before_switch": before,
        "other_game_last100": statistics.fmean(errors[2 * LEG - BEFORE : 2 * LEG]),
        "first_back": back,
        "ratio": back / before,
    }
