"""Sparse initialisation: every unit starts with few inputs, so that units start unlike."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


@torch.no_grad()
def sparse_init_(
    weight: Tensor,
    sparsity: float = 0.9,
    generator: torch.Generator | None = None,
    transposed: bool = False,
) -> Tensor:
    """Draws U(±sqrt(1 / fan_in)), then zeroes a fraction of each output unit's inputs, in place.

    Elsayed, Vasan, Mahmood 2024, "Streaming Deep Reinforcement Learning Finally Works",
    Algorithm 1. The number of zeros is rounded, and one input always stays: the paper's rounding up
    would leave a unit of less than ten inputs without any.

    Args:
        weight: `(out, in, ...)`.
        sparsity: fraction of inputs that start at zero, in [0, 1).
        generator: where the numbers come from; torch's own by default.
        transposed: `weight` is `(in, out, ...)`, as that of a transposed convolution.

    Returns:
        `weight`.

    Raises:
        ValueError: `sparsity` is out of its range.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity {sparsity} must be in [0, 1); set model.sparsity")
    units = weight.transpose(0, 1) if transposed else weight
    fan_in = units[0].numel()
    limit = math.sqrt(1 / fan_in)
    values = units.new_empty(len(units), fan_in).uniform_(-limit, limit, generator=generator)
    order = units.new_empty(len(units), fan_in).uniform_(generator=generator)
    zeros = min(round(sparsity * fan_in), fan_in - 1)
    values.scatter_(1, order.topk(zeros).indices, 0)
    units.copy_(values.view(units.shape))
    return weight


def sparse_init_module_(
    module: nn.Module, sparsity: float = 0.9, generator: torch.Generator | None = None
) -> nn.Module:
    """Applies `sparse_init_` to every linear and (transposed) convolution layer; biases become 0.

    A weight that is zero throughout, as in the last layer of a residual block, stays zero.

    Args:
        module: any module; its submodules are included.
        sparsity: see `sparse_init_`.
        generator: see `sparse_init_`.

    Returns:
        `module`.

    Raises:
        ValueError: `sparsity` is out of its range, or a transposed convolution has groups.
    """
    for layer in module.modules():
        if not isinstance(layer, nn.Linear | _ConvNd):
            continue
        if isinstance(layer, _ConvTransposeNd) and layer.groups > 1:
            raise ValueError(f"transposed convolution has {layer.groups} groups; use groups=1")
        if layer.weight.any():
            sparse_init_(layer.weight, sparsity, generator, isinstance(layer, _ConvTransposeNd))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return module
