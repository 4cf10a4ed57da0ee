"""Visible pixels copied to where they fit: games draw the same tiles again and again."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_modules.mae.attention import initialise


class CopyHead(nn.Module):
    """A mixture of visible cubes' pixels for each hidden cube.

    Attention whose values are true pixels (after Vinyals et al. 2015, "Pointer Networks"): the
    weights of each head are a softmax, and each hidden cube says how much of each head it takes. It
    begins with the mean of what is visible, and knows the colours of a level never seen.

    Args:
        width: channels of the decoder's tokens.
        heads: mixtures that a cube chooses among.
        channels: of the queries and keys of a head.
    """

    def __init__(self, width: int, heads: int = 8, channels: int = 32) -> None:
        super().__init__()
        self.heads, self.channels = heads, channels
        self.query = nn.Linear(width, heads * channels)
        self.key = nn.Linear(width, heads * channels)
        self.share = nn.Linear(width, heads)
        self.apply(initialise)
        nn.init.zeros_(self.share.weight)
        nn.init.constant_(self.share.bias, 1 / heads)

    def forward(self, hidden: Tensor, visible: Tensor, pixels: Tensor) -> Tensor:
        """Pixels for hidden cubes.

        Args:
            hidden: tokens of the hidden cubes, `(b, m, width)`.
            visible: tokens of the visible cubes, `(b, n, width)`.
            pixels: true pixels of the visible cubes, `(b, n, pixels of a cube)`.

        Returns:
            `(b, m, pixels of a cube)` float32.
        """
        query = self.query(hidden).unflatten(2, (self.heads, -1))  # (b, m, heads, channels)
        key = self.key(visible).unflatten(2, (self.heads, -1))
        scores = torch.einsum("bmhc,bnhc->bmhn", query, key) / self.channels**0.5
        weights = self.share(hidden)[..., None] * scores.softmax(-1)  # (b, m, heads, n)
        with torch.autocast(pixels.device.type, enabled=False):  # colours are exact
            copied: Tensor = weights.sum(2).float() @ pixels.float()
        return copied
