"""Frames a second and survival of trackers: ours against plain Lucas-Kanade and DIS, in one run.

Survival is the share of points, and of those whose cell changes, that come back to where they
began when they are followed from a frame to the next and back. Error is in pixels against motion
that is known: a blotched picture scrolls over a plain one. All trackers take turns on the same
pairs of frames, on one thread; time is CPU time. `plain` follows all points by OpenCV's pyramidal
Lucas-Kanade with the same window, levels and check.

Frames are those of a game that stands still but for what moves in it (Breakout, recorded for this)
and of a picture that scrolls all over; `--videos` adds recordings of one's own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from datamodules.recording.__main__ import main as record
from datamodules.tracking import make_tracker
from datamodules.tracking.gated import GatedTracker
from datamodules.tracking.motion import Bools, Gray, Motion
from datamodules.video_io import read_frames

OURS = "lucas_kanade"


def contenders() -> dict[str, GatedTracker]:
    """By name; `plain` and `dis_all` track every point."""
    return {
        OURS: make_tracker("lucas_kanade"),
        "dis": make_tracker("dis"),
        "plain": make_tracker("lucas_kanade", still_difference=-1),
        "dis_all": make_tracker("dis", still_difference=-1),
    }


def main(argv: list[str]) -> dict[str, Any]:
    """Figures of each video."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tracking", description=__doc__)
    parser.add_argument("--frames", type=int, default=300, help="of each video")
    parser.add_argument("--block", type=int, default=20, help="frames a turn")
    parser.add_argument("--games", nargs="+", default=["Breakout", "Pong", "Freeway"])
    parser.add_argument("--videos", nargs="*", type=Path, default=[])
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for game in options.games:
            length, out = f"{options.frames}", f"{folder}/{game}"
            record(["--env", game, "--frames", length, "--out", out])
            (video,) = Path(folder, game).glob("*.avi")
            figures[game] = compare(grays(video, options.frames), options.block)
    for video in options.videos:
        figures[video.stem] = compare(grays(video, options.frames), options.block)
    frames, way = scroll(options.frames)
    figures["scroll"] = compare(frames, options.block, way)
    return {"points": 400, "frames": options.frames, "videos": figures}


def grays(video: Path, count: int) -> list[Gray]:
    """The first frames of a video."""
    tracker = make_tracker()
    return [tracker.gray(rgb) for rgb, _ in islice(read_frames(video), count)]


def scroll(count: int) -> tuple[list[Gray], tuple[float, float]]:
    """Blots on a plain wall, 240x256, that scroll to the left; and the way a frame in pixels."""
    noise = np.random.default_rng(0).standard_normal((240, 256 + 3 * count)).astype(np.float32)
    blots = cv2.GaussianBlur(noise, (0, 0), 3)
    wall = np.clip(blots / blots.std() * 60 + 60, 0, 255).astype(np.uint8)
    return [np.ascontiguousarray(wall[:, 3 * i : 3 * i + 256]) for i in range(count)], (-3.0, 0.0)


def compare(
    frames: Sequence[Gray], block: int, way: tuple[float, float] | None = None
) -> dict[str, float]:
    """Milliseconds a frame and survival of each contender, and ratios taken within a turn."""
    trackers = contenders()
    pairs = list(pairwise(frames))
    times: dict[str, list[float]] = {name: [] for name in trackers}
    motions: dict[str, list[Motion]] = {name: [] for name in trackers}
    for start in range(0, len(pairs), block):
        turn = pairs[start : start + block]
        for name, tracker in trackers.items():
            begin = time.process_time()
            motions[name] += [tracker.step(*pair) for pair in turn]
            times[name].append((time.process_time() - begin) / len(turn))
    moving = np.stack([trackers[OURS].moving(*pair) for pair in pairs])
    row: dict[str, float] = {"height": frames[0].shape[0], "width": frames[0].shape[1]}
    row["moving_share"] = float(moving.mean())
    for name in trackers:
        row |= judged(name, motions[name], moving, frames[0].shape, way)
        row[f"{name}_ms"] = 1e3 * median(times[name])
        row[f"{name}_frames_per_cpu_second"] = 1 / median(times[name])
        if name != OURS:
            turns = zip(times[name], times[OURS], strict=True)
            row[f"{OURS}_over_{name}"] = median(theirs / ours for theirs, ours in turns)
    return {key: round(value, 4) for key, value in row.items()}


def judged(
    name: str,
    motions: Sequence[Motion],
    moving: Bools,
    size: tuple[int, ...],
    way: tuple[float, float] | None,
) -> dict[str, float]:
    """Survival, and error where the way is known."""
    visible = np.stack([motion.visible for motion in motions])
    row = {f"{name}_survival": float(visible.mean())}
    if moving.any():
        row[f"{name}_survival_of_moving"] = float(visible[moving].mean())
    if way is not None:
        velocity = np.stack([motion.velocity for motion in motions]) * (size[1], size[0])
        errors = np.linalg.norm(velocity - way, axis=-1)[visible & moving]
        row[f"{name}_median_error"] = float(np.median(errors))
    return row
