"""What the first picture of a window tells: a small network of convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIDE = 4  # cells along each side of the grid that a picture becomes


class PictureEncoder(nn.Module):
    """A picture of any size, best about 64x64, to 4x4 tokens.

    Args:
        width: channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels_in, channels in ((3, 32), (32, 64), (64, 128)):
            layers += [
                nn.Conv2d(channels_in, channels, 3, stride=2, padding=1),
                nn.GroupNorm(8, channels),
                nn.GELU(),
            ]
        self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(SIDE), nn.Conv2d(128, width, 1))
        self.place = nn.Parameter(torch.zeros(SIDE**2, width))

    def forward(self, image: Tensor) -> Tensor:
        """`(b, 3, h, w)` in [-1, 1] -> `(b, 16, width)`."""
        out: Tensor = self.net(image).flatten(2).mT + self.place
        return out
