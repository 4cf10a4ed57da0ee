"""Visible pixels copied to where they fit: games draw the same tiles again and again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_modules.mae.attention import initialise
from lit_modules.mae.cubes import Grid, Places

# What a head begins to lose by a step in time, down and along: games have floors and ceilings, so
# most look along a row.
NEARNESS = torch.tensor(
    [
        *([0.0, 0.0, 0.0], [0.1, 0.2, 0.2], [0.1, 0.4, 0.1], [0.1, 0.8, 0.2]),
        *([0.3, 0.4, 0.4], [0.3, 0.8, 0.1], [0.3, 1.2, 0.4], [0.6, 0.8, 0.8]),
    ]
)


class CopyHead(nn.Module):
    """A mixture of visible cubes' pixels for each hidden cube.

    Attention whose values are true pixels (after Vinyals et al. 2015, "Pointer Networks"): the
    weights of each head are a softmax, and each hidden cube says how much of each head it takes. It
    begins with means of what is visible, the nearer the more, each head's by another measure (after
    Press et al. 2022, "Train Short, Test Long", whose biases are not learned), and knows the
    colours of a level never seen.

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
        self.nearness = nn.Parameter(NEARNESS[torch.arange(heads) % len(NEARNESS)].clone())
        nn.init.zeros_(self.share.weight)
        nn.init.constant_(self.share.bias, 1 / heads)

    def forward(
        self,
        hidden: Tensor,
        visible: Tensor,
        pixels: Tensor,
        hidden_places: Places,
        visible_places: Places,
        grid: Grid,
    ) -> Tensor:
        """Pixels for hidden cubes.

        Args:
            hidden: tokens of the hidden cubes, `(b, m, width)`.
            visible: tokens of the visible cubes, `(b, n, width)`.
            pixels: true pixels of the visible cubes, `(b, n, pixels of a cube)`.
            hidden_places: times, rows and columns of the hidden cubes, int64 `(b, m)` each.
            visible_places: likewise, `(b, n)` each.
            grid: times, rows and columns of cubes.

        Returns:
            `(b, m, pixels of a cube)` float32.
        """
        query = self.query(hidden).unflatten(2, (self.heads, -1)) / self.channels**0.5
        key = self.key(visible).unflatten(2, (self.heads, -1))  # (b, n, heads, channels)
        places, steps = [], []
        for axis, (there, here) in enumerate(zip(hidden_places, visible_places, strict=True)):
            # What nearness takes off is a product too: of where one is and how far that is from
            # the other. So one matrix product makes the scores.
            every = torch.arange(grid[axis], device=here.device)
            far = (here[..., None] - every).abs()[:, :, None].to(key)  # (b, n, 1, length)
            places.append(F.one_hot(there, grid[axis])[:, :, None].to(query))
            steps.append(-self.nearness[:, axis, None].to(key) * far)
        at = torch.cat(places, 3).expand(-1, -1, self.heads, -1)
        scores = torch.einsum(
            "bmhc,bnhc->bhmn", torch.cat([query, at], 3), torch.cat([key, *steps], 3)
        )
        weights = torch.einsum("bmh,bhmn->bmn", self.share(hidden), scores.softmax(-1))
        with torch.autocast(pixels.device.type, enabled=False):  # colours are exact
            copied: Tensor = weights.float() @ pixels.float()
        return copied
