"""One video on its way through the segmenter: windows in, records and segments with codes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lit_modules.latent_action.segmentation import Segment, Segmenter

UNKNOWN = -1


@dataclass(frozen=True)
class Window:
    """What is known of a window once it has been measured."""

    index: int
    seconds: float
    """When it begins."""
    still: bool
    energies: dict[str, float]
    """By their names."""
    energy: float
    """The one that decides."""
    smoothed: float
    open: bool
    """Whether a segment is open, as far as it is known by then."""
    codes: list[int] | None
    action_changes: bool | None
    """Whether another action is held in the window's middle than before it; None is not known."""
    action_active: bool | None
    """Whether any action but 0 is held in the window's middle."""


class Found(NamedTuple):
    """A segment with the codes and energies of its windows."""

    number: int
    segment: Segment
    windows: list[Window]


class Progress(NamedTuple):
    """What a batch of windows has led to."""

    windows: list[Window]
    found: list[Found]
    undecided: float
    """Seconds before which no frame is needed any more."""
    prequant: NDArray[np.float32] | None
    """`(b, n, d)`."""


class Session:
    """The state of one video.

    Args:
        segmenter: a fresh one.
        energy: name of the energy that decides.
    """

    def __init__(self, segmenter: Segmenter, energy: str) -> None:
        self.segmenter, self.energy = segmenter, energy
        self.count = 0  # windows so far
        self.found = 0
        self._windows: dict[int, Window] = {}  # those that may still belong to a segment

    def take(
        self,
        batch: dict[str, Any],
        energies: dict[str, Tensor],
        indices: Tensor | None,
        prequant: Tensor | None = None,
    ) -> Progress:
        """Goes through a batch of `VideoWindowDataModule`.

        Args:
            batch: windows of this video.
            energies: `(b,)` each.
            indices: codes of the windows, `(b, n)`.
            prequant: passed through.
        """
        columns = {name: values.double().tolist() for name, values in energies.items()}
        codes = None if indices is None else indices.tolist()
        changes, active = middle_labels(batch["action"], batch["stride"])
        windows: list[Window] = []
        segments: list[Segment] = []
        for i, (seconds, still) in enumerate(
            zip(batch["seconds"][:, 0].tolist(), batch["still"].tolist(), strict=True)
        ):
            measured = {name: column[i] for name, column in columns.items()}
            segments += self.segmenter.push(energy := measured[self.energy], seconds)
            smoothed = self.segmenter.smoothed
            assert smoothed is not None
            window = Window(
                *(self.count, seconds, still, measured, energy, smoothed, self.segmenter.is_open),
                *(codes[i] if codes else None, changes[i], active[i]),
            )
            self._windows[self.count] = window
            self.count += 1
            windows.append(window)
        if batch["last"]:
            segments += self.segmenter.flush(batch["end"])
        found = [self._with_windows(segment) for segment in segments]
        for index in [i for i in self._windows if i < self.segmenter.oldest_window]:
            del self._windows[index]
        kept = None if prequant is None else prequant.float().cpu().numpy()
        return Progress(windows, found, self.segmenter.undecided, kept)

    def _with_windows(self, segment: Segment) -> Found:
        self.found += 1
        return Found(self.found - 1, segment, [self._windows[i] for i in segment.windows])


def middle_labels(action: Tensor, stride: int) -> tuple[list[bool | None], list[bool | None]]:
    """Whether the action changes, and whether there is one, in the middle stride of windows.

    Args:
        action: int64 `(b, T)`, -1 where it is not known.
        stride: steps in the middle that a window answers for.

    Returns:
        Two lists of b, None where it is not known.
    """
    begin = (action.shape[1] - stride) // 2
    middle = action[:, begin : begin + stride]
    before = action[:, max(begin - 1, 0) : begin + stride]
    known = (before != UNKNOWN).all(1).tolist()
    changes = (before.diff(dim=1) != 0).any(1).tolist()
    active = (middle > 0).any(1).tolist()
    return (
        [value if sure else None for value, sure in zip(changes, known, strict=True)],
        [value if sure else None for value, sure in zip(active, known, strict=True)],
    )
