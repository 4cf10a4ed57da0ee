"""The decoder: pixels of hidden cubes from the latents of visible ones and the game's state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lit_modules.mae.attention import attend, initialise, perceptron
from lit_modules.mae.copying import CopyHead
from lit_modules.mae.cubes import CELL, FRAMES, Grid, cube_places, to_units
from lit_modules.mae.panorama import Borrowed
from lit_modules.mae.positions import GridPositions
from lit_modules.mae.regions import RegionEmbedding


class CubeDecoder(nn.Module):
    """Transformer over cubes, each block asking the state tokens between attention and perceptron.

    It computes only the cubes named to it: all hidden ones to restore a clip, half of them in
    training (Wang et al. 2023, "VideoMAE V2", section 3.2).

    Args:
        latent_dim: channels of the encoder's latents.
        width: channels of a token.
        depth: blocks.
        cube_side: height and width of a cube in pixels.
        frames: frames of a clip in training, an even number.
        size: height and width of a clip in training, in pixels.
        regions: where the bands of the picture end, in shares of its height; the last ends at 1.
        checkpointing: compute blocks again in the backward pass instead of keeping what they made.
    """

    def __init__(
        self,
        latent_dim: int = 1280,
        width: int = 960,
        depth: int = 4,
        cube_side: int = 16,
        frames: int = 16,
        size: tuple[int, int] = (224, 224),
        regions: Sequence[float] = (0.13, 0.5, 0.87),
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.embed = nn.Linear(latent_dim, width)
        self.hidden_cube = nn.Parameter(torch.empty(width))
        self.positions = GridPositions(
            width, (frames // FRAMES, size[0] // cube_side, size[1] // cube_side)
        )
        self.regions = RegionEmbedding(width, regions)
        self.blocks = nn.ModuleList(DecoderBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.to_pixels = nn.Linear(width, FRAMES * cube_side**2 * 3)
        self.apply(initialise)
        nn.init.zeros_(self.to_pixels.weight)
        self.copy_visible = CopyHead(width)
        # How much of what other frames show is taken: nearly all, to begin with.
        self.trust = nn.Linear(width, 1)
        nn.init.zeros_(self.trust.weight)
        nn.init.constant_(self.trust.bias, 3.0)
        nn.init.trunc_normal_(self.hidden_cube, std=0.02)

    def forward(
        self,
        latents: Tensor,
        visible: Tensor,
        hidden: Tensor,
        grid: Grid,
        state: Tensor,
        pixels: Tensor | None = None,
        borrowed: Borrowed | None = None,
    ) -> Tensor:
        """Predicts the pixels of visible and of named hidden cubes.

        Args:
            latents: of the visible units' cubes, `(b, v, 4, latent_dim)`.
            visible: numbers of the visible units, int64 `(b, v)`.
            hidden: numbers of the hidden cubes to compute, four a unit, int64 `(b, m)`.
            grid: times, rows and columns of units in the clip.
            state: state tokens, `(b, s, width)`.
            pixels: true pixels of the visible cubes, to be copied to hidden ones, `(b, 4 * v,
                2 * cube_side * cube_side * 3)`; absent where there are latents alone.
            borrowed: what other frames show of the hidden cubes, if known.

        Returns:
            `(b, 4 * v + m, 2 * cube_side * cube_side * 3)`: the visible cubes, then the hidden.
        """
        times, rows, columns = grid
        cubes = (times, rows * CELL, columns * CELL)
        places = self.positions(cubes) + self.regions(cubes[1])[:, None]
        places = to_units(places[None], CELL)[0].flatten(0, 1)  # (4 * T * H * W, width)
        seen = self.embed(latents).flatten(1, 2) + places[cubes_of(visible)]
        tokens = torch.cat([seen, (self.hidden_cube + places[hidden]).to(seen.dtype)], 1)
        count = seen.shape[1]
        for block in self.blocks:
            if self.checkpointing and self.training:
                tokens = checkpoint(block, tokens, state, count, use_reentrant=False)
            else:
                tokens = block(tokens, state, count)
        tokens = self.norm(tokens)
        made: Tensor = self.to_pixels(tokens)
        shown, unseen, asked = made[:, :count], made[:, count:], tokens[:, count:]
        if pixels is not None:
            where = (cube_places(hidden, grid), cube_places(cubes_of(visible), grid))
            unseen = unseen + self.copy_visible(asked, tokens[:, :count], pixels, *where, cubes)
        if borrowed is not None:
            trust = self.trust(asked).float().sigmoid() * borrowed.known
            unseen = torch.lerp(unseen.float(), borrowed.pixels, trust)
        return torch.cat([shown, unseen], 1)


class DecoderBlock(nn.Module):
    """Attention to what is visible, attention to the state and perceptron, each pre-normalised.

    Visible cubes attend to each other, hidden ones to the visible alone (Fu et al. 2024,
    "Rethinking Patch Dependence for Masked Autoencoders"): what is made of a hidden cube does not
    depend on which others are computed, and the work grows with the visible cubes, not the square
    of all.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_visible = nn.LayerNorm(width)
        self.query_visible = nn.Linear(width, width)
        self.key_value_visible = nn.Linear(width, 2 * width)
        self.project_visible = nn.Linear(width, width)
        self.norm_state = nn.LayerNorm(width)
        self.query_state = nn.Linear(width, width)
        self.key_value_state = nn.Linear(width, 2 * width)
        self.project_state = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = perceptron(width)

    def forward(self, tokens: Tensor, state: Tensor, count: int) -> Tensor:
        """One block.

        Args:
            tokens: `(b, n, width)`, the visible ones first.
            state: `(b, s, width)`.
            count: how many are visible.

        Returns:
            `(b, n, width)`.
        """
        normed = self.norm_visible(tokens)
        key, value = self.key_value_visible(normed[:, :count]).chunk(2, -1)
        mixed = attend(self.query_visible(normed), key, value)
        tokens = tokens + self.project_visible(mixed)
        key, value = self.key_value_state(state).chunk(2, -1)
        mixed = attend(self.query_state(self.norm_state(tokens)), key, value)
        tokens = tokens + self.project_state(mixed)
        out: Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return out


def cubes_of(units: Tensor) -> Tensor:
    """Numbers of the cubes of units: int64 `(b, v)` -> `(b, 4 * v)`."""
    within = torch.arange(CELL**2, device=units.device)
    return (units[..., None] * CELL**2 + within).flatten(1)
