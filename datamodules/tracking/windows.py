"""Windows of tracks as a dataset: which there are, on which side, how often each is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, default_collate

from datamodules.clip.sampler import Draw
from datamodules.tracking.store import IMAGE_SIDE, TracksFile

Item = dict[str, Any]
Indices = NDArray[np.int64]


class Stretch(NamedTuple):
    """Steps `[first, stop)` of a file, without a gap, of which windows are made."""

    file: TracksFile
    folder: int
    """Number of the folder that the file is of."""
    source: int
    """Number of the video."""
    view: int
    """Number of the camera."""
    first: int
    stop: int


def stretches(file: TracksFile, folder: int, source: int, view: int) -> list[Stretch]:
    """The stretches of a file between gaps."""
    bounds = [0, *(np.flatnonzero(np.diff(file.piece)) + 1).tolist(), file.steps]
    pairs = pairwise(bounds)
    return [Stretch(file, folder, source, view, a, b) for a, b in pairs if b > a]


def cut_in_time(
    parts: Sequence[Stretch], fraction: float, horizon: int
) -> tuple[list[Stretch], list[Stretch]]:
    """Holds out the last part of each stretch, at least a window; no step is on both sides.

    Args:
        parts: what there is; what has no room for a window on either side only trains.
        fraction: share of the time to hold out.
        horizon: steps of a window.
    """
    train, held_out = [], []
    for part in parts:
        border = part.first + round((1 - fraction) * (part.stop - part.first))
        border = min(border, part.stop - horizon)
        if border - part.first < horizon:
            train.append(part)
        else:
            train.append(part._replace(stop=border))
            held_out.append(part._replace(first=border))
    return train, held_out


class TrackWindows(Dataset[Item]):
    """Every window of some stretches; with weights, some of them in each pass.

    A pass has as many windows as there are. With weights, each folder has its share of them: of a
    folder with more windows than that each pass goes on where the last one stopped, in an order
    that is always the same; one with fewer begins again.

    Args:
        parts: where windows are made of.
        horizon: steps of a window.
        stride: steps between the starts of neighbouring windows.
        weights: of each folder, in proportion to each other; None draws each window once a pass.
        images: whether a small picture goes with each window.
    """

    def __init__(
        self,
        parts: Sequence[Stretch],
        horizon: int,
        stride: int,
        weights: Sequence[float] | None = None,
        images: bool = False,
    ) -> None:
        self.parts, self.horizon, self.images = parts, horizon, images
        starts = [np.arange(p.first, p.stop - horizon + 1, stride) for p in parts]
        self.starts = np.concatenate([np.zeros(0, np.int64), *starts])
        self.part = np.repeat(np.arange(len(parts)), [len(part) for part in starts])
        folders = np.array([part.folder for part in parts], np.int64)[self.part]
        if weights is None:
            self.pools, shares = [np.arange(len(self.starts))], [len(self.starts)]
        else:
            rng = np.random.default_rng(0)
            pools = [np.flatnonzero(folders == folder) for folder in range(len(weights))]
            there = [
                weight if len(pool) else 0.0 for weight, pool in zip(weights, pools, strict=True)
            ]
            total = sum(there) or 1.0
            shares = [round(len(self.starts) * weight / total) for weight in there]
            self.pools = [rng.permutation(pool) for pool in pools]
        self.bounds = np.cumsum([0, *shares])

    def __len__(self) -> int:
        """Number of windows a pass."""
        return int(self.bounds[-1])

    def window(self, draw: int, epoch: int = 0) -> tuple[Stretch, int]:
        """Stretch and first step of the `draw`-th window of a pass."""
        pool = int(np.searchsorted(self.bounds, draw, side="right")) - 1
        first, stop = self.bounds[pool : pool + 2]
        windows = self.pools[pool]
        window = windows[(epoch * (stop - first) + draw - first) % len(windows)]
        return self.parts[self.part[window]], int(self.starts[window])

    def __getitem__(self, draw: Draw | int) -> Item:
        """One window, what is known of it, and the position it is drawn with."""
        if not isinstance(draw, Draw):  # a sampler of Lightning's, as for `overfit_batches`
            draw = Draw(int(draw), int(draw), {})
        part, start = self.window(draw.clip, draw.position.get("epoch", 0))
        stop = start + self.horizon
        velocity, visible = part.file.read(start, stop)
        item = {
            "velocity": velocity.astype(np.float32),
            "visible": visible,
            "seconds": part.file.seconds[start:stop],
            "action": part.file.action[start:stop].astype(np.int64),
            "source": part.source,
            "view": part.view,
            "sample": draw.sample,
            "position": draw.position,
        }
        if self.images:
            image = part.file.image(start)
            blank = np.zeros((3, IMAGE_SIDE, IMAGE_SIDE), np.uint8)
            item["image"] = blank if image is None else image.copy()
        return item


def collate(items: list[Item]) -> Item:
    """A batch, with the position behind its last window."""
    positions = [item.pop("position") for item in items]
    batch: Item = default_collate(items)
    return batch | {"position": positions[-1]}
