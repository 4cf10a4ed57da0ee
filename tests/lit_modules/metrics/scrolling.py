"""Clips of a made-up platform game: tiles on a plain sky that scroll by."""

from __future__ import annotations

import torch
from torch import Tensor

COLOURS = torch.tensor([[96, 152, 248], [200, 76, 12], [0, 168, 0], [252, 216, 168]]) / 255


def scrolling(n: int, seed: int, t: int = 6, side: int = 32, tile: int = 4) -> Tensor:
    """`n` clips `(n, 3, t, side, side)` in [0, 1]; each at a speed of its own, 0 to 3 pixels."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = side // tile, 2 * side // tile
    clips = []
    for _ in range(n):
        level = torch.zeros(rows, columns, dtype=torch.long)
        level[-2:] = torch.randint(1, 3, (2, columns), generator=generator)
        platform = torch.rand(rows, columns, generator=generator) < 0.1
        level[platform] = 3
        picture = level.repeat_interleave(tile, 0).repeat_interleave(tile, 1)
        speed = int(torch.randint(0, 4, (), generator=generator))
        frames = [picture[:, speed * i : speed * i + side] for i in range(t)]
        clips.append(COLOURS[torch.stack(frames)].permute(3, 0, 1, 2))  # (t, h, w, 3)
    return torch.stack(clips)
