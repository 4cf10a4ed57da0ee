"""Where a stream changes: a threshold that follows the stream's own noise."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class ChangeMap(NamedTuple):
    """What changed from one frame to the next.

    Attributes:
        mask: bool `(b, 1, h, w)`, the pixels that changed.
        intensity: float `(b, 1, h, w)` in [0, 1], by how much; zero outside the mask.
        noise: float `(b,)` in [0, 1], the noise level of each stream, to hand in at the next frame.
    """

    mask: Tensor
    intensity: Tensor
    noise: Tensor


class ChangeDetector:
    """Marks pixels that change by more than the stream's noise does, without lone speckles.

    The difference of two frames at a pixel is that of its colour channel that changes most. Most of
    a picture stands still, so the median of the differences is their noise level. The level that
    is followed falls at once and rises slowly, so that neither a flash nor a scene that scrolls for
    a moment blinds the detector. Nothing here synchronises with the host.

    Args:
        floor: smallest change that counts, in [0, 1]; a few steps of 255 by default.
        sensitivity: noise levels that a change must exceed. The median of the largest of three
            normal differences is 1.27 standard deviations, so 4 are 5 of these.
        rise: share of the way that the noise level rises towards a higher median, in (0, 1].
        neighbours: changed pixels among the 8 around one that make it more than a speckle.
    """

    def __init__(
        self,
        floor: float = 0.02,
        sensitivity: float = 4.0,
        rise: float = 0.1,
        neighbours: int = 2,
    ) -> None:
        self.floor = floor
        self.sensitivity = sensitivity
        self.rise = rise
        self.neighbours = neighbours

    @torch.no_grad()
    def __call__(self, frame: Tensor, previous: Tensor | None, noise: Tensor) -> ChangeMap:
        """Compares frames of b parallel streams with the ones before.

        Args:
            frame: `(b, c, h, w)` in [0, 1].
            previous: the frame before, of the same shape; None at the start, where nothing changes.
            noise: `(b,)`, the `noise` of the map before; zeros at the start.

        Returns:
            What changed.
        """
        if previous is None:
            nothing = torch.zeros_like(frame[:, :1])
            return ChangeMap(nothing.bool(), nothing, noise)
        difference = (frame - previous).abs_().amax(1, keepdim=True)  # (b, c, h, w) -> (b, 1, h, w)
        # One pixel in 16 tells the median as well as all do.
        level = difference[..., ::4, ::4].flatten(1).median(1).values
        noise = torch.minimum(level, torch.lerp(noise, level, self.rise))
        threshold = (self.sensitivity * noise).clamp_(min=self.floor)
        changed = difference > threshold[:, None, None, None]
        around = F.avg_pool2d(changed.to(frame.dtype), 3, 1, 1, divisor_override=1)  # counts itself
        mask = changed & (around > self.neighbours)
        return ChangeMap(mask, difference.clamp_(max=1).mul_(mask), noise)
