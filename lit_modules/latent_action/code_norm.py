"""Normalisation before rounding: what keeps a codebook from collapsing to a few codes."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

MOMENTUM = 0.05  # share of the newest batch in what is remembered for evaluation
SPREAD = 0.8  # tanh(0.8 z) is all but even over (-1, 1) for a normal z: every level gets its share


class CodeNorm(nn.Module):
    """Gives each dimension of the moving tokens zero mean and a spread that fills the levels.

    Batch normalisation (Ioffe and Szegedy 2015) over the tokens that move; those that do not are
    exactly 0. In training the moments are those of the batch, over all ranks, so that two ranks
    compute what one with both halves does.

    Args:
        dims: dimensions of a token.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dims))
        self.register_buffer("variance", torch.ones(dims))
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, z: Tensor, moving: Tensor) -> Tensor:
        """Tokens `(b, n, dims)` and which of them move `(b, n)` -> `(b, n, dims)`."""
        mask = moving[..., None].to(z.dtype)
        mean, variance = self.mean, self.variance
        if self.training:
            mean, variance = self._moments(z, mask)
        return mask * SPREAD * (z - mean) * (variance + 1.0e-5).rsqrt()

    def _moments(self, z: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of this batch, `(dims,)`; also remembered."""
        total = torch.cat(
            [(z * mask).sum((0, 1)), (z.square() * mask).sum((0, 1)), mask.sum()[None]]
        )
        if dist.is_initialized():
            total = all_reduce(total)  # type: ignore[no-untyped-call]
        first, second, count = torch.tensor_split(total, (len(self.mean), 2 * len(self.mean)))
        mean = first / count.clamp(min=1)
        variance = (second / count.clamp(min=1) - mean.square()).clamp(min=0)
        if count >= 2:
            self.batches += 1
            share = (1 / self.batches).clamp(min=MOMENTUM)  # at first the mean of all so far
            self.mean.lerp_(mean.detach(), share)
            self.variance.lerp_(variance.detach(), share)
            return mean, variance
        return self.mean, self.variance
