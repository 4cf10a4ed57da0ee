"""A video U-Net of (2+1)D blocks behind a space-to-depth stem: the fast generator.

Pixels are folded into channels before the first layer, space and time are mixed by separate small
kernels, and attention runs only where the grid is coarse. Frames are kept folded into the batch,
channels last: a 3x3 kernel over space is then an ordinary 2-D convolution, a kernel over time a
product over shifted frames, and neither needs a 3-D convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_modules.flow.embedding import TimeEmbedding
from lit_modules.layers.rope import rotate


class FactorizedVideoUNet(nn.Module):
    """U-Net over `(b, c, t, h, w)` that halves space between its levels and never time.

    Args:
        in_channels: channels of the input: noisy frames, known frames and the mask of those.
        out_channels: channels of the prediction.
        stem: side of the pixel squares that become channels; height and width must divide by it.
        widths: channels of each level, finest first; attention heads of 32 to 64 channels.
        depths: blocks of each level, on either side.
        attention_levels: how many of the coarsest levels attend over space and over time.
        time_dim: values of the embedding of time and condition.
    """

    def __init__(
        self,
        in_channels: int = 7,
        out_channels: int = 3,
        stem: int = 4,
        widths: Sequence[int] = (128, 256, 448),
        depths: Sequence[int] = (2, 2, 2),
        attention_levels: int = 1,
        time_dim: int = 256,
    ) -> None:
        super().__init__()
        if len(widths) != len(depths):
            raise ValueError(f"widths {list(widths)} and depths {list(depths)} differ in length")
        self.stem, self.out_channels = stem, out_channels
        self.embed_time = TimeEmbedding(time_dim)
        self.fold = nn.Conv2d(in_channels * stem**2, widths[0], 3, padding=1)

        def stage(level: int) -> nn.ModuleList:
            attends = level >= len(widths) - attention_levels
            return nn.ModuleList(
                FactorizedBlock(widths[level], time_dim, attends) for _ in range(depths[level])
            )

        levels = range(len(widths))
        finer = list(pairwise(widths))
        self.down_stages = nn.ModuleList(stage(level) for level in levels)
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in finer)
        self.ups = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in finer)
        self.merges = nn.ModuleList(nn.Conv2d(2 * a, a, 1) for a, _ in finer)
        self.up_stages = nn.ModuleList(stage(level) for level in levels)
        self.norm = ChannelNorm(widths[0])
        self.unfold = nn.Conv2d(widths[0], out_channels * stem**2, 3, padding=1)
        nn.init.zeros_(self.unfold.weight)
        nn.init.zeros_(self.unfold.bias)  # type: ignore[arg-type]
        self.pass_on = nn.Linear(time_dim, out_channels)
        nn.init.zeros_(self.pass_on.weight)
        nn.init.zeros_(self.pass_on.bias)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor | None = None) -> Tensor:
        """Predicts one value per pixel.

        Args:
            x: noisy and known frames, `(b, in_channels, t, h, w)`.
            time: flow time of each clip in [0, 1], `(b,)`.
            condition: embedding of what is known of each frame, `(b, t, time_dim)`, or None.

        Returns:
            `(b, out_channels, t, h, w)`.

        Raises:
            ValueError: height or width does not divide by the stem.
        """
        b, _, t, height, width = x.shape
        for name, side in (("height", height), ("width", width)):
            if side % self.stem:
                raise ValueError(f"frame {name} {side} must divide by {self.stem}; set data.size")
        embedding = self.embed_time(time)
        share = self.pass_on(F.silu(embedding))[..., None, None, None]
        signal = embedding[:, None].expand(b, t, -1)
        if condition is not None:
            signal = signal + condition
        signal = F.silu(signal).flatten(0, 1)  # (b * t, time_dim)

        frames = x.transpose(1, 2).flatten(0, 1)  # (b, c, t, h, w) -> (b * t, c, h, w)
        folded = F.pixel_unshuffle(frames, self.stem).contiguous(memory_format=torch.channels_last)
        grid = self.fold(folded)
        skips: list[Tensor] = []
        for level, stage in enumerate(self.down_stages):
            for block in stage:  # type: ignore[attr-defined]
                grid = block(grid, signal, t)
            if level < len(self.downs):
                skips.append(grid)
                grid = self.downs[level](grid)
        for level in reversed(range(len(self.up_stages))):
            if level < len(skips):
                skip = skips[level]
                grid = F.interpolate(self.ups[level](grid), size=skip.shape[2:], mode="nearest")
                grid = self.merges[level](torch.cat([grid, skip], 1))
            for block in self.up_stages[level]:  # type: ignore[attr-defined]
                grid = block(grid, signal, t)
        out = F.pixel_shuffle(self.unfold(F.silu(self.norm(grid))), self.stem)
        clips: Tensor = out.view(b, t, *out.shape[1:]).transpose(1, 2)
        return torch.addcmul(clips, share, x[:, : self.out_channels])


class FactorizedBlock(nn.Module):
    """Space, then time, each behind a normalisation that the signal scales, shifts and gates.

    Tran et al. 2018, "A Closer Look at Spatiotemporal Convolutions" for (2+1)D; Peebles and Xie
    2023, "Scalable Diffusion Models with Transformers", for adaLN-zero: the block starts as the
    identity.

    Args:
        width: channels of the grid.
        signal_dim: values of the signal of a frame.
        attends: also attend over the cells of a frame, and over the frames of a cell.
    """

    def __init__(self, width: int, signal_dim: int, attends: bool) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.modulate = nn.Linear(signal_dim, 3 * width)
        self.space = nn.Conv2d(width, width, 3, padding=1)
        self.time = TimeConvolution(width)
        self.attend_space = Attention(width) if attends else None
        self.attend_time = Attention(width) if attends else None
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, grid: Tensor, signal: Tensor, frames: int) -> Tensor:
        """`(b * t, c, h, w)` and `(b * t, signal_dim)` -> `(b * t, c, h, w)`."""
        scale, shift, gate = self.modulate(signal)[..., None, None].chunk(3, 1)
        hidden = torch.addcmul(shift, self.norm(grid), scale + 1)
        hidden = self.time(F.silu(self.space(hidden)), frames)
        grid = torch.addcmul(grid, gate, hidden)
        if self.attend_space is not None and self.attend_time is not None:
            cells = grid.permute(0, 2, 3, 1)  # (b * t, h, w, c), no copy
            h, w = cells.shape[1:3]
            cells = cells.flatten(1, 2)
            cells = cells + self.attend_space(cells, (h, w))
            # (b * t, h * w, c) -> (b, h * w, t, c)
            tracks = cells.view(-1, frames, *cells.shape[1:]).transpose(1, 2)
            tracks = tracks + self.attend_time(tracks, (frames,))
            grid = tracks.transpose(1, 2).reshape(-1, h, w, grid.shape[1]).permute(0, 3, 1, 2)
        return grid


class TimeConvolution(nn.Module):
    """Kernel of three frames as one product over each cell's channels in them; zero beyond."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(3 * width, width)

    def forward(self, grid: Tensor, frames: int) -> Tensor:
        """`(b * t, c, h, w)`, channels last -> the same."""
        x = grid.permute(0, 2, 3, 1)
        x = x.view(-1, frames, *x.shape[1:])  # (b * t, h, w, c) -> (b, t, h, w, c)
        before = F.pad(x[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        after = F.pad(x[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))
        mixed: Tensor = self.mix(torch.cat([before, x, after], -1))
        return mixed.flatten(0, 1).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Pre-normalised self-attention over the last axis but one, with rotary positions.

    Su et al. 2021, "RoFormer", for the positions; queries and keys are normalised (Dehghani et al.
    2023, "Scaling Vision Transformers to 22 Billion Parameters"). Every frame sees every other:
    all of a clip share one flow time, so none is known before another.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // 64)
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, tokens: Tensor, sizes: Sequence[int]) -> Tensor:
        """`(..., n, c)`, n cells of a grid of these sizes -> what attention adds, `(..., n, c)`."""
        qkv = self.query_key_value(self.norm(tokens.flatten(0, -3)))
        # (b, n, 3 * c) -> (3, b, heads, n, c / heads)
        qkv = qkv.view(*qkv.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key = rotate(F.rms_norm(qkv[:2], qkv.shape[-1:]), sizes)
        value = qkv[2]
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return out.view(tokens.shape)


class ChannelNorm(nn.Module):
    """Root-mean-square normalisation of each cell's channels, on `(b, c, h, w)` channels last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, grid: Tensor) -> Tensor:
        """The same shape; no copy is made to reach the channels."""
        scale = self.scale.to(grid.dtype)  # of one type, or the fused kernel is left out
        normed = F.rms_norm(grid.permute(0, 2, 3, 1), scale.shape, scale)
        return normed.permute(0, 3, 1, 2)
