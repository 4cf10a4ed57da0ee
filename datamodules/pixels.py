"""Native frames to RGB of the model's size, on the device where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def to_rgb(frames: Tensor | Sequence[Tensor], palettes: Tensor, size: tuple[int, int]) -> Tensor:
    """Looks colours up and resizes bilinearly (half-pixel centres, as `cv2.INTER_LINEAR`).

    A CPU takes OpenCV, which is thrice as fast as torch; a GPU, whose `interpolate` knows no uint8,
    goes through float and rounds: single values differ by 1 between machines, not on one.

    Args:
        frames: one native frame of each stream, `(b, h, w)` palette indices or `(b, h, w, 3)` RGB,
            uint8; a sequence of `b` where their sizes differ.
        palettes: `(b, 256)` int32 holding the bytes R, G, B, X; ignored for RGB frames.
        size: height and width of the result.

    Returns:
        `(b, 3, *size)` uint8, contiguous.
    """
    if palettes.device.type == "cpu":
        rgb = np.empty((len(frames), 3, *size), np.uint8)
        pictures = frames.numpy() if isinstance(frames, Tensor) else [f.numpy() for f in frames]
        for pixels, palette, planes in zip(pictures, palettes.numpy(), rgb, strict=True):
            _resize_on_cpu(pixels, palette, planes)
        return torch.from_numpy(rgb)
    if not isinstance(frames, Tensor):
        pairs = zip(frames, palettes, strict=True)
        return torch.cat([_resize_by_torch(f[None], p[None], size) for f, p in pairs])
    return _resize_by_torch(frames, palettes, size)


def clips_to_rgb(clips: Tensor | Sequence[Tensor], palettes: Tensor) -> Tensor:
    """Looks the colours of clips up; colours do not care which frame a row of pixels is from.

    Args:
        clips: `(b, t, h, w)` palette indices or `(b, t, h, w, 3)` RGB, uint8; a sequence of `b`
            where some clips are the one and some the other.
        palettes: as for `to_rgb`.

    Returns:
        `(b, 3, t, h, w)` uint8, contiguous.
    """
    t, h, w = clips[0].shape[:3]
    tall = (
        clips.flatten(1, 2)  # (b, t, h, w) -> (b, t * h, w)
        if isinstance(clips, Tensor)
        else [clip.flatten(0, 1) for clip in clips]
    )
    return to_rgb(tall, palettes, (t * h, w)).view(-1, 3, t, h, w)


def _resize_on_cpu(
    pixels: NDArray[np.uint8], palette: NDArray[np.int32], planes: NDArray[np.uint8]
) -> None:
    """Fills `planes` `(3, h, w)`; measured: 11 µs lookup, 42 µs resize, 5 µs planes (224x224)."""
    _, height, width = planes.shape
    picture: Any = pixels
    if picture.ndim == 2:  # one lookup of four bytes is thrice as fast as three of one
        picture = cv2.LUT(picture, palette[None])
        picture = picture.view(np.uint8).reshape(*picture.shape, 4)
    if picture.shape[:2] != (height, width):
        picture = _bilinear(picture, width, height)
    cv2.split(picture, [*planes, np.empty_like(planes[0])][: picture.shape[2]])


def _bilinear(picture: Any, width: int, height: int) -> Any:
    """OpenCV's resize, by Intel's library where the wheel has it (70 µs without).

    OpenCV leaves that off by default because single values differ by 1 from its own.
    """
    ipp = getattr(cv2, "ipp", None)
    if ipp is None:
        return cv2.resize(picture, (width, height))
    before = ipp.useIPP_NotExact()
    ipp.setUseIPP_NotExact(True)
    try:
        return cv2.resize(picture, (width, height))
    finally:
        ipp.setUseIPP_NotExact(before)


def _resize_by_torch(frames: Tensor, palettes: Tensor, size: tuple[int, int]) -> Tensor:
    rgb = _look_up(frames, palettes) if frames.ndim == 3 else frames
    rgb = rgb.movedim(-1, 1)  # (b, h, w, 3) -> (b, 3, h, w)
    if rgb.shape[2:] != size:
        rgb = F.interpolate(rgb.float(), size=size, mode="bilinear", align_corners=False)
        rgb = rgb.round().to(torch.uint8)
    return rgb.contiguous()


def _look_up(indices: Tensor, palettes: Tensor) -> Tensor:
    """`(b, h, w)` indices to `(b, h, w, 3)`; one lookup of four bytes, each in its own palette."""
    offset = 256 * torch.arange(len(indices), device=indices.device, dtype=torch.int32)
    place = (indices.int() + offset[:, None, None]).flatten()
    colours = palettes.flatten().index_select(0, place).view(torch.uint8)
    return colours.view(*indices.shape, 4)[..., :3]
