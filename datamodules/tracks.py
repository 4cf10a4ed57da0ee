"""Motion of a grid of points, tracked through videos, for models that learn actions from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from datamodules.shuffled import ShuffledDataModule
from datamodules.tracking.collection import open_tracks
from datamodules.tracking.extract import Settings
from datamodules.tracking.motion import STEP_FPS
from datamodules.tracking.store import TracksFile
from datamodules.tracking.trackers import TrackerName
from datamodules.tracking.windows import Stretch, TrackWindows, collate, cut_in_time, stretches


class TracksDataModule(ShuffledDataModule):
    """Windows of motion of a grid of points at 20 Hz, shuffled anew in each pass.

    A batch holds `velocity` float32 `(b, T, P, 2)`: displacement of each point of the grid from a
    step of 1/20 s to the next, x then y, in shares of the frame's width and height, exactly 0
    where nothing changes or the point is lost; `visible` bool `(b, T, P)`: not lost; `seconds`
    float64 `(b, T)`: begin of each step; `action` int64 `(b, T)`: byte of buttons held, -1 where
    no labels are known; `source` int64 `(b,)`: number of the video; `view` int64 `(b,)`: number of
    the camera; `sample` int64 `(b,)`: number of the window in the run; `position`: where the run
    stands after this batch; and with `images` also `image` uint8 `(b, 3, 64, 64)`: RGB, small, the
    frame that the window begins with.

    Videos are tracked once, in several processes, into the cache; what an interrupted run has done
    is not done again. Which window sample k is follows from (seed, k) and the files alone. A file
    that cannot be read is left out and named, as is one that is shorter than a window.

    Args:
        data_dir: folder of videos, of `*.tracks.safetensors` (see `python -m datamodules.tracking`)
            or of HDF5 files with `root/<view>/{tracks,vis}`, looked through to its bottom; or
            several such folders.
        weights: share of each folder in the windows of a pass, in proportion to each other, above
            0; unset each window comes once.
        horizon: steps of a window, of 1/20 s.
        stride: steps from the start of a window to that of the next; 1 takes every window there is.
        batch_size: windows a step and process.
        images: whether batches have `image`.
        tracker: `lucas_kanade`, `dis` (for pictures that move all over) or `cotracker` (a network).
        tracker_checkpoint: of `cotracker`, path of its weights.
        grid: points in a row and in a column, P = grid * grid.
        resize_shorter: pixels that the shorter side of larger frames is shrunk to before tracking.
        pre_gate: brightness in [0, 255] by which some pixel of a grid cell must change for its
            point to be tracked.
        processes: videos that are tracked at once; unset as many as there are processors.
        hdf5_fps: frames a second of HDF5 files, which do not say it.
        val_fraction: share of the videos held out for validation, test and prediction, at least
            one; those of one level stay on one side. Where there is one video or one level only,
            the last part of each video is held out. 0 holds out nothing.
        cache_dir: folder where tracks of videos and of HDF5 files are kept.
        strict: whether a file that cannot be read ends the run.
        seed: seed of the order of windows and of the choice of held-out videos, at least 0.
        val_levels: levels held out instead of a fraction, such as `1-1` or `[1-1,4-2]`.
        num_workers: processes that read windows beside the training; 0 reads in the training
            process, which is enough: windows lie ready on disk.
    """

    collate = staticmethod(collate)
    kind = "windows"

    def __init__(
        self,
        data_dir: str | list[str] = "data_video/breakout",
        weights: list[float] | None = None,
        horizon: int = 16,
        stride: int = 4,
        batch_size: int = 32,
        images: bool = False,
        tracker: TrackerName = "lucas_kanade",
        tracker_checkpoint: str | None = None,
        grid: int = 20,
        resize_shorter: int | None = None,
        pre_gate: int = 8,
        processes: int | None = None,
        hdf5_fps: float = 20.0,
        val_fraction: float = 0.1,
        cache_dir: str = "~/.cache/litarcade",
        strict: bool = False,
        seed: int = 0,
        val_levels: list[str] | str | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, seed, num_workers, val_fraction, val_levels)
        self._at_least({"horizon": (horizon, 1), "stride": (stride, 1)})
        self.folders = [data_dir] if isinstance(data_dir, str) else list(data_dir)
        if weights is not None and (len(weights) != len(self.folders) or min(weights) <= 0):
            raise ValueError(
                f"weights {weights} do not fit {len(self.folders)} folder(s); set data.weights to "
                "one number above 0 for each folder of data.data_dir"
            )
        self.weights, self.horizon, self.stride, self.images = weights, horizon, stride, images
        options: dict[str, Any] = {"grid": grid, "resize_shorter": resize_shorter}
        options |= {"still_difference": pre_gate}
        if tracker_checkpoint:
            options["checkpoint"] = tracker_checkpoint
        self.settings = Settings(tracker, options, images)
        self.processes = processes or os.cpu_count() or 1
        self.hdf5_fps = hdf5_fps
        self.strict = strict
        self.cache_dir = cache_dir
        self.game_names: list[str] = []
        """The videos, relative to their folders; `source` counts them."""
        self.views: list[str] = []
        """Names of the cameras; `view` counts them."""
        self._files: list[tuple[int, TracksFile]] | None = None

    def prepare_data(self) -> None:
        """Tracks what is not tracked yet, on one process of each machine."""
        assert self.files

    @property
    def files(self) -> list[tuple[int, TracksFile]]:
        """Number of the folder and tracks, in the order of folders and names."""
        if self._files is None:
            self._files = [
                (number, file)
                for number, folder in enumerate(self.folders)
                for file in self._of_folder(folder)
            ]
        return self._files

    def _of_folder(self, folder: str) -> list[TracksFile]:
        """The tracks of a folder."""
        cache = Path(self.cache_dir).expanduser() / "tracks"
        processes = 1 if self._ranks[1] else self.processes
        return open_tracks(folder, self.settings, cache, processes, self.strict, self.hdf5_fps)

    def _datasets(self) -> tuple[TrackWindows, TrackWindows]:
        parts = self._long_enough()
        train, held_out = self._sides(parts)
        shape = (self.horizon, self.stride)
        return (
            TrackWindows(train, *shape, self.weights, self.images),
            TrackWindows(held_out, *shape, images=self.images),
        )

    def _long_enough(self) -> list[Stretch]:
        """Stretches that hold a window; counts videos and cameras."""
        names = dict.fromkeys((folder, file.about.name) for folder, file in self.files)
        sources = {key: source for source, key in enumerate(names)}
        self.game_names = [name for _, name in names]
        self.views = sorted({file.about.view for _, file in self.files})
        if len(points := {file.points for _, file in self.files}) > 1:
            raise ValueError(
                f"tracks of {' and '.join(map(str, sorted(points)))} points do not go together; "
                "set data.data_dir to folders of one grid"
            )
        parts = [
            part
            for folder, file in self.files
            for part in stretches(
                file, folder, sources[folder, file.about.name], self.views.index(file.about.view)
            )
            if part.stop - part.first >= self.horizon
        ]
        left_out = sorted(set(sources.values()) - {part.source for part in parts})
        needs = f"a window of {self.horizon} steps ({self.horizon / STEP_FPS:g} s)"
        if not parts:
            raise ValueError(
                f"no video in {', '.join(self.folders)} is as long as {needs}; set data.horizon "
                "lower or record longer ones"
            )
        if left_out:
            short = ", ".join(self.game_names[source] for source in left_out)
            rank_zero_warn(f"shorter than {needs} and left out: {short}")
        return parts

    def _sides(self, parts: list[Stretch]) -> tuple[list[Stretch], list[Stretch]]:
        """What is trained on and what is held out; a video is on one side, as is a level."""
        sources = sorted({part.source for part in parts})
        names = [self.game_names[source] for source in sources]
        split = self._split(names)
        if split.held_out or not self.val_fraction:
            kept = {sources[i] for i in split.held_out}
            train = [part for part in parts if part.source not in kept]
            return train, [part for part in parts if part.source in kept]
        train, held_out = cut_in_time(parts, self.val_fraction, self.horizon)
        if not held_out:
            rank_zero_warn(
                f"nothing in {', '.join(self.folders)} is held out: its one video or level is too "
                "short for a window on either side"
            )
        return train, held_out
