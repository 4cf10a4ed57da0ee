"""Ways to fill hidden pixels without learning: what a network that learned anything must beat.

All but the oracle see what the network sees: visible pixels, the mask and, where it is given, how
far the camera has gone. Each takes

- a video, float `(b, 3, t, h, w)` in [0, 1], whose hidden pixels it never reads;
- bool `(b, t, h, w)`, True where a pixel is hidden;
- the camera's place in each frame, `(b, t)` in pixels to the right, or None. NaN where it is not
  known: such a frame counts as not moved;

and returns the video with its visible pixels as they are and all hidden ones filled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

Fill = Callable[[Tensor, Tensor, Tensor | None], Tensor]

RADIUS = 3  # pixels about a hidden one that Telea's method weighs, as in OpenCV's examples


def mean_colour(video: Tensor, hidden: Tensor, camera: Tensor | None = None) -> Tensor:
    """The mean of the clip's visible pixels."""
    require_visible(hidden)
    visible = ~hidden[:, None]
    total = torch.where(visible, video, 0).sum((2, 3, 4), keepdim=True)
    return torch.where(visible, video, total / visible.sum((2, 3, 4), keepdim=True))


def nearest_visible(video: Tensor, hidden: Tensor, camera: Tensor | None = None) -> Tensor:
    """The nearest visible pixel of the frame; where it has none, of the nearest frame that has."""
    # Slow to import.
    from scipy.ndimage import distance_transform_edt

    require_visible(hidden)
    c, t, h, w = video.shape[1:]
    sources = []
    for mask in hidden.cpu().numpy():
        # A step in time is further than any way within a frame.
        at = distance_transform_edt(
            mask, sampling=(h + w, 1, 1), return_distances=False, return_indices=True
        )
        sources.append(np.ravel_multi_index(tuple(at), (t, h, w)).reshape(-1))
    index = torch.from_numpy(np.stack(sources)).to(video.device)
    return video.flatten(2).gather(2, index[:, None].expand(-1, c, -1)).view(video.shape)


def telea(video: Tensor, hidden: Tensor, camera: Tensor | None = None) -> Tensor:
    """Inpainting frame by frame (Telea 2004, "An Image Inpainting Technique"), by OpenCV.

    OpenCV reads hidden pixels, too, a little; so they are given the colours of `nearest_visible`
    first, and keep them in a frame without a visible pixel.
    """
    start = nearest_visible(video, hidden)
    wanted = hidden & ~hidden.all(3).all(2)[:, :, None, None]
    # (b, 3, t, h, w) -> (b * t, h, w, 3)
    frames = start.mul(255).round().byte().permute(0, 2, 3, 4, 1).flatten(0, 1).cpu().numpy()
    masks = wanted.flatten(0, 1).byte().cpu().numpy()
    painted = [
        cv2.inpaint(np.ascontiguousarray(frame), mask, RADIUS, cv2.INPAINT_TELEA)
        for frame, mask in zip(frames, masks, strict=True)
    ]
    # (b * t, h, w, 3) -> (b, 3, t, h, w)
    made = torch.from_numpy(np.stack(painted)).to(video).div(255)
    made = made.view(*hidden.shape, 3).permute(0, 4, 1, 2, 3)
    return torch.where(wanted[:, None], made, start)


def neighbour_frames(video: Tensor, hidden: Tensor, camera: Tensor | None = None) -> Tensor:
    """What the nearest other frames show at this place of the level, the earlier of two as near.

    What no frame shows is filled by the nearest pixel that is visible or filled by now.
    """
    offsets = [sign * away for away in range(1, video.shape[2]) for sign in (-1, 1)]
    return nearest_visible(*borrowed(video, ~hidden, hidden, offsets, camera))


def previous_frame_oracle(video: Tensor, hidden: Tensor, camera: Tensor | None = None) -> Tensor:
    """The true previous frame, hidden pixels too: an oracle, it sees what the network does not.

    What it cannot show (a clip's first frame, what scrolls into the picture) the true next frame
    does, and the nearest pixel known by then what neither does.
    """
    return nearest_visible(*borrowed(video, torch.ones_like(hidden), hidden, (-1, 1), camera))


BASELINES: dict[str, Fill] = {
    "mean_colour": mean_colour,
    "nearest_visible": nearest_visible,
    "telea": telea,
    "neighbour_frames": neighbour_frames,
}
ORACLES: dict[str, Fill] = {"previous_frame_oracle": previous_frame_oracle}


def borrowed(
    video: Tensor, seen: Tensor, wanted: Tensor, offsets: Sequence[int], camera: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Fills pixels with those at the same place of the level in other frames.

    Args:
        video: `(b, 3, t, h, w)`.
        seen: bool `(b, t, h, w)`, which pixels may be taken.
        wanted: bool `(b, t, h, w)`, which are to be filled.
        offsets: which frames are asked, in this order: -1 is the previous one.
        camera: its place in pixels to the right, `(b, t)`; it stands still if absent.

    Returns:
        The video and which of the pixels wanted no frame showed, bool `(b, t, h, w)`.
    """
    b, c, t, h, w = video.shape
    place = torch.zeros(b, t) if camera is None else camera
    place = place.to(video.device)
    filled, left = video.clone(), wanted.clone()
    columns = torch.arange(w, device=video.device)
    for offset in offsets:
        here = slice(max(0, -offset), max(0, t - offset))
        there = slice(max(0, offset), max(0, t + offset))
        moved = (place[:, here] - place[:, there]).nan_to_num(0).round().long()
        source = columns + moved[..., None]  # (b, n, w), for n frames that have such a neighbour
        inside = (source >= 0) & (source < w)
        index = source.clamp(0, w - 1)[:, :, None].expand(-1, -1, h, -1)
        shown = seen[:, there].gather(3, index) & inside[:, :, None] & left[:, here]
        colours = video[:, :, there].gather(4, index[:, None].expand(-1, c, -1, -1, -1))
        filled[:, :, here] = torch.where(shown[:, None], colours, filled[:, :, here])
        left[:, here] &= ~shown
    return filled, left


def require_visible(hidden: Tensor) -> None:
    """Raises ValueError where a clip shows nothing to fill it from."""
    if hidden.flatten(1).all(1).any():
        raise ValueError("a mask hides 100% of a clip; leave at least one pixel visible")
