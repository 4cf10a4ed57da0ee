"""The hierarchical encoder: four stages over mask units, of which only the visible are computed.

Ryali et al. 2023, "Hiera: A Hierarchical Vision Transformer without the Bells-and-Whistles".
Patches do not overlap and nothing but attention mixes tokens, so a unit is a row of a batch: hidden
ones are left out before the first layer, and what they hold can reach no other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lit_modules.mae.attention import attend, initialise, perceptron
from lit_modules.mae.cubes import CELL, FRAMES, grid_of, take, unit_places
from lit_modules.mae.positions import GridPositions, waves_of_places

UNIT = 8  # patches along each side of a unit: halved three times, one token is left
GLOBAL_FROM = 2  # first of the four stages whose tokens see all visible units


class HierarchicalEncoder(nn.Module):
    """Visible units of a clip to one latent for each of their cubes.

    Stages 1 and 2 attend within a unit, stages 3 and 4 among all visible units; queries are pooled
    2x2 between stages. A cube is the token of stage 3. Stage 4, one token a unit, is given back to
    the unit's cubes.

    Args:
        dims: channels of the four stages.
        depths: blocks of the four stages.
        patch: height and width of a patch in pixels; a cube is 4 patches wide, a unit 8.
        frames: frames of a clip in training, an even number.
        size: height and width of a clip in training, in pixels.
        checkpointing: compute blocks again in the backward pass instead of keeping what they made;
            less memory, a third more work.

    Raises:
        ValueError: `dims` or `depths` are not four.
    """

    def __init__(
        self,
        dims: Sequence[int] = (768, 1024, 1280, 1408),
        depths: Sequence[int] = (1, 2, 3, 1),
        patch: int = 4,
        frames: int = 16,
        size: tuple[int, int] = (224, 224),
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if len(dims) != 4 or len(depths) != 4:
            raise ValueError(f"dims {list(dims)} and depths {list(depths)} must be four each")
        self.patch, self.checkpointing = patch, checkpointing
        self.cube_side, self.unit_side = UNIT // CELL * patch, UNIT * patch
        grid = (frames // FRAMES, size[0] // self.unit_side, size[1] // self.unit_side)
        self.embed = nn.Linear(FRAMES * patch**2 * 3, dims[0])
        # Bolya et al. 2023, "Window Attention is Bugged": only what is global may be interpolated.
        self.in_unit = nn.Parameter(waves_of_places(UNIT, UNIT, dims[0]).flatten(0, 1))
        self.of_unit = GridPositions(dims[0], grid)
        self.stages = nn.ModuleList()
        for stage, (width, depth) in enumerate(zip(dims, depths, strict=True)):
            blocks = nn.ModuleList()
            for index in range(depth):
                pools = index == 0 and stage > 0
                # A pooling block reads tokens of the stage before, and as far as that stage did.
                blocks.append(
                    UnitBlock(
                        dims[stage - 1] if pools else width,
                        width,
                        pools,
                        everywhere=(stage - pools) >= GLOBAL_FROM,
                    )
                )
            self.stages.append(blocks)
        self.norm_coarse = nn.LayerNorm(dims[3])
        self.fuse = nn.Linear(dims[3], dims[2])
        self.norm = nn.LayerNorm(dims[2])
        self.apply(initialise)

    def forward(self, video: Tensor, visible: Tensor) -> Tensor:
        """Encodes what is visible.

        Args:
            video: `(b, 3, t, h, w)` in [-1, 1]; only the visible units are read.
            visible: numbers of the visible units, row-major in time, height, width, int64 `(b, v)`.

        Returns:
            Latents of the visible units' cubes, `(b, v, 4, dims[2])`.

        Raises:
            ValueError: the clip does not divide into units.
        """
        grid = grid_of(video, self.unit_side)
        squares = take(video, unit_places(visible, grid), self.unit_side)
        patches = squares.view(*squares.shape[:4], UNIT, self.patch, UNIT, self.patch)
        # (b, v, c, 2, 8, p, 8, p) -> (b, v, 64, pixels of a patch)
        tokens = self.embed(patches.permute(0, 1, 4, 6, 3, 5, 7, 2).flatten(4).flatten(2, 3))
        tokens = tokens + self.of_unit(grid).flatten(0, 2)[visible][:, :, None] + self.in_unit
        for stage, blocks in enumerate(self.stages):
            for block in blocks:  # type: ignore[attr-defined]
                if self.checkpointing and self.training:
                    tokens = checkpoint(block, tokens, use_reentrant=False)
                else:
                    tokens = block(tokens)
            if stage == GLOBAL_FROM:
                cubes = tokens  # (b, v, 4, dims[2])
        latents: Tensor = self.norm(cubes + self.fuse(self.norm_coarse(tokens)))
        return latents


class UnitBlock(nn.Module):
    """Pre-normalised attention and perceptron over the tokens of units.

    Args:
        width_in: channels of the tokens it is given.
        width: channels of those it returns.
        pools: halve height and width by the greatest of each 2x2 queries; keys stay fine (Hiera,
            figure 5; Fan et al. 2021, "Multiscale Vision Transformers").
        everywhere: attend among all units, else within each.
    """

    def __init__(self, width_in: int, width: int, pools: bool, everywhere: bool) -> None:
        super().__init__()
        self.pools, self.everywhere = pools, everywhere
        self.norm_attention = nn.LayerNorm(width_in)
        self.query_key_value = nn.Linear(width_in, 3 * width)
        self.shortcut = nn.Linear(width_in, width) if pools else None
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = perceptron(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """`(b, v, n, width_in)` -> `(b, v, n, width)`, a quarter of n where it pools."""
        normed = self.norm_attention(tokens)
        query, key, value = self.query_key_value(normed).chunk(3, -1)
        if self.shortcut is not None:
            tokens, query = pool(self.shortcut(normed)), pool(query)
        # (b, v, n, c) -> (b, v * n, c), or (b * v, n, c)
        first = 1 if self.everywhere else 0
        mixed = attend(*(x.flatten(first, first + 1) for x in (query, key, value)))
        tokens = tokens + self.project(mixed).view(tokens.shape)
        out: Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return out


def pool(tokens: Tensor) -> Tensor:
    """Greatest of each 2x2 tokens of a square unit: `(b, v, n, c)` -> `(b, v, n / 4, c)`."""
    b, v, n, c = tokens.shape
    half = round(n**0.5) // 2
    cells = tokens.view(b, v, half, 2, half, 2, c)
    # Three maxima of two: the gradient of one over two axes takes as long as a block's attention.
    across = torch.maximum(cells[:, :, :, :, :, 0], cells[:, :, :, :, :, 1])
    return torch.maximum(across[:, :, :, 0], across[:, :, :, 1]).flatten(2, 3)
