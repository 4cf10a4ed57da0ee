"""A codec small enough for a test, begun with clips of a made game but never trained."""

from __future__ import annotations

import numpy as np
import torch
from made_recordings import scroll

from lit_modules.codec.module import LitVideoCodec

SIZE = (32, 48)
SHAPE = {
    "dims": (8, 12, 16, 20),
    "depths": (1, 1, 1, 1),
    "decoder_dim": 16,
    "decoder_depth": 1,
    "patch": 2,
    "size": SIZE,
    "clip_length": 4,
    "state_dim": 3,
    "parts": 2,
    "code_dim": 12,
    "codebooks": 3,
    "codebook_size": 16,
}


def game(seed: int, frames: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Frames of a scrolling game, uint8 `(t, h, w, 3)`."""
    return scroll(seed, frames, size)[0]


def small(acting: bool = True, **more) -> LitVideoCodec:
    """The module; `acting` has encoder and decoder add something to the principal components."""
    torch.manual_seed(0)
    module = LitVideoCodec(**{**SHAPE, **more})
    clips = torch.from_numpy(np.stack([game(seed, 4) for seed in range(8)]))
    module.net.begin(module.scale(clips.permute(0, 4, 1, 2, 3)))
    if acting:
        for layer in (module.net.to_codes, module.net.decoder.to_pixels):
            torch.nn.init.normal_(layer.weight, std=0.01)
    return module.eval()
