"""The path from data to noise that a flow is trained along."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_TIME = 0.05


class LinearPath:
    """Straight lines from data at t = 0 to noise at t = 1.

    Lipman et al. 2023, "Flow Matching for Generative Modeling", and Liu et al. 2023, "Flow Straight
    and Fast", whose time runs the other way:

        x_t = (1 - t) x0 + t ε
        v   = dx_t / dt = ε - x0

    Times are `(b,)`, one a sample, or of no dimension, one for all; whatever else has the shape
    `(b, ...)`.
    """

    def sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return `x_t` and the velocity there; `x0` itself at t = 0, `noise` itself at t = 1.

        Args:
            x0: data, `(b, ...)`.
            t: times in [0, 1], `(b,)` or `()`.
            noise: standard normal, of the shape of `x0`.

        Returns:
            `(x_t, velocity)`, both of the shape of `x0`.
        """
        return torch.lerp(x0, noise, _like(t, x0)), noise - x0

    def data(self, x_t: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """The end of the line at t = 0: x0 = x_t - t v."""
        return x_t - _like(t, x_t) * velocity

    def noise(self, x_t: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """The end of the line at t = 1: ε = x_t + (1 - t) v."""
        return x_t + (1 - _like(t, x_t)) * velocity

    def velocity(self, x_t: Tensor, data: Tensor, t: Tensor) -> Tensor:
        """The velocity of the line that passes `x_t` and ends in `data`: v = (x_t - x0) / t.

        Li and He 2025, "Back to Basics: Let Denoising Generative Models Denoise". Below t = 0.05,
        where v is all but independent of `data`, 0.05 is divided by.
        """
        return (x_t - data) / _like(t.clamp(min=LEAST_TIME), x_t)


def _like(t: Tensor, x: Tensor) -> Tensor:
    """`(b,)` -> `(b, 1, 1, ...)`, in the dtype of `x`."""
    t = t.to(x.dtype)
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim)) if t.ndim else t
