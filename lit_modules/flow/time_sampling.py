"""Which flow times a network is trained at, and which ones sampling steps through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from lit_modules.layers.noise import SampleNoise


class TimeSampler:
    """Draws times for training and lays out times for sampling.

    Esser et al. 2024, "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis".
    `logit_normal` (eq. 19) is the logistic function of a normal number: mostly times in the middle,
    where data and noise are hardest to tell apart. The shift (eq. 23),

        t' = s t / (1 + (s - 1) t),

    moves times towards noise for s > 1, which suits large pictures: many pixels together show
    through more noise. Training and sampling shift alike.

    Args:
        kind: distribution of times in training, before the shift.
        mean: mean of the normal number of `logit_normal`; above 0 means more noise.
        std: standard deviation of the normal number of `logit_normal`, above 0.
        shift: s, above 0; 1 leaves times as they are.

    Raises:
        ValueError: an unknown `kind`, or `std` or `shift` out of range.
    """

    def __init__(
        self,
        kind: Literal["uniform", "logit_normal"] = "logit_normal",
        mean: float = 0.0,
        std: float = 1.0,
        shift: float = 1.0,
    ) -> None:
        if kind not in ("uniform", "logit_normal"):
            raise ValueError(f"kind of times {kind!r} must be uniform or logit_normal")
        for name, value in (("std", std), ("shift", shift)):
            if not value > 0:
                raise ValueError(f"{name} {value} of the flow times must be above 0")
        self.kind, self.mean, self.std, self.shift_by = kind, mean, std, shift

    def sample(self, generators: Sequence[Generator]) -> Tensor:
        """One training time a generator, `(b,)` float32 in [0, 1], on the generators' device."""
        if self.kind == "uniform":
            return self.shift(SampleNoise.uniform(generators))
        normal = SampleNoise.normal(generators)
        return self.shift(torch.sigmoid(self.mean + self.std * normal))

    def schedule(self, steps: int) -> Tensor:
        """Times to sample through: `(steps + 1,)` float32, from 1 (noise) down to 0 (data).

        Raises:
            ValueError: `steps` is below 1.
        """
        if steps < 1:
            raise ValueError(f"steps {steps} must be at least 1")
        return self.shift(torch.linspace(1, 0, steps + 1, dtype=torch.float64)).float()

    def shift(self, t: Tensor) -> Tensor:
        """Shifted times, of any shape, in [0, 1]; 0 and 1 stay where they are."""
        return self.shift_by * t / (1 + (self.shift_by - 1) * t)
