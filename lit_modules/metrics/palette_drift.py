"""Whether generated frames keep to the colours of the game, from the first one to the last."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

BITS = 6
"""A colour is told by the upper six bits of each channel: cells of four levels."""

CELLS = 1 << 3 * BITS


class PaletteDrift(Metric):
    """Share of generated pixels whose colour lies outside the palette of real clips.

    A pixel is inside if a real one has its colour to within 4 to 8 levels in each channel.

    `compute` gives `palette_drift` over all frames and `palette_drift_growth`, that of the last
    frame less that of the first: above 0 where colours run away as a clip goes on. Counts are
    summed over ranks.
    """

    full_state_update = False
    higher_is_better = False
    palette: Tensor
    colours: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("palette", torch.zeros(CELLS, dtype=torch.long), dist_reduce_fx="sum")
        # Of all frames, of the first, of the last.
        self.add_state("colours", torch.zeros(3, CELLS, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, real: Tensor | None = None, generated: Tensor | None = None) -> None:
        """Counts colours of clips `(b, 3, t, h, w)` in [0, 1]."""
        if real is not None:
            self.palette += histogram(real)
        if generated is not None:
            parts = generated, generated[:, :, :1], generated[:, :, -1:]
            self.colours += torch.stack([histogram(part) for part in parts])

    def compute(self) -> dict[str, Tensor]:
        """Both shares, in [0, 1] and [-1, 1]."""
        outside = ~neighbourhood(self.palette > 0)
        share = self.colours[:, outside].sum(1) / self.colours.sum(1)
        return {"palette_drift": share[0], "palette_drift_growth": share[2] - share[1]}


def histogram(video: Tensor) -> Tensor:
    """Pixels in each cell of the colour cube, `(b, 3, t, h, w)` in [0, 1] -> int64 `(CELLS,)`."""
    levels = video.detach().float().clamp(0, 1).mul(255).round().long() >> (8 - BITS)
    red, green, blue = levels.unbind(1)
    cell = (red << 2 * BITS) | (green << BITS) | blue
    return torch.bincount(cell.flatten(), minlength=CELLS)


def neighbourhood(cells: Tensor) -> Tensor:
    """The cells and all that touch them, bool `(CELLS,)`."""
    side = 1 << BITS
    cube = cells.view(1, 1, side, side, side).float()
    return F.max_pool3d(cube, 3, stride=1, padding=1).view(-1) > 0
