"""What the encoder's and the decoder's blocks are made of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 64  # channels of an attention head


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Multi-head attention of `(b, n, c)` over `(b, m, c)`, in heads of 64 channels.

    Vaswani et al. 2017, "Attention Is All You Need", eq. 1, by PyTorch's fused kernels.
    """
    heads = max(1, query.shape[-1] // HEAD)
    # (b, n, c) -> (b, heads, n, c / heads)
    q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def perceptron(width: int) -> nn.Sequential:
    """The feed-forward part of a block, four times as wide inside."""
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


def initialise(module: nn.Module) -> None:
    """Starts linear layers so that a signal keeps its size, for `Module.apply`.

    Glorot and Bengio 2010, eq. 16: at any width. A fixed deviation of 0.02 suits about 1000
    channels; at a tenth of that, blocks begin by doing next to nothing.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
