"""Rotary position embedding on a line, a grid or a grid in time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rotate(x: Tensor, sizes: Sequence[int], base: float = 100.0) -> Tensor:
    """Turns pairs of channels by angles that grow with the position along each axis.

    Su et al. 2021, "RoFormer", eq. 15: products of two turned vectors depend on how far apart they
    stand, so grids of any size fit. Each axis turns its own equal share of the channels.

    Args:
        x: queries or keys, `(..., n, d)`, the n positions being those of a grid in row-major order;
            d must divide by twice the number of axes.
        sizes: positions along each axis; their product is n.
        base: longest wavelength, in multiples of 2π positions.
    """
    cos, sin = _turns(tuple(sizes), x.shape[-1], base, x.device, x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def _turns(
    sizes: tuple[int, ...], d: int, base: float, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of all angles, both `(n, d / 2)`."""
    pairs = d // (2 * len(sizes))
    rates = base ** (-torch.arange(pairs, device=device, dtype=torch.float32) / pairs)
    places = torch.cartesian_prod(*(torch.arange(size, device=device) for size in sizes))
    angles = places.reshape(-1, len(sizes), 1) * rates  # (n, axes, pairs)
    angles = angles.flatten(1)
    return angles.cos().to(dtype), angles.sin().to(dtype)
