"""The three-branch autoencoder: texture, balance and structure from 3x3, 5x5 and 7x7 kernels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_modules.layers.blocks import ResidualBlock, TransformerBlock
from lit_modules.streaming_ae.sparse_init import sparse_init_module_

KERNELS = {"small": 3, "medium": 5, "large": 7}  # pixels a side
HIDDEN = (16, 12)  # channels after the first and the second layer
STRIDE = 2


class ThreeBranchAutoencoder(nn.Module):
    """Three stacks side by side, each with kernels of another size and a code of its own.

    A branch's encoder is three unpadded convolutions of stride 2, 3 -> 16 -> 12 -> c channels, its
    decoder mirrors it with transposed ones; each layer is followed by a layer normalisation over
    the whole sample (without learnt scale, as a stream has batch 1) and LeakyReLU. The three
    pictures are resized to the frame, laid on top of one another and fused by 1x1 convolutions,
    9 -> 6 -> 3, and a sigmoid. From 224x224 pixels the codes are 27x27x3, 25x25x2 and 23x23x2:
    4,495 values, with 44,305 parameters.

    Args:
        size: height and width of a frame in pixels, each at least 43.
        latent_channels: channels of the 3x3 branch's code, at least 1; the others have 2.
        sparsity: fraction of each unit's inputs that start at zero, in [0, 1).
        residual_blocks: residual blocks on each encoder's code grid, over 12 channels; a 1x1
            convolution then makes the code.
        transformer_blocks: transformer blocks after these.

    Raises:
        ValueError: `size` is too small, or another argument out of its range.
    """

    def __init__(
        self,
        size: tuple[int, int] = (224, 224),
        latent_channels: int = 3,
        sparsity: float = 0.9,
        residual_blocks: int = 0,
        transformer_blocks: int = 0,
    ) -> None:
        super().__init__()
        smallest = _pixels_out(1, max(KERNELS.values()))
        for name, pixels in zip(("height", "width"), size, strict=True):
            if pixels < smallest:
                raise ValueError(
                    f"frame {name} {pixels} must be at least {smallest}; set data.size"
                )
        if latent_channels < 1:
            raise ValueError(f"latent_channels {latent_channels} must be at least 1")
        self.size = size
        self.code_channels = {"small": latent_channels, "medium": 2, "large": 2}
        self.encoders = nn.ModuleDict()
        self.decoders = nn.ModuleDict()
        for name, kernel in KERNELS.items():
            code = self.code_channels[name]
            self.encoders[name] = _encoder(kernel, code, residual_blocks, transformer_blocks)
            self.decoders[name] = _decoder(kernel, code)
        colours = 3 * len(KERNELS)
        self.fuse = nn.Sequential(
            nn.Conv2d(colours, 6, 1), *_normalised(6), nn.Conv2d(6, 3, 1), nn.Sigmoid()
        )
        sparse_init_module_(self, sparsity)

    @property
    def code_floats(self) -> int:
        """Values in the codes of one frame."""
        height, width = self.size
        return sum(
            self.code_channels[name] * _pixels_in(height, kernel) * _pixels_in(width, kernel)
            for name, kernel in KERNELS.items()
        )

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the codes `(b, c, h', w')` of frames `(b, 3, h, w)`, small to large kernel."""
        return [encoder(x) for encoder in self.encoders.values()]

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Return frames `(b, 3, h, w)` in (0, 1) from what `encode` returned."""
        decoders = zip(self.decoders.values(), codes, strict=True)
        pictures = [
            F.interpolate(decoder(code), self.size, mode="bilinear") for decoder, code in decoders
        ]
        out: Tensor = self.fuse(torch.cat(pictures, 1))  # (b, 3*3, h, w) -> (b, 3, h, w)
        return out

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the reconstruction `(b, 3, h, w)` of `x` and its codes."""
        codes = self.encode(x)
        return self.decode(codes), codes

    @torch.no_grad()
    def feature_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return each branch's code and decoded picture for `x`, `(b, channels, h', w')`."""
        codes = dict(zip(KERNELS, self.encode(x), strict=True))
        encoded = {f"encoder/{name}": code for name, code in codes.items()}
        decoded = {f"decoder/{name}": self.decoders[name](code) for name, code in codes.items()}
        return encoded | decoded


def _encoder(kernel: int, code: int, residuals: int, transformers: int) -> nn.Sequential:
    first, second = HIDDEN
    extra: list[nn.Module] = [ResidualBlock(second) for _ in range(residuals)]
    extra += [TransformerBlock(second) for _ in range(transformers)]
    last = second if extra else code
    layers = [
        *(nn.Conv2d(3, first, kernel, STRIDE), *_normalised(first)),
        *(nn.Conv2d(first, second, kernel, STRIDE), *_normalised(second)),
        *(nn.Conv2d(second, last, kernel, STRIDE), *_normalised(last)),
    ]
    if extra:
        layers += [*extra, nn.Conv2d(second, code, 1), *_normalised(code)]
    return nn.Sequential(*layers)


def _decoder(kernel: int, code: int) -> nn.Sequential:
    first, second = HIDDEN
    return nn.Sequential(
        *(nn.ConvTranspose2d(code, second, kernel, STRIDE), *_normalised(second)),
        *(nn.ConvTranspose2d(second, first, kernel, STRIDE), *_normalised(first)),
        *(nn.ConvTranspose2d(first, 3, kernel, STRIDE), *_normalised(3)),
    )


def _normalised(channels: int) -> list[nn.Module]:
    # One group is a layer normalisation over (c, h, w), whatever the size.
    return [nn.GroupNorm(1, channels, affine=False), nn.LeakyReLU()]


def _pixels_in(pixels: int, kernel: int, layers: int = 3) -> int:
    for _ in range(layers):
        pixels = (pixels - kernel) // STRIDE + 1
    return pixels


def _pixels_out(pixels: int, kernel: int, layers: int = 3) -> int:
    for _ in range(layers):
        pixels = (pixels - 1) * STRIDE + kernel
    return pixels
