"""How well predicted boundaries of actions fall on true ones, each counted once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

TOLERANCES = (0.1, 0.25)
ROUNDING = 1e-6
"""Seconds: times are sums of steps of 0.05, which are no binary fractions."""


class BoundaryF1(Metric):
    """F1 of boundaries in time, matched one to one within a tolerance.

    A predicted boundary is right if it has a true one to itself that is no further away than the
    tolerance; of all such pairings the one with most pairs counts. So a segmenter that cuts
    everywhere pays in precision. Counts are summed over recordings and over ranks.

    `compute` gives, of each tolerance, `boundary_f1_100ms`, `boundary_precision_100ms` and
    `boundary_recall_100ms`; a share of nothing is 0.

    Args:
        tolerances: most seconds between a predicted and a true boundary.
    """

    full_state_update = False
    higher_is_better = True
    matched: Tensor
    predicted: Tensor
    true: Tensor

    def __init__(self, tolerances: Sequence[float] = TOLERANCES) -> None:
        super().__init__()
        self.tolerances = tuple(tolerances)
        zeros = torch.zeros(len(self.tolerances), dtype=torch.long)
        self.add_state("matched", zeros, dist_reduce_fx="sum")
        self.add_state("predicted", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("true", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, true: Tensor) -> None:
        """Takes the boundaries of one recording, `(m,)` and `(n,)` seconds in any order."""
        for place, tolerance in enumerate(self.tolerances):
            self.matched[place] += count_matches(predicted, true, tolerance)
        self.predicted += predicted.numel()
        self.true += true.numel()

    def compute(self) -> dict[str, Tensor]:
        """F1, precision and recall of each tolerance, in [0, 1]."""
        scores = {}
        for matched, tolerance in zip(self.matched, self.tolerances, strict=True):
            unit = f"{round(1000 * tolerance)}ms"
            scores[f"boundary_f1_{unit}"] = share(2 * matched, self.predicted + self.true)
            scores[f"boundary_precision_{unit}"] = share(matched, self.predicted)
            scores[f"boundary_recall_{unit}"] = share(matched, self.true)
        return scores


def count_matches(predicted: Tensor, true: Tensor, tolerance: float) -> int:
    """Most pairs of a predicted and a true boundary within the tolerance, none used twice.

    In order of time the earliest two that fit may always be paired: giving either another partner
    gains nothing, as every later one reaches at least as far.
    """
    ours, theirs = (sorted(times.double().flatten().tolist()) for times in (predicted, true))
    pairs = i = j = 0
    while i < len(ours) and j < len(theirs):
        late = ours[i] - theirs[j]
        if abs(late) <= tolerance + ROUNDING:
            pairs, i, j = pairs + 1, i + 1, j + 1
        elif late < 0:
            i += 1
        else:
            j += 1
    return pairs


def share(part: Tensor, whole: Tensor) -> Tensor:
    """`part / whole` as float32, 0 where there is nothing."""
    return part.float() / whole.clamp_min(1).float()
