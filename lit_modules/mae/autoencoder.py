"""HST-MAE: what is seen of a clip is encoded, what is not is decoded from it and the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lit_modules.mae.cubes import (
    CELL,
    FRAMES,
    cube_places,
    cut,
    from_units,
    grid_of,
    join,
    take,
    to_units,
)
from lit_modules.mae.decoder import CubeDecoder, cubes_of
from lit_modules.mae.encoder import HierarchicalEncoder
from lit_modules.mae.masking import hidden_cubes, visible_units
from lit_modules.mae.panorama import borrow
from lit_modules.mae.state_fusion import StateTokens


class Prediction(NamedTuple):
    """What the network makes of a masked clip; v visible units, m hidden cubes computed."""

    latents: Tensor  # of the visible units' cubes, (b, v, 4, dims[2])
    visible: Tensor  # pixels predicted for visible cubes, (b, 4 * v, pixels of a cube)
    hidden: Tensor  # pixels predicted for hidden cubes, (b, m, pixels of a cube)
    visible_cubes: Tensor  # their numbers, int64 (b, 4 * v)
    hidden_cubes: Tensor  # their numbers, int64 (b, m)


class MaskedAutoencoder(nn.Module):
    """Hierarchical spatial-temporal masked autoencoder of video and state.

    Args:
        dims: channels of the encoder's four stages.
        depths: blocks of the encoder's four stages.
        decoder_dim: channels of the decoder.
        decoder_depth: blocks of the decoder.
        patch: height and width of a patch in pixels; a cube is 4 patches wide, a mask unit 8.
        frames: frames of a clip in training, an even number.
        size: height and width of a clip in training, in pixels; multiples of a unit.
        state_dim: values of a state vector; 0 for a system that is never given one.
        regions: where the bands of the picture end, in shares of its height; the last ends at 1.
        checkpointing: compute blocks again in the backward pass instead of keeping what they made;
            less memory, a third more work.

    Raises:
        ValueError: size or frames do not divide into units.
    """

    def __init__(
        self,
        dims: Sequence[int] = (768, 1024, 1280, 1408),
        depths: Sequence[int] = (1, 2, 3, 1),
        decoder_dim: int = 960,
        decoder_depth: int = 4,
        patch: int = 4,
        frames: int = 16,
        size: tuple[int, int] = (224, 224),
        state_dim: int = 0,
        regions: Sequence[float] = (0.13, 0.5, 0.87),
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = HierarchicalEncoder(dims, depths, patch, frames, size, checkpointing)
        grid_of(torch.empty(1, 3, frames, *size, device="meta"), self.encoder.unit_side)
        self.state_tokens = StateTokens(state_dim, decoder_dim, frames)
        self.decoder = CubeDecoder(
            dims[2],
            decoder_dim,
            decoder_depth,
            self.encoder.cube_side,
            frames,
            size,
            regions,
            checkpointing,
        )

    def forward(
        self,
        video: Tensor,
        hidden: Tensor,
        computed: Tensor | None = None,
        state: Tensor | None = None,
        state_mask: Tensor | None = None,
        camera: Tensor | None = None,
    ) -> Prediction:
        """Predicts the pixels of a masked clip.

        Args:
            video: `(b, 3, t, h, w)` in [-1, 1]; the hidden units' pixels are never read.
            hidden: bool `(b, T, H, W)` of mask units, True where hidden (see `masking`).
            computed: bool `(b, T * H * W, 4)`, the cubes that the decoder computes if hidden (see
                `masking.RunningCell`); all if absent.
            state: `(b, t, state_dim)`, or None where there is none.
            state_mask: bool `(b, t)`, which frames' state is known; all if absent.
            camera: its place in each frame in pixels to the right, `(b, t)`, NaN where it is not
                known; None where it never is.

        Raises:
            ValueError: clip, mask and state do not fit each other, or nothing is visible.
        """
        grid = grid_of(video, self.encoder.unit_side)
        if hidden.shape != (len(video), *grid):
            raise ValueError(
                f"mask {tuple(hidden.shape)} must be {(len(video), *grid)}: one value a unit of"
                f" {FRAMES}x{self.encoder.unit_side}x{self.encoder.unit_side} pixels"
            )
        units = visible_units(hidden).to(video.device)
        cubes = hidden_cubes(hidden, computed).to(video.device)
        latents = self.encoder(video, units)
        tokens = self.state_tokens(len(video), video.shape[2], state, state_mask)
        seen = cubes_of(units)
        sides = (self.encoder.unit_side, self.encoder.cube_side)
        borrowed = None if camera is None else borrow(video, units, cubes, grid, sides, camera)
        pixels = self.decoder(
            latents, units, cubes, grid, tokens, self.pixels(video, seen), borrowed
        )
        return Prediction(
            latents, pixels[:, : seen.shape[1]], pixels[:, seen.shape[1] :], seen, cubes
        )

    def pixels(self, video: Tensor, cubes: Tensor) -> Tensor:
        """True pixels of cubes, in the order of the predictions.

        Args:
            video: `(b, 3, t, h, w)`.
            cubes: numbers of cubes, int64 `(b, m)`.

        Returns:
            `(b, m, pixels of a cube)`.
        """
        grid = grid_of(video, self.encoder.unit_side)
        squares = take(video, cube_places(cubes, grid), self.encoder.cube_side)
        return squares.permute(0, 1, 3, 4, 5, 2).flatten(2)  # (b, m, c, 2, s, s): colours last

    def restore(
        self,
        video: Tensor,
        hidden: Tensor,
        state: Tensor | None = None,
        state_mask: Tensor | None = None,
        camera: Tensor | None = None,
    ) -> Tensor:
        """The clip with its hidden units as predicted and its visible ones as they are.

        Args:
            video: `(b, 3, t, h, w)` in [-1, 1]; the hidden units' pixels are never read.
            hidden: bool `(b, T, H, W)` of mask units, True where hidden.
            state: `(b, t, state_dim)`, or None where there is none.
            state_mask: bool `(b, t)`, which frames' state is known; all if absent.
            camera: as in `forward`.

        Returns:
            `(b, 3, t, h, w)`.
        """
        made = self(video, hidden, None, state, state_mask, camera)
        side = self.encoder.cube_side
        units = to_units(cut(video, side), CELL)
        cubes = units.flatten(1, 2)
        rows = torch.arange(len(cubes), device=cubes.device)[:, None]
        cubes = cubes.index_put((rows, made.hidden_cubes), made.hidden.to(cubes.dtype))
        grid = grid_of(video, self.encoder.unit_side)
        return join(from_units(cubes.view(units.shape), grid, CELL), side)
