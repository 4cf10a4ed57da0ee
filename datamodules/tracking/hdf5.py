"""Tracks as HDF5 files `root/<view>/{tracks,vis}`, as tools around CoTracker write them.

`tracks` is float32 `(T, H, N, 2)`: of each of T frames the pixels (x, y) at which its N points are
in that frame and the H - 1 next ones, the points being back on the grid in each frame; `vis`
float32 `(T, H, N)` is 1 where a point is seen. Behind the last frame it is repeated. The
attributes `height` and `width` of a view are the size of its frames. Only files written here have
`seconds`, `piece` and `action` of each step beside, as `store` describes them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.tracking.motion import STEP_FPS, Motion, grid_points
from datamodules.tracking.steps import Resampler
from datamodules.tracking.store import (
    FORMAT,
    About,
    Tracks,
    TracksError,
    part_path,
    parts_of,
    reading,
    save,
)

SUFFIXES = (".hdf5", ".h5")
HORIZON = 16
REMEDY = "pip install h5py, or litarcade[latent]"


def h5py() -> Any:
    """The package that reads and writes HDF5.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import h5py  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError(f"HDF5 files need the package h5py; {REMEDY}") from error
    return h5py


def import_hdf5(
    path: Path, name: str, target: Path, fps: float = STEP_FPS, overwrite: bool = False
) -> list[Path]:
    """Turns a file into tracks at 20 Hz, one file a view; leaves those that are there already.

    Of each frame only the way to the next one is taken: what lies further ahead in `tracks`
    begins at points that the next frames do not have.

    Args:
        path: the HDF5 file.
        name: what it is called in `About`.
        target: path of the tracks without a suffix; `.<view>` is added.
        fps: frames a second, where the file does not say.
        overwrite: whether tracks of something else may be replaced.

    Returns:
        The files, one a view, in the order of their names.

    Raises:
        TracksError: if the file cannot be read or is of another form.
        ValueError: if there are tracks of something else.
    """
    package, key, made = h5py(), key_of(path, fps), []
    with reading(), package.File(path, "r") as file:
        if "root" not in file or not len(file["root"]):
            raise TracksError("it has no root/<view>/tracks")
        for view in sorted(file["root"]):
            there = target.with_name(f"{target.name}.{view}")
            made.append(part_path(there, 0))
            known = [one.about.key for one in parts_of(there)]
            if known == [key]:
                continue
            if known and not overwrite:
                raise ValueError(f"{made[-1]} was made of another file; give --overwrite")
            tracks, about = read_view(file["root"][view], view, name, fps)
            save(made[-1], tracks, replace(about, key=key))
    return made


def key_of(path: Path, fps: float) -> str:
    """Tells whether tracks were made of this file in this way."""
    state = path.stat()
    content = f"{FORMAT} {fps} {path.name} {state.st_size} {state.st_mtime_ns}"
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def read_view(group: Any, view: str, name: str, fps: float) -> tuple[Tracks, About]:
    """The tracks of one view."""
    if "tracks" not in group:
        raise TracksError(f"it has no root/{view}/tracks")
    tracks = group["tracks"]
    if tracks.ndim != 4 or tracks.shape[1] < 2 or tracks.shape[3] != 2:
        raise TracksError(
            f"root/{view}/tracks is {tracks.shape}, not (frames, horizon, points, 2) with points "
            "begun anew in each frame"
        )
    frames, _, points, _ = tracks.shape
    height, width = (int(group.attrs.get(side, 0)) for side in ("height", "width"))
    if not (height > 0 and width > 0):
        raise TracksError(f"root/{view} does not say height and width of its frames as attributes")
    way = tracks[: max(0, frames - 1), :2]
    velocity = (way[:, 1] - way[:, 0]) / np.array([width, height], np.float32)
    visible = np.ones(velocity.shape[:2], np.bool_)
    if "vis" in group:
        visible = group["vis"][: len(velocity), 1] > 0.5
    velocity[~visible] = 0
    about = About(name, height=height, width=width, view=view)
    if "seconds" in group:
        known = (group[name][:] for name in ("seconds", "piece", "action"))
        return Tracks(velocity.astype(np.float16), visible, *known), about
    resampler = Resampler(points, STEP_FPS, 0.0)
    motions = enumerate(zip(velocity, visible, strict=True))
    steps = [step for i, m in motions for step in resampler.add(Motion(*m), i / fps, (i + 1) / fps)]
    return Tracks(
        np.array([step.velocity for step in steps], np.float16).reshape(-1, points, 2),
        np.array([step.visible for step in steps], np.bool_).reshape(-1, points),
        np.array([step.seconds for step in steps], np.float64),
        np.zeros(len(steps), np.int32),
        np.full(len(steps), -1, np.int16),
    ), about


def write_hdf5(path: Path, views: Sequence[tuple[Tracks, About]], horizon: int = HORIZON) -> None:
    """Writes the tracks of a video, one group a view, as windows of way that the grid goes.

    Windows follow the motion of the cell in which a point began. No window reaches over a gap in
    the video: behind it the points stand still.

    Args:
        path: the file; complete when it appears.
        views: tracks of each camera.
        horizon: frames of a window.
    """
    package = h5py()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with package.File(part, "w") as file:
            for tracks, about in views:
                group = file.create_group(f"root/{about.view}")
                group.attrs.update(height=about.height, width=about.width)
                write_view(group, tracks, about, horizon)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_view(group: Any, tracks: Tracks, about: About, horizon: int) -> None:
    """Writes what is known of one view."""
    for name in ("seconds", "piece", "action"):
        group.create_dataset(name, data=getattr(tracks, name))
    steps, points = tracks.visible.shape
    shape, chunk = (steps + 1, horizon, points), (1, horizon, points)
    options = {"dtype": "float32", "compression": "gzip"}
    vis = group.create_dataset("vis", shape, chunks=chunk, **options)
    positions = group.create_dataset("tracks", (*shape, 2), chunks=(*chunk, 2), **options)
    start = grid_points(round(points**0.5), about.height, about.width)
    size = np.array([about.width, about.height], np.float32)
    ends = np.append(np.searchsorted(tracks.piece, tracks.piece, side="right"), steps)
    for i, end in enumerate(ends.tolist()):
        ahead = slice(i, min(i + horizon - 1, end))
        behind = horizon - 1 - (ahead.stop - ahead.start)  # steps behind the end, all still
        way = np.pad(tracks.velocity[ahead] * size, ((1, behind), (0, 0), (0, 0)))
        positions[i] = start + np.cumsum(way, axis=0)
        seen = np.pad(tracks.visible[ahead], ((1, behind), (0, 0)), constant_values=True)
        vis[i] = np.logical_and.accumulate(seen, axis=0)
