"""Small runs of every system, and what each comes to when nothing happens to it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from made_motion_videos import write_moves
from made_recordings import write_recordings
from processes import Run, checkpoints, command, read
from test_resume import assert_identical

OTHER_FILE_SYSTEM = Path("/dev/shm")
TOLD_APART = ("callbacks", "loops", "pytorch-lightning_version", "run_summary")
"""Entries of a checkpoint that name paths and times, or how often a run was started."""


@dataclass(frozen=True)
class System:
    """A preset to do harm to: `steps` steps of it, with these further arguments."""

    name: str
    preset: str
    steps: int
    more: tuple[str, ...] = ()


SYSTEMS = {
    "streaming_ae": System(
        *("streaming_ae", "atari", 160),
        ("--data.games", '["Breakout","Assault"]', "--data.streams", "2"),
    ),
    "flow": System("flow", "tiny", 60, ("--model.actions", "true")),
    "mae": System("mae", "tiny", 60, ("--model.dynamic_weights", "true")),
    "latent_action": System("latent_action", "tokenizer", 80, ("--data.processes", "1")),
}


class Laboratory:
    """Folder of data, of runs that nothing happened to, and of logs.

    Args:
        folder: where they go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = 0
        self._whole: dict[str, dict[str, Any]] = {}

    @cache  # noqa: B019 (there is one laboratory)
    def data(self, name: str) -> Path:
        """Recordings for a system."""
        if name == "latent_action":
            for video, moves in enumerate((".rr.ll.r.", "l..rr.l.r", "rrl..l.r.")):
                write_moves(self.folder / "moves", f"1-{video + 1}", moves)
            return self.folder / "moves"
        return write_recordings(self.folder / "recordings")

    def arguments(self, name: str, folder: Path, *more: str) -> list[str]:
        """Command line of a run that goes on from wherever the last one in `folder` came to."""
        system = SYSTEMS[name]
        data = ("--data.data_dir", str(self.data(name))) if name != "streaming_ae" else ()
        return command(
            *(system.name, system.preset, folder, "-c", "tests/conf/save_always.yaml"),
            *("--trainer.max_steps", str(system.steps), "--trainer.max_epochs", "-1"),
            *("--trainer.limit_train_batches", "23", *data, *system.more),
            *("--ckpt_path", "last", *more),
        )

    def start(
        self,
        name: str,
        folder: Path,
        *more: str,
        harm: Callable[[], None] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Run:
        """Starts such a run."""
        self.runs += 1
        log = self.folder / f"logs/{self.runs}.txt"
        return Run(self.arguments(name, folder, *more), log, harm, environment)

    def whole(self, name: str) -> dict[str, Any]:
        """The last checkpoint of a run that nothing happened to."""
        if name not in self._whole:
            self.start(name, folder := self.folder / "whole" / name).finish()
            self._whole[name] = read(checkpoints(folder)[0])
        return self._whole[name]

    def check_end(self, name: str, folder: Path) -> None:
        """Holds the end of a run that harm was done to against the one without."""
        whole = self.whole(name)
        end = read(last(folder))
        assert end["global_step"] == SYSTEMS[name].steps
        for key in sorted((whole.keys() | end.keys()) - set(TOLD_APART)):
            assert_identical(*(as_compared(x.get(key), key) for x in (whole, end)), key)


def as_compared(value: Any, key: str) -> Any:
    """An entry of a checkpoint without what is told in several ways.

    Where a stream stands is a snapshot and the frames played since, and a run that was resumed took
    its snapshots elsewhere. That it stands at the same frame, the weights learned since then tell.
    """
    if key != "stream_position":
        return value
    streams = [isinstance(x["position"], dict) and "streams" in x["position"] for x in value]
    return [{"rng": x["rng"]} if s else x for x, s in zip(value, streams, strict=True)]


def last(folder: Path) -> Path:
    """`last.ckpt` of the newest run."""
    (path, *_) = [path for path in checkpoints(folder) if path.name == "last.ckpt"]
    return path


def step_of(path: Path) -> int:
    """Steps that a checkpoint holds."""
    return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"])


def wait_for_saves(run: Run, folder: Path, saves: int, rng: random.Random) -> None:
    """Waits until a run has saved so often, and then a part of the time from one to the next."""
    interval = 0.0
    for _ in range(saves):
        began, stamp = time.monotonic(), newest_stamp(folder)
        run.wait_for(lambda stamp=stamp: newest_stamp(folder) != stamp, 0.01)
        interval = time.monotonic() - began
    run.process.join(rng.uniform(0.0, min(interval, 5.0)))


def newest_stamp(folder: Path) -> int:
    """When something was saved for the last time."""
    return max((path.stat().st_mtime_ns for path in folder.rglob("last.ckpt")), default=0)
