"""The strong learner's network: a convolutional autoencoder over blocks of 8x8 pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_modules.layers.blocks import ResidualBlock, TransformerBlock

BLOCK = 8  # pixels a side of one cell of the code grid


class PixelShuffleAutoencoder(nn.Module):
    """Autoencoder whose every layer works on the code grid, one cell for 8x8 pixels.

    Pixels of a block become channels (pixel unshuffle; Shi et al. 2016, "Real-Time Single Image and
    Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network"), so there is
    no work at full resolution and a frame costs little. A linear path lies beside the convolutions
    of either side, which learns the mean colour of a block within a few frames. The last layers
    start at zero: an untrained network reconstructs zero, so when it codes what a frame differs
    from a running mean, the first guess is that mean. Nothing bounds the output.

    Args:
        size: height and width of a frame in pixels, multiples of 8.
        latent_channels: values of the code for each 8x8 pixels, at least 1.
        width: channels of the hidden layers, at least 1.
        hidden_layers: hidden layers on either side, at least 1.
        residual_blocks: residual blocks in the encoder, on the code grid.
        transformer_blocks: transformer blocks in the encoder, on the code grid; they attend
            between all cells and need a `width` that is a multiple of 4.

    Raises:
        ValueError: `size` is not a multiple of 8.
    """

    def __init__(
        self,
        size: tuple[int, int] = (224, 224),
        latent_channels: int = 5,
        width: int = 96,
        hidden_layers: int = 2,
        residual_blocks: int = 0,
        transformer_blocks: int = 0,
    ) -> None:
        super().__init__()
        for name, pixels in zip(("height", "width"), size, strict=True):
            if pixels < BLOCK or pixels % BLOCK:
                raise ValueError(
                    f"frame {name} {pixels} must be a positive multiple of {BLOCK}; set data.size"
                )
        self.size = size
        self.latent_channels = latent_channels
        pixels = 3 * BLOCK * BLOCK
        blocks: list[nn.Module] = [ResidualBlock(width) for _ in range(residual_blocks)]
        blocks += [TransformerBlock(width) for _ in range(transformer_blocks)]
        self.encoder = nn.Sequential(
            nn.Conv2d(pixels, width, 1),
            nn.GELU(),
            *_hidden(width, hidden_layers - 1),
            *blocks,
            nn.Conv2d(width, latent_channels, 3, padding=1),
        )
        self.encoder_linear = nn.Conv2d(pixels, latent_channels, 1)
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, width, 3, padding=1),
            nn.GELU(),
            *_hidden(width, hidden_layers - 1),
            last := nn.Conv2d(width, pixels, 3, padding=1),
        )
        self.decoder_linear = nn.Conv2d(latent_channels, pixels, 1)
        for parameter in (*last.parameters(), *self.decoder_linear.parameters()):
            nn.init.zeros_(parameter)

    @property
    def code_floats(self) -> int:
        """Values in the code of one frame."""
        height, width = self.size
        return self.latent_channels * (height // BLOCK) * (width // BLOCK)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the code of frames.

        Args:
            x: `(b, 3, h, w)`, pixels or their difference from a running mean.

        Returns:
            One tensor `(b, latent_channels, h / 8, w / 8)`.
        """
        cells = F.pixel_unshuffle(x, BLOCK)  # (b, 3, h, w) -> (b, 3*8*8, h/8, w/8)
        return [self.encoder(cells) + self.encoder_linear(cells)]

    def decode(self, codes: list[Tensor]) -> Tensor:
        """Return frames `(b, 3, h, w)` from what `encode` returned."""
        (code,) = codes
        return F.pixel_shuffle(self.decoder(code) + self.decoder_linear(code), BLOCK)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the reconstruction `(b, 3, h, w)` of `x` and its code."""
        codes = self.encode(x)
        return self.decode(codes), codes

    @torch.no_grad()
    def feature_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return what each side computes for `x`, `(b, channels, h / 8, w / 8)` by name."""
        cells = F.pixel_unshuffle(x, BLOCK)
        code = self.encoder(cells) + self.encoder_linear(cells)
        return {
            "encoder/hidden": self.encoder[:-1](cells),
            "encoder/code": code,
            "decoder/hidden": self.decoder[:-1](code),
        }


def _hidden(width: int, layers: int) -> list[nn.Module]:
    convolutions = [nn.Conv2d(width, width, 3, padding=1) for _ in range(layers)]
    return [layer for convolution in convolutions for layer in (convolution, nn.GELU())]
