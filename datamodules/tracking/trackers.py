"""Trackers by name."""

from __future__ import annotations

from typing import Any, Literal, get_args

from datamodules.tracking.gated import GatedTracker

TrackerName = Literal["lucas_kanade", "dis", "cotracker"]
TRACKERS: tuple[str, ...] = get_args(TrackerName)


def make_tracker(
    name: TrackerName = "lucas_kanade",
    grid: int = 20,
    resize_shorter: int | None = None,
    checkpoint: str | None = None,
    **options: Any,
) -> GatedTracker:
    """A tracker.

    Args:
        name: `lucas_kanade`, sparse and fast; `dis`, for pictures that move all over; `cotracker`,
            a network.
        grid: points in a row and in a column.
        resize_shorter: pixels that the shorter side of larger frames is shrunk to; None tracks at
            the frame's own size.
        checkpoint: of `cotracker`, the path of its weights.
        options: further arguments of its class.

    Raises:
        ValueError: if there is none of this name, or a checkpoint is missing or not asked for.
    """
    if name not in TRACKERS:
        raise ValueError(f"there is no tracker {name}; choose from {', '.join(TRACKERS)}")
    shared = {"grid": grid, "resize_shorter": resize_shorter} | options
    if name == "cotracker":
        from datamodules.tracking.cotracker import CoTracker

        return CoTracker(checkpoint, **shared)
    if checkpoint:
        raise ValueError(f"the tracker {name} has no weights; leave out checkpoint {checkpoint}")
    if name == "dis":
        from datamodules.tracking.dense import DenseInverseSearch

        return DenseInverseSearch(**shared)
    from datamodules.tracking.lucas_kanade import LucasKanade

    return LucasKanade(**shared)
