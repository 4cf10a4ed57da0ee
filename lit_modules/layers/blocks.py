"""Optional blocks over a code grid: a residual convolution and a transformer block.

Both map `(b, c, h, w)` to `(b, c, h, w)` and end in a zero-initialised layer, so a network into
which they are inserted computes the same as before until it learns.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Pre-normalised residual block, `x + conv(gelu(conv(norm(x))))`, of 3x3 convolutions.

    He et al. 2016, "Identity Mappings in Deep Residual Networks". The normalisation is over one
    sample (one group), because a stream has batch 1.

    Args:
        channels: channels of the grid, at least 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels, affine=False)
        self.expand = nn.Conv2d(channels, channels, 3, padding=1)
        self.project = nn.Conv2d(channels, channels, 3, padding=1)
        _zero_(self.project)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus what the block adds, `(b, c, h, w)`."""
        out: Tensor = x + self.project(F.gelu(self.expand(self.norm(x))))
        return out


class TransformerBlock(nn.Module):
    """Pre-normalised transformer block: every cell of the grid attends to every other.

    Vaswani et al. 2017, "Attention Is All You Need". Where a cell lies is told by a depthwise 3x3
    convolution (Chu et al. 2021, "Conditional Positional Encodings"): it has no table of positions,
    so any grid size fits.

    Args:
        channels: channels of the grid; a multiple of `heads`.
        heads: attention heads, at least 1.
        expansion: hidden width of the feed-forward part, in multiples of `channels`.

    Raises:
        ValueError: `channels` is not a multiple of `heads`.
    """

    def __init__(self, channels: int, heads: int = 4, expansion: int = 2) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels {channels} must be a multiple of heads {heads}")
        self.heads = heads
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm_attention = nn.LayerNorm(channels, elementwise_affine=False)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.project_attention = nn.Linear(channels, channels)
        self.norm_mlp = nn.LayerNorm(channels, elementwise_affine=False)
        self.expand = nn.Linear(channels, expansion * channels)
        self.project_mlp = nn.Linear(expansion * channels, channels)
        _zero_(self.project_attention)
        _zero_(self.project_mlp)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus what attention and the feed-forward part add, `(b, c, h, w)`."""
        height, width = x.shape[-2:]
        tokens = x.flatten(2).mT  # (b, c, h, w) -> (b, h*w, c)
        tokens = tokens + self._attend((x + self.position(x)).flatten(2).mT)
        tokens = tokens + self.project_mlp(F.gelu(self.expand(self.norm_mlp(tokens))))
        out: Tensor = tokens.mT.unflatten(2, (height, width))
        return out

    def _attend(self, tokens: Tensor) -> Tensor:
        qkv = self.query_key_value(self.norm_attention(tokens))
        # (b, n, 3*c) -> 3 x (b, heads, n, c / heads)
        query, key, value = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.project_attention(mixed.transpose(1, 2).flatten(2))
        return out


def _zero_(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
