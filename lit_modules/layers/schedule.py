"""A learning rate that warms up and then falls along a half cosine."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

RATES = ("lr", "adam_lr")  # `Muon` keeps a second rate for its vectors


class WarmupCosine(LRScheduler):
    """Linear warm-up, then cosine annealing (Loshchilov and Hutter 2017, "SGDR", without restarts).

    Args:
        optimizer: optimizer whose rates are scaled.
        warmup_steps: steps of linear growth, at least 0.
        total_steps: steps of the whole run; None takes those that the trainer expects.
        final: share of the rate that is left at the end, in [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int = 0,
        total_steps: int | None = None,
        final: float = 0.0,
    ) -> None:
        self.warmup_steps, self.total_steps, self.final = warmup_steps, total_steps, final
        groups = optimizer.param_groups
        self.peaks = [{rate: group[rate] for rate in RATES if rate in group} for group in groups]
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """Share of the full rate at a step, in [0, 1]."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        if self.total_steps is None:
            return 1.0
        length = max(1, self.total_steps - self.warmup_steps)
        progress = min(1.0, (step - self.warmup_steps) / length)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2

    def get_lr(self) -> list[float | Any]:
        """Sets the second rates and returns the first ones."""
        factor = self.factor(self.last_epoch)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group.update({rate: value * factor for rate, value in peak.items() if rate != "lr"})
        return [peak["lr"] * factor for peak in self.peaks]
