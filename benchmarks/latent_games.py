"""What latent actions are judged on: recorded games, their motion and their true actions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from datamodules.labels import SUFFIX as LABELS
from datamodules.labels import from_file
from datamodules.tracking.extract import Job, Settings, extract
from datamodules.tracking.store import parts_of
from datamodules.video.decoder import Frame
from datamodules.video.sources import read_in_order
from lit_modules.latent_action import truth
from lit_modules.latent_action.baselines import Recording, recording_of

GAMES = ("Breakout", "Pong", "MontezumaRevenge", "Freeway", "Skiing", "mario")
PARTS = ("train", "held_out")
HELD = 0.97
"""Probability that random play keeps its action for another emulated frame: half a second in the
mean, about as long as people do."""
STEP = 1 / 20


class Play(NamedTuple):
    """A recording with what is known of it, by steps of 1/20 s."""

    video: Path
    seen: Recording
    actions: truth.Labels
    """Effective action of each step `(k,)`."""
    edges: truth.Seconds
    """Beginnings of the steps and the end of the last one `(k + 1,)`."""
    velocity: NDArray[np.float32]
    """Displacement of each grid point in each step `(k, p, 2)`, in shares of the frame."""
    visible: NDArray[np.bool_]
    """Of each point whether it was tracked `(k, p)`."""


def record(game: str, folder: Path, seeds: dict[str, int], frames: int) -> None:
    """Random play into `folder/train` and `folder/held_out`, so many seeds each."""
    for part, first in zip(PARTS, (0, 1000), strict=True):
        if (folder / part).exists():
            continue
        unfinished = folder / f".{part}"
        command = [
            *(sys.executable, "-m", "datamodules.recording", "--env", f"ALE/{game}-v5"),
            *("--episodes", str(seeds[part]), "--seed", str(first), "--frames", str(frames)),
            *("--sticky", str(HELD), "--out", str(unfinished), "--overwrite"),
        ]
        subprocess.run(command, check=True)
        unfinished.rename(folder / part)


def share_out(recordings: Path, folder: Path) -> None:
    """Links recordings of levels into both parts: every third level is held out.

    Raises:
        FileNotFoundError: there are no recordings with labels.
    """
    videos = [path for path in sorted(recordings.glob("*.avi")) if labels_of(path).is_file()]
    levels = sorted({level_of(path) for path in videos})
    if len(levels) < 3:
        raise FileNotFoundError(
            f"{recordings} holds recordings of {len(levels)} levels; give --mario a folder with "
            "three or more, as litarcade-record --env mario makes them"
        )
    for path in videos:
        part = folder / PARTS[levels.index(level_of(path)) % 3 == 1]
        part.mkdir(parents=True, exist_ok=True)
        for file in (path, labels_of(path)):
            if not (part / file.name).exists():
                os.symlink(file.resolve(), part / file.name)


def plays(folder: Path, part: str, game: str, tracks: Path, jobs: int) -> list[Play]:
    """The recordings of a part, tracked; those shorter than two seconds are left out."""
    videos = sorted((folder / part).glob("*.avi"))
    look = partial(play, game=game, tracks=tracks)
    with ProcessPoolExecutor(jobs) as pool:
        found = list(track(pool.map(look, videos), f"{game} {part}", total=len(videos)))
    return [one for one in found if len(one.actions) >= 2 / STEP]


def play(video: Path, game: str, tracks: Path) -> Play:
    """One recording; its tracks are kept below the folder `tracks`."""
    cv2.setNumThreads(1)
    target = tracks / video.stem
    extract(Job(video, video.name, target), Settings())
    parts = [file.all() for file in parts_of(target)]
    velocity = np.concatenate([part.velocity for part in parts]).astype(np.float32)
    begins = np.concatenate([part.seconds for part in parts])
    visible = np.concatenate([part.visible for part in parts])
    edges = np.append(begins, begins[-1] + STEP)
    difference, frame_seconds = frame_differences(video, edges, tracks)

    ram = from_file(labels_of(video)).ram
    if ram is None:
        raise ValueError(f"{labels_of(video)} holds no ram; record it by litarcade-record")
    actions = truth.effective_actions(ram[: len(frame_seconds)], frame_seconds, edges, game)
    true = truth.boundaries(actions, edges)
    return Play(
        video, recording_of(begins, difference, velocity, true), actions, edges, velocity, visible
    )


def frame_differences(
    video: Path, edges: truth.Seconds, cache: Path
) -> tuple[NDArray[np.float32], truth.Seconds]:
    """Mean absolute difference of grey over each step `(k,)`, and the time of every frame."""
    path = cache / f"{video.stem}.differences.npz"
    if path.is_file():
        with np.load(path) as file:
            return file["difference"], file["seconds"]
    gray, times = [], []
    for frame in read_in_order(video):
        if isinstance(frame, Frame):
            gray.append(cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2GRAY))
            times.append(frame.seconds)
    seconds = np.array(times)
    at = truth.nearest(seconds, edges)
    difference = np.array(
        [cv2.absdiff(gray[a], gray[b]).mean() for a, b in pairwise(at)], np.float32
    )
    np.savez(path, difference=difference, seconds=seconds)
    return difference, seconds


def labels_of(video: Path) -> Path:
    """The labels beside a video."""
    return video.with_name(video.stem + LABELS)


def level_of(video: Path) -> str:
    """`1-1` of `000_1-1_xvid.avi`; the name where there is no level in it."""
    found = re.search(r"(?:^|_)(\d-\d)(?:_|$)", video.stem)
    return found[1] if found else video.stem
