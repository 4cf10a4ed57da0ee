"""From clips to codes and back: principal components, and what transformers add to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lit_modules.codec.decoder import LatentDecoder, borrow
from lit_modules.codec.rvq import ResidualQuantizer
from lit_modules.mae.cubes import CELL, FRAMES, cut, from_units, grid_of, join
from lit_modules.mae.encoder import HierarchicalEncoder
from lit_modules.mae.state_fusion import StateTokens


class CodecNetwork(nn.Module):
    """HST-MAE's encoder without a mask, residual codebooks, and a light decoder.

    A cube is parted into squares, each with codes of its own. The principal components of such
    parts carry the codec from the first step on: the codes say them, plus what the encoder adds
    from the surroundings, and the decoder adds to the pixels that they stand for. Both begin with
    nothing, so training begins with the best linear transform there is and can only better it.

    Args:
        dims: channels of the encoder's four stages.
        depths: blocks of the encoder's four stages.
        decoder_dim: channels of the decoder.
        decoder_depth: blocks of the decoder.
        patch: height and width of a patch in pixels; a cube is 4 patches wide.
        frames: frames of a clip in training, an even number.
        size: height and width of a clip in training, in pixels.
        state_dim: values of a state vector; 0 for a system that is never given one.
        regions: where the bands of the picture end, in shares of its height; the last ends at 1.
        parts: along each side of a cube.
        code_dim: values of a part's vector, at most its pixels.
        codebooks: how many there are.
        codebook_size: codes of each.
        seed: seed of the codebooks' beginnings.

    Raises:
        ValueError: the cube does not divide into parts, or a part has fewer values than its vector.
    """

    mean: Tensor
    basis: Tensor

    def __init__(
        self,
        dims: Sequence[int],
        depths: Sequence[int],
        decoder_dim: int,
        decoder_depth: int,
        patch: int,
        frames: int,
        size: tuple[int, int],
        state_dim: int,
        regions: Sequence[float],
        parts: int = 1,
        code_dim: int = 64,
        codebooks: int = 6,
        codebook_size: int = 512,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = HierarchicalEncoder(dims, depths, patch, frames, size)
        side = self.encoder.cube_side
        if parts < 1 or side % parts:
            raise ValueError(f"parts {parts} must divide the {side} pixels of a cube's side")
        self.part_side, self.parts, self.code_dim = side // parts, parts**2, code_dim
        values = FRAMES * self.part_side**2 * 3
        if not 1 <= code_dim <= values:
            raise ValueError(f"code_dim {code_dim} must be 1 to the {values} values of a part")
        self.state_tokens = StateTokens(state_dim, decoder_dim, frames)
        self.to_codes = nn.Linear(dims[2], self.parts * code_dim)
        nn.init.zeros_(self.to_codes.weight)
        nn.init.zeros_(self.to_codes.bias)
        self.quantizer = ResidualQuantizer(code_dim, codebooks, codebook_size, seed=seed)
        self.decoder = LatentDecoder(
            *(self.parts * code_dim, codebooks, decoder_dim, decoder_depth, side, frames),
            *(size, regions),
        )
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("basis", torch.zeros(values, code_dim))

    @torch.no_grad()
    def begin(self, video: Tensor) -> None:
        """Finds principal components and codebooks, once, by clips `(b, 3, t, h, w)`.

        Rank 0's are everybody's.
        """
        pixels = self._cut(video).flatten(0, -2)
        self.mean.copy_(pixels.mean(0))
        centred = (pixels - self.mean).double()
        _, vectors = torch.linalg.eigh(centred.mT @ centred)
        self.basis.copy_(vectors.flip(1)[:, : self.code_dim])
        if dist.is_initialized():
            dist.broadcast(self.mean, 0)
            dist.broadcast(self.basis, 0)
        self.quantizer.begin((pixels - self.mean) @ self.basis)

    def encode(self, video: Tensor) -> Tensor:
        """Vectors to be quantised.

        Args:
            video: `(b, 3, t, h, w)` in [-1, 1], of whole mask units.

        Returns:
            float32 `(b, T, H, W, parts, code_dim)`.
        """
        times, rows, columns = grid = grid_of(video, self.encoder.unit_side)
        units = torch.arange(times * rows * columns, device=video.device).expand(len(video), -1)
        latents = from_units(self.encoder(video, units).flatten(0, 1), grid, CELL)
        added: Tensor = self.to_codes(latents).float()
        with torch.autocast(video.device.type, enabled=False):
            vectors: Tensor = (self._cut(video) - self.mean) @ self.basis
        return vectors + added.view(vectors.shape)

    def decode(
        self,
        codes: Tensor,
        depth: Tensor,
        state: Tensor | None = None,
        state_mask: Tensor | None = None,
    ) -> Tensor:
        """Clips from codes.

        Args:
            codes: `(b, T, H, W, parts, code_dim)`; not read where the depth is 0.
            depth: codebooks that told of each cube, int64 `(b, T, H, W)`.
            state: `(b, t, state_dim)`, or None where there is none.
            state_mask: bool `(b, t)`, which frames' state is known; all if absent.

        Returns:
            float32 `(b, 3, t, h, w)` in about [-1, 1].
        """
        flat = borrow(codes.flatten(4), depth > 0)
        frames = codes.shape[1] * FRAMES
        tokens = self.state_tokens(len(codes), frames, state, state_mask)
        added = self.decoder(flat, depth, tokens).float()
        with torch.autocast(codes.device.type, enabled=False):
            pixels = flat.view(codes.shape) @ self.basis.mT + self.mean
        return self._join(pixels) + join(added, self.encoder.cube_side)

    def _cut(self, video: Tensor) -> Tensor:
        """`(b, 3, t, h, w)` -> parts of cubes `(b, T, H, W, parts, values)`."""
        k = round(self.parts**0.5)
        parts = cut(video, self.part_side)
        b, times, rows, columns, values = parts.shape
        parts = parts.reshape(b, times, rows // k, k, columns // k, k, values)
        return parts.transpose(3, 4).flatten(4, 5)

    def _join(self, parts: Tensor) -> Tensor:
        """The inverse of `_cut`."""
        k = round(self.parts**0.5)
        b, times, rows, columns, _, values = parts.shape
        grid = parts.reshape(b, times, rows, columns, k, k, values).transpose(3, 4)
        return join(grid.reshape(b, times, rows * k, columns * k, values), self.part_side)
