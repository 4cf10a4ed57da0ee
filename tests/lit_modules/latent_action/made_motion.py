"""Windows of motion made on the spot: a paddle that is pushed left and right, and stands still."""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 16
SPEEDS = (0.006, 0.02, 0.1)  # shares of the frame a step


def paddles(windows: int, seed: int = 0, side: int = 20) -> tuple[Tensor, Tensor]:
    """Displacements `(b, 16, side * side, 2)` and the direction of each step `(b, 16)`.

    Three points of the last row but one move together, at one speed for four steps each time.
    """
    generator = torch.Generator().manual_seed(seed)
    way = torch.randint(-1, 2, (windows, STEPS // 4), generator=generator).repeat_interleave(4, 1)
    fast = torch.randint(0, 3, (windows, STEPS // 4), generator=generator).repeat_interleave(4, 1)
    place = torch.randint(0, side - 2, (windows,), generator=generator)
    velocity = torch.zeros(windows, STEPS, side, side, 2)
    for window, column in enumerate(place.tolist()):
        moved = (way[window] * torch.tensor(SPEEDS)[fast[window]])[:, None]
        velocity[window, :, side - 2, column : column + 3, 0] = moved
    return velocity.flatten(2, 3), way
