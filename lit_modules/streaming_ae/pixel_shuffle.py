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
    of either side; it learns the mean colour of a block within a few frames. The code is bounded by
    tanh, so that rare values cannot stretch the range over which it is rounded to bits.

    With `background`, both sides know a picture of what was there before, such as the running mean
    of past frames, and the decoder paints over it: `background * (1 - cover) + paint`, where
    `cover` (one value a pixel) and `paint` come from the code. A sprite thus hides the blur that
    sprites before it left in the mean. The last layers start at zero, so the first guess is the
    background (without one: black). Nothing bounds the output.

    Args:
        size: height and width of a frame in pixels, multiples of 8.
        latent_channels: values of the code for each 8x8 pixels, at least 1.
        width: channels of the hidden layers, at least 1.
        hidden_layers: hidden layers of the encoder, at least 1; the decoder has one more.
        residual_blocks: residual blocks in the encoder, on the code grid.
        transformer_blocks: transformer blocks in the encoder, on the code grid; they attend
            between all cells and need a `width` that is a multiple of 4.
        background: whether frames are painted over a background, which each call then needs.

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
        background: bool = False,
    ) -> None:
        super().__init__()
        for name, pixels in zip(("height", "width"), size, strict=True):
            if pixels < BLOCK or pixels % BLOCK:
                raise ValueError(
                    f"frame {name} {pixels} must be a positive multiple of {BLOCK}; set data.size"
                )
        self.size = size
        self.latent_channels = latent_channels
        seen = BLOCK**2 * (6 if background else 3)  # frame - background and frame, or frame
        painted = BLOCK**2 * (4 if background else 3)  # paint and cover, or paint
        blocks: list[nn.Module] = [ResidualBlock(width) for _ in range(residual_blocks)]
        blocks += [TransformerBlock(width) for _ in range(transformer_blocks)]
        self.encoder = nn.Sequential(
            nn.Conv2d(seen, width, 1),
            nn.GELU(),
            *_hidden(width, hidden_layers - 1),
            *blocks,
            nn.Conv2d(width, latent_channels, 3, padding=1),
        )
        self.encoder_linear = nn.Conv2d(seen, latent_channels, 1)
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, width, 3, padding=1),
            nn.GELU(),
            *_hidden(width, hidden_layers),
            last := nn.Conv2d(width, painted, 1),
        )
        self.decoder_linear = nn.Conv2d(latent_channels, painted, 1)
        for parameter in (*last.parameters(), *self.decoder_linear.parameters()):
            nn.init.zeros_(parameter)

    @property
    def code_floats(self) -> int:
        """Values in the code of one frame."""
        height, width = self.size
        return self.latent_channels * (height // BLOCK) * (width // BLOCK)

    def encode(self, x: Tensor, background: Tensor | None = None) -> list[Tensor]:
        """Return the code of frames.

        Args:
            x: frames `(b, 3, h, w)`.
            background: what the decoder will paint over, `(b, 3, h, w)`; None without one.

        Returns:
            One tensor `(b, latent_channels, h / 8, w / 8)` in (-1, 1).
        """
        cells = self._cells(x, background)
        return [torch.tanh(self.encoder(cells) + self.encoder_linear(cells))]

    def decode(self, codes: list[Tensor], background: Tensor | None = None) -> Tensor:
        """Return frames `(b, 3, h, w)` from what `encode` returned, and the same background."""
        (code,) = codes
        picture = F.pixel_shuffle(self.decoder(code) + self.decoder_linear(code), BLOCK)
        if background is None:
            return picture
        paint, cover = picture[:, :3], picture[:, 3:]
        return background * (1 - cover) + paint

    def forward(self, x: Tensor, background: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Return the reconstruction `(b, 3, h, w)` of `x` and its code."""
        codes = self.encode(x, background)
        return self.decode(codes, background), codes

    @torch.no_grad()
    def feature_maps(self, x: Tensor, background: Tensor | None = None) -> dict[str, Tensor]:
        """Return what each side computes for `x`, `(b, channels, h / 8, w / 8)` by name."""
        (code,) = self.encode(x, background)
        return {
            "encoder/hidden": self.encoder[:-1](self._cells(x, background)),
            "encoder/code": code,
            "decoder/hidden": self.decoder[:-1](code),
        }

    def _cells(self, x: Tensor, background: Tensor | None) -> Tensor:
        if background is not None:
            x = torch.cat([x - background, x], dim=1)
        return F.pixel_unshuffle(x, BLOCK)  # (b, c, h, w) -> (b, c*8*8, h/8, w/8)


def _hidden(width: int, layers: int) -> list[nn.Module]:
    convolutions = [nn.Conv2d(width, width, 3, padding=1) for _ in range(layers)]
    return [layer for convolution in convolutions for layer in (convolution, nn.GELU())]
