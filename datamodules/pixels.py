"""Native frames to RGB of the model's size, on the device where they lie."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def to_rgb(frames: Tensor | Sequence[Tensor], palettes: Tensor, size: tuple[int, int]) -> Tensor:
    """Looks colours up and resizes bilinearly (half-pixel centres, as `cv2.INTER_LINEAR`).

    A CPU takes OpenCV's fixed-point path, which is twice as fast as torch's; a GPU, whose
    `interpolate` knows no uint8, goes through float and rounds: single values may differ by 1.

    Args:
        frames: one native frame of each stream, `(b, h, w)` palette indices or `(b, h, w, 3)` RGB,
            uint8; a sequence of `b` where their sizes differ.
        palettes: `(b, 256)` int32 holding the bytes R, G, B, X; ignored for RGB frames.
        size: height and width of the result.

    Returns:
        `(b, 3, *size)` uint8, contiguous.
    """
    if frames[0].device.type == "cpu":
        rgb = torch.empty(len(frames), 3, *size, dtype=torch.uint8)
        for frame, palette, planes in zip(frames, palettes, rgb.numpy(), strict=True):
            _resize_on_cpu(frame, palette, planes)
        return rgb
    if not isinstance(frames, Tensor):
        pairs = zip(frames, palettes, strict=True)
        return torch.cat([_resize_by_torch(f[None], p[None], size) for f, p in pairs])
    return _resize_by_torch(frames, palettes, size)


def _resize_on_cpu(frame: Tensor, palette: Tensor, planes: np.ndarray) -> None:
    """Fills `planes` `(3, h, w)`; measured: 12 µs lookup, 70 µs resize, 10 µs planes (224x224)."""
    pixels = frame.numpy()
    height, width = planes.shape[1:]
    if pixels.ndim == 2:  # one lookup of four bytes is thrice as fast as three of one
        pixels = cv2.LUT(pixels, palette.numpy()[None])
        pixels = pixels.view(np.uint8).reshape(*pixels.shape, 4)
    if pixels.shape[:2] != (height, width):
        pixels = cv2.resize(pixels, (width, height))
    spare = [np.empty((height, width), np.uint8)] if pixels.shape[2] == 4 else []
    cv2.split(pixels, [*planes, *spare])


def _resize_by_torch(frames: Tensor, palettes: Tensor, size: tuple[int, int]) -> Tensor:
    if frames.ndim == 3:
        # (b, 256) int32 -> (b * 256, 3): each stream looks up in its own part of one table
        table = palettes.contiguous().view(torch.uint8).view(-1, 4)[:, :3].float()
        offset = 256 * torch.arange(len(frames), device=frames.device, dtype=torch.int32)
        rgb = F.embedding(frames.int() + offset[:, None, None], table)
    else:
        rgb = frames.float()
    rgb = rgb.movedim(-1, 1)  # (b, h, w, 3) -> (b, 3, h, w)
    if rgb.shape[2:] != size:
        rgb = F.interpolate(rgb, size=size, mode="bilinear", align_corners=False)
    return rgb.round().to(torch.uint8).contiguous()
