"""The reference network: a U-Net of 3x3x3 convolutions over time, height and width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_modules.flow.embedding import TimeEmbedding

GROUPS = 8
LEVELS = 2  # times that space is halved


class VideoUNet(nn.Module):
    """Predicts velocities of a whole clip; halves space twice, never time.

    Ronneberger et al. 2015, "U-Net", in three dimensions, with residual blocks that are told the
    flow time. With the defaults 21M parameters; a forward pass over 16 frames of 240x256 takes 9.9
    TFLOP, all but none of it in 3-D convolutions.

    Args:
        in_channels: channels of the input: noisy frames, known frames and the mask of those.
        out_channels: channels of the prediction.
        base: channels before the first level, a multiple of 8; each level doubles them.
        time_dim: values of the embedding of time and condition.
    """

    stem = 2**LEVELS  # height and width must divide by it

    def __init__(
        self, in_channels: int = 7, out_channels: int = 3, base: int = 64, time_dim: int = 256
    ) -> None:
        super().__init__()
        if base < GROUPS or base % GROUPS:
            raise ValueError(f"base {base} must be a positive multiple of {GROUPS}")
        self.time_dim = time_dim
        self.embed_time = TimeEmbedding(time_dim)
        self.first = nn.Conv3d(in_channels, base, 3, padding=1)
        self.down1 = Down3D(base, 2 * base, time_dim)
        self.down2 = Down3D(2 * base, 4 * base, time_dim)
        self.middle1 = Residual3DBlock(4 * base, 4 * base, time_dim)
        self.middle2 = Residual3DBlock(4 * base, 4 * base, time_dim)
        self.up2 = Up3D(4 * base, 4 * base, 2 * base, time_dim)
        self.up1 = Up3D(2 * base, 2 * base, base, time_dim)
        self.norm = nn.GroupNorm(GROUPS, base)
        self.last = nn.Conv3d(base, out_channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, time: Tensor, condition: Tensor | None = None) -> Tensor:
        """Predicts one value per pixel.

        Args:
            x: noisy and known frames, `(b, in_channels, t, h, w)`.
            time: flow time of each clip in [0, 1], `(b,)`.
            condition: embedding of what is known of each frame, `(b, t, time_dim)`, or None.

        Returns:
            `(b, out_channels, t, h, w)`.

        Raises:
            ValueError: height or width does not divide by 4.
        """
        for name, side in zip(("height", "width"), x.shape[-2:], strict=True):
            if side % self.stem:
                raise ValueError(f"frame {name} {side} must divide by {self.stem}; set data.size")
        signal = self.embed_time(time)[:, None]  # (b, 1, time_dim)
        if condition is not None:
            signal = signal + condition
        signal = F.silu(signal)

        x = self.first(x)
        x, skip1 = self.down1(x, signal)
        x, skip2 = self.down2(x, signal)
        x = self.middle2(self.middle1(x, signal), signal)
        x = self.up2(x, skip2, signal)
        x = self.up1(x, skip1, signal)
        out: Tensor = self.last(F.silu(self.norm(x)))
        return out


class Conv3DBlock(nn.Module):
    """A 3x3x3 convolution, normalised, scaled and shifted by what the signal says, and SiLU.

    Dhariwal and Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis", section 3.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of 8.
        time_dim: values of the signal.
    """

    def __init__(self, in_channels: int, out_channels: int, time_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, out_channels)
        self.modulate = nn.Linear(time_dim, 2 * out_channels)

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        """`(b, in, t, h, w)` and `(b, t or 1, time_dim)` -> `(b, out, t, h, w)`."""
        # (b, t or 1, 2 * out) -> 2 x (b, out, t or 1, 1, 1)
        scale, shift = self.modulate(signal).mT[..., None, None].chunk(2, dim=1)
        return F.silu(torch.addcmul(shift, self.norm(self.conv(x)), scale + 1))


class Residual3DBlock(nn.Module):
    """Two `Conv3DBlock`s beside a shortcut, which is a product over channels where they change.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of 8.
        time_dim: values of the signal.
    """

    def __init__(self, in_channels: int, out_channels: int, time_dim: int) -> None:
        super().__init__()
        self.block1 = Conv3DBlock(in_channels, out_channels, time_dim)
        self.block2 = Conv3DBlock(out_channels, out_channels, time_dim)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        """`(b, in, t, h, w)` and `(b, t or 1, time_dim)` -> `(b, out, t, h, w)`."""
        out: Tensor = self.shortcut(x) + self.block2(self.block1(x, signal), signal)
        return out


class Down3D(nn.Module):
    """Two residual blocks, then half the height and width; time stays whole.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of 8.
        time_dim: values of the signal.
    """

    def __init__(self, in_channels: int, out_channels: int, time_dim: int) -> None:
        super().__init__()
        self.residual1 = Residual3DBlock(in_channels, out_channels, time_dim)
        self.residual2 = Residual3DBlock(out_channels, out_channels, time_dim)
        self.downsample = nn.Conv3d(
            out_channels, out_channels, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)
        )

    def forward(self, x: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
        """`(b, in, t, h, w)` -> `(b, out, t, h/2, w/2)`, and the skip `(b, out, t, h, w)`."""
        skip = self.residual2(self.residual1(x, signal), signal)
        return self.downsample(skip), skip


class Up3D(nn.Module):
    """Doubles height and width, halves channels, takes the skip in, then two residual blocks.

    Args:
        in_channels: channels of the coarse input, an even number.
        skip_channels: channels of the skip.
        out_channels: channels of the output, a multiple of 8.
        time_dim: values of the signal.
    """

    def __init__(
        self, in_channels: int, skip_channels: int, out_channels: int, time_dim: int
    ) -> None:
        super().__init__()
        half = in_channels // 2
        self.upsample = nn.ConvTranspose3d(in_channels, half, (1, 2, 2), stride=(1, 2, 2))
        self.residual1 = Residual3DBlock(half + skip_channels, out_channels, time_dim)
        self.residual2 = Residual3DBlock(out_channels, out_channels, time_dim)

    def forward(self, x: Tensor, skip: Tensor, signal: Tensor) -> Tensor:
        """`(b, in, t, h/2, w/2)` and `(b, skip, t, h, w)` -> `(b, out, t, h, w)`."""
        x = torch.cat([self.upsample(x), skip], dim=1)
        return self.residual2(self.residual1(x, signal), signal)  # type: ignore[no-any-return]
