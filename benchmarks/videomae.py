"""VideoMAE of `transformers` as a peer of HST-MAE: as large, masked alike, on plain pixels.

Its token is our cube, so a mask unit of ours is 2x2 of its tokens and what one is shown the other
is shown. Pixels are in [-1, 1] and nothing is normalised by a patch's own statistics. Its own loss
takes the input to be normalised by ImageNet's colours, so the loss is computed here.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lit_modules.mae import MaskedAutoencoder
from lit_modules.mae.cubes import CELL, FRAMES, cut, join

HEAD = 64  # channels of an attention head, about
DECODER_DEPTH = 4  # Tong et al. 2022, "VideoMAE", table 1


class Sizes(NamedTuple):
    """What makes one VideoMAE larger than another."""

    width: int
    depth: int
    decoder_width: int

    @property
    def weights(self) -> int:
        """Those of its matrices but the first and the last, 12 squared widths a block."""
        return 12 * (self.depth * self.width**2 + DECODER_DEPTH * self.decoder_width**2)


def clip_shape(net: MaskedAutoencoder) -> tuple[int, int, int]:
    """Frames, height and width of the clips that our network is made for."""
    times, (rows, columns) = len(net.decoder.positions.time), net.decoder.positions.place.shape[:2]
    side = net.encoder.cube_side
    return times * FRAMES, rows * side, columns * side


def installed() -> bool:
    """Whether there is a peer to compare with."""
    return importlib.util.find_spec("transformers") is not None


def sizes_like(net: MaskedAutoencoder, split: str) -> Sizes:
    """The sizes that come nearest to our network in parameters.

    Args:
        net: ours.
        split: `paper`, an encoder of 12 blocks and a decoder half as wide (Tong et al. 2022, table
            1 and section 4.1), or `ours`, which takes both widths from our network.
    """
    if split == "paper":
        choices = [Sizes(width, 12, width // 2) for width in range(HEAD, 33 * HEAD, HEAD)]
    else:
        width, decoder_width = net.encoder.fuse.out_features, net.decoder.embed.out_features
        choices = [Sizes(width, depth, decoder_width) for depth in range(1, 65)]
    target = sum(p.numel() for p in net.parameters())
    return min(choices, key=lambda sizes: abs(sizes.weights - target))


class VideoMAE(nn.Module):
    """The peer's network, which answers as ours does.

    Args:
        net: our network, whose clips, cubes and number of parameters it takes.
        split: how its parameters are shared out, see `sizes_like`.
    """

    def __init__(self, net: MaskedAutoencoder, split: str = "paper") -> None:
        super().__init__()
        transformers: Any = importlib.import_module("transformers")
        self.sizes = sizes_like(net, split)
        self.side = net.encoder.cube_side
        frames, *size = clip_shape(net)
        width, depth, decoder_width = self.sizes
        self.net: nn.Module = transformers.VideoMAEForPreTraining(
            transformers.VideoMAEConfig(
                image_size=size,
                patch_size=self.side,
                num_frames=frames,
                tubelet_size=FRAMES,
                hidden_size=width,
                num_hidden_layers=depth,
                num_attention_heads=heads(width),
                intermediate_size=4 * width,
                decoder_hidden_size=decoder_width,
                decoder_num_hidden_layers=DECODER_DEPTH,
                decoder_num_attention_heads=heads(decoder_width),
                decoder_intermediate_size=4 * decoder_width,
                norm_pix_loss=False,
            )
        )

    def forward(self, video: Tensor, hidden: Tensor) -> Tensor:
        """Pixels predicted for hidden tokens, `(b, m, pixels of a token)`.

        Args:
            video: `(b, 3, t, h, w)` in [-1, 1].
            hidden: bool `(b, T, H, W)` of our mask units, True where hidden.
        """
        made = self.net(pixel_values=video.transpose(1, 2), bool_masked_pos=tokens_of(hidden))
        pixels: Tensor = made.logits
        return pixels

    def loss(self, video: Tensor, hidden: Tensor, state: Tensor | None = None) -> Tensor:
        """Mean squared error over hidden pixels; a state tells it nothing."""
        tokens = cut(video, self.side).flatten(1, 3)
        truth = tokens[tokens_of(hidden)].view(len(video), -1, tokens.shape[-1])
        return mse_loss(self(video, hidden).float(), truth)

    def restore(self, video: Tensor, hidden: Tensor, state: Tensor | None = None) -> Tensor:
        """The clip with its hidden units as predicted and its visible ones as they are."""
        grid = cut(video, self.side)
        tokens = grid.flatten(1, 3)
        made = self(video, hidden).to(tokens.dtype)
        tokens = tokens.masked_scatter(tokens_of(hidden)[..., None], made)
        return join(tokens.view(grid.shape), self.side)


def heads(width: int) -> int:
    """Attention heads of about 64 channels."""
    return max(1, round(width / HEAD))


def tokens_of(hidden: Tensor) -> Tensor:
    """Mask of the peer's tokens, row by row: units `(b, T, H, W)` -> `(b, T * 2H * 2W)`."""
    return hidden.repeat_interleave(CELL, 2).repeat_interleave(CELL, 3).flatten(1)
