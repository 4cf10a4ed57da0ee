"""Video files in and out: the one place where frames are decoded, encoded and turned to bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from datamodules.decoding import SUFFIXES, Rgb, VideoError, read_frames
from datamodules.encoding import CODECS, write_video

__all__ = ["CODECS", "SUFFIXES", "Rgb", "VideoError", "read_frames", "to_uint8", "write_video"]


def to_uint8(x: Tensor) -> Tensor:
    """Values in [0, 1] to the nearest byte; what lies outside is clamped."""
    return x.detach().clamp(0, 1).mul(255).round().to(torch.uint8)
