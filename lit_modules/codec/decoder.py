"""The light decoder: what the codes of cubes cannot say alone is read from those around them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_modules.mae.attention import initialise
from lit_modules.mae.cubes import FRAMES
from lit_modules.mae.decoder import DecoderBlock
from lit_modules.mae.positions import GridPositions
from lit_modules.mae.regions import RegionEmbedding


class LatentDecoder(nn.Module):
    """Transformer over all cubes of a clip, each block asking the state tokens.

    A cube without codes, lost or never sent, is first taken for what was at its place before (or,
    where nothing was, comes after), and told apart by its depth of 0.

    Args:
        code_dim: values of a cube's codes.
        codebooks: the greatest depth.
        width: channels of a token.
        depth: blocks.
        cube_side: height and width of a cube in pixels.
        frames: frames of a clip in training, an even number.
        size: height and width of a clip in training, in pixels.
        regions: where the bands of the picture end, in shares of its height; the last ends at 1.
    """

    def __init__(
        self,
        code_dim: int,
        codebooks: int,
        width: int,
        depth: int,
        cube_side: int,
        frames: int,
        size: tuple[int, int],
        regions: Sequence[float],
    ) -> None:
        super().__init__()
        grid = (frames // FRAMES, size[0] // cube_side, size[1] // cube_side)
        self.embed = nn.Linear(code_dim, width)
        self.positions = GridPositions(width, grid)
        self.regions = RegionEmbedding(width, regions)
        self.blocks = nn.ModuleList(DecoderBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.to_pixels = nn.Linear(width, FRAMES * cube_side**2 * 3)
        self.apply(initialise)
        self.of_depth = nn.Parameter(torch.empty(codebooks + 1, width))
        nn.init.trunc_normal_(self.of_depth, std=0.02)
        nn.init.zeros_(self.to_pixels.weight)  # begins as what the codes say alone

    def forward(self, codes: Tensor, depth: Tensor, state: Tensor) -> Tensor:
        """What is to be added to the pixels that the codes stand for.

        Args:
            codes: `(b, T, H, W, code_dim)`, those of cubes without any borrowed (see `borrow`).
            depth: how many codebooks told of a cube, int64 `(b, T, H, W)`; 0 where none did.
            state: state tokens, `(b, s, width)`.

        Returns:
            `(b, T, H, W, pixels of a cube)`.
        """
        _, times, rows, columns, _ = codes.shape
        places = self.positions((times, rows, columns)) + self.regions(rows)[:, None]
        tokens = (self.embed(codes) + places + self.of_depth[depth]).flatten(1, 3)
        for block in self.blocks:
            tokens = block(tokens, state, tokens.shape[1])
        out: Tensor = self.to_pixels(self.norm(tokens)).view(*codes.shape[:4], -1)
        return out


def borrow(codes: Tensor, known: Tensor) -> Tensor:
    """Codes of unknown cubes from the nearest known time at their place, rather past than future.

    Args:
        codes: `(b, T, H, W, c)`.
        known: bool `(b, T, H, W)`.

    Returns:
        `(b, T, H, W, c)`; where no time is known the mean of the known neighbours at its own, zero
        where there are none.
    """
    times = torch.arange(codes.shape[1], device=codes.device)[:, None, None]
    never = codes.shape[1]
    past = torch.where(known, times, -1).cummax(1).values
    future = torch.where(known, times, never).flip(1).cummin(1).values.flip(1)
    source = torch.where(past >= 0, past, future)
    found = codes.gather(1, source.clamp(max=never - 1)[..., None].expand_as(codes))
    return torch.where((source < never)[..., None], found, around(codes, known))


def around(codes: Tensor, known: Tensor) -> Tensor:
    """Means of the known among the 3x3 cubes about each, `(b, T, H, W, c)` as the codes."""
    counted = torch.cat([codes * known[..., None], known[..., None].to(codes.dtype)], -1)
    planes = counted.flatten(0, 1).permute(0, 3, 1, 2)  # (b * T, c + 1, H, W)
    means = F.avg_pool2d(planes, 3, 1, 1).permute(0, 2, 3, 1).view(counted.shape)
    return means[..., :-1] / means[..., -1:].clamp_min(1e-3)
