"""Finite scalar quantisation: each dimension is rounded to a few levels, and nothing is learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

LEVELS: dict[int, tuple[int, ...]] = {
    16: (5, 3),
    64: (8, 8),
    256: (8, 6, 5),
    512: (8, 8, 8),
    1024: (8, 5, 5, 5),
    2048: (8, 8, 6, 5),
    4096: (7, 5, 5, 5, 5),
}
"""Levels of each dimension by nominal size of the codebook (Mentzer et al. 2023, table 1)."""

MARGIN = 1.0e-3  # how far bounded values reach beyond the outermost levels


def levels_of(size: int) -> tuple[int, ...]:
    """Levels of a codebook by its nominal size; their product is the number of codes.

    Raises:
        ValueError: no levels are known for this size.
    """
    if size not in LEVELS:
        sizes = ", ".join(map(str, LEVELS))
        raise ValueError(f"codebook_size {size} must be one of {sizes}; set model.codebook_size")
    return LEVELS[size]


class FSQ(nn.Module):
    """Quantises vectors to a grid, with gradients passed straight through.

    Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple". A dimension of L levels
    is bounded to (-L/2, L/2) by a hyperbolic tangent, shifted by a half where L is even, and
    rounded. Codes are given in [-1, 1]; the first dimension changes fastest with the index.

    Args:
        levels: levels of each dimension, at least 2 each.

    Raises:
        ValueError: there is no dimension, or one has fewer than two levels.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or min(levels) < 2:
            raise ValueError(f"levels {list(levels)} must be one or more numbers of at least 2")
        self.levels = tuple(levels)
        self.codes = math.prod(levels)
        count = torch.tensor(levels)
        basis = torch.tensor([math.prod(levels[:i]) for i in range(len(levels))])
        offset = (count % 2 == 0) * 0.5
        reach = (count - 1) * (1 + MARGIN) / 2
        buffers = {
            "basis": basis,
            "count": count,
            "offset": offset,
            "reach": reach,
            "shift": torch.atanh(offset / reach),
        }
        for name, value in buffers.items():  # constants: no part of a checkpoint
            self.register_buffer(name, value, persistent=False)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantises.

        Args:
            z: any values, `(..., dimensions)`.

        Returns:
            Codes `(..., dimensions)` in [-1, 1] through which gradients reach `z`, and their
            indices `(...)`, int64 in [0, codes).
        """
        bounded = self.bound(z.float())  # bf16 would round to the wrong level
        codes = bounded + (bounded.round() - bounded).detach()
        codes = codes / self._half
        return codes, self.to_indices(codes)

    def bound(self, z: Tensor) -> Tensor:
        """Values `(..., dimensions)` to where rounding gives the levels; eq. 1, with margin."""
        reach, offset, shift = (
            cast(Tensor, getattr(self, n)) for n in ("reach", "offset", "shift")
        )
        return torch.tanh(z + shift) * reach - offset

    def to_indices(self, codes: Tensor) -> Tensor:
        """Codes `(..., dimensions)` in [-1, 1] -> indices `(...)`, int64; NaN is level 0."""
        places = (codes * self._half + self._half).round().nan_to_num(0.0).long()
        return (places * cast(Tensor, self.basis)).sum(-1)

    def to_codes(self, indices: Tensor) -> Tensor:
        """Indices `(...)` in [0, codes) -> codes `(..., dimensions)` in [-1, 1], float32."""
        basis, count = cast(Tensor, self.basis), cast(Tensor, self.count)
        places = indices[..., None] // basis % count
        return (places - self._half) / self._half

    @property
    def _half(self) -> Tensor:
        return cast(Tensor, self.count) // 2
