"""Clips at the model's size and in varied looks; one look a clip, the same for all its frames.

Pixel art is cut out or framed in black, never resampled: averaging pixels turns a dozen colours
into hundreds. The state follows the picture: positions are those within the window, and a mirrored
clip has left and right swapped in its buttons and its state too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.buttons import LEFT, RIGHT
from datamodules.ram_map import CAMERA_Y, ENEMIES, ENEMY, PLAYER, SCREEN_X, STATE_NAMES

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float32]

FIGURE = 16  # pixels of width; a position is that of the left edge
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


class Look(NamedTuple):
    """How a clip is shown."""

    top: float = 0.5
    left: float = 0.5
    """Where between the first and the last possible place the window is, [0, 1)."""
    mirrored: bool = False
    colours: NDArray[np.float64] | None = None
    """`(3, 4)`: a colour `c` in [0, 255] becomes `colours @ [c, 1]`."""


@dataclass(frozen=True)
class Augmentation:
    """Draws looks; that of a sample follows from (seed, sample) alone."""

    seed: int
    random_crop: bool = True
    """Whether the window is anywhere; else it is in the middle."""
    flip: float = 0.0
    """Probability of a mirrored clip."""
    colour_jitter: float = 0.0
    """Most that brightness, contrast and saturation change by, [0, 1]; hue by as many quarters of
    its circle."""

    def look(self, sample: int) -> Look:
        """The look of a sample of the run.

        Args:
            sample: its number, at least 0.
        """
        # All are drawn always: what is switched off does not change the rest.
        top, left, mirrored, *jitter = np.random.default_rng([self.seed, sample, 1]).random(7)
        if not self.random_crop:
            top, left = Look().top, Look().left
        by = self.colour_jitter * (2 * np.array(jitter) - 1)
        return Look(top, left, mirrored < self.flip, colour_map(*by) if by.any() else None)


def colour_map(
    brightness: float, contrast: float, saturation: float, hue: float
) -> NDArray[np.float64]:
    """Colours to colours, `(3, 4)`; 0 leaves each of the four as it is.

    It knows no other pixel (contrast turns about middle grey, not about the mean), so a palette is
    changed as its pixels would be.

    Args:
        brightness: factor less 1.
        contrast: factor less 1.
        saturation: factor less 1.
        hue: in quarters of the circle.
    """
    cos, sin = np.cos(hue * np.pi / 2), np.sin(hue * np.pi / 2)
    turned = np.eye(3)
    turned[1:, 1:] = (1 + saturation) * np.array([[cos, -sin], [sin, cos]])
    linear = (1 + brightness) * (1 + contrast) * np.linalg.inv(YIQ) @ turned @ YIQ
    return np.column_stack([linear, np.full(3, -127.5 * contrast)])


def dressed(item: dict[str, Any], look: Look, size: tuple[int, int]) -> dict[str, Any]:
    """A clip of `ClipDataset` in a look and at the model's size.

    Args:
        item: with `frames` `(t, h, w)` palette indices or `(t, h, w, 3)` RGB, uint8.
        look: how it shall be shown.
        size: height and width of the result.
    """
    frames, palette = item["frames"].numpy(), item["palette"].numpy().copy()
    top, left = corner(frames.shape[1:3], size, look)
    frames = frames[:, max(0, top) :, max(0, left) :][:, : size[0], : size[1]]
    if "state" in item and item["state"].shape[1] == len(STATE_NAMES):
        state = moved_state(item["state"], top, left)
        if look.mirrored:
            state = mirrored_state(state, size[1])
        item = item | {"state": np.where(item["state_mask"][:, None], state, item["state"])}
    if look.mirrored:
        frames = frames[:, :, ::-1]
        item = item | {"action": mirrored_buttons(item["action"])}
    if look.colours is not None:
        frames, palette = recoloured(frames, palette, look.colours)
    frames, palette = framed(frames, palette, size)
    frames = np.ascontiguousarray(frames)
    return item | {"frames": torch.from_numpy(frames), "palette": torch.from_numpy(palette)}


def corner(frame: Sequence[int], size: tuple[int, int], look: Look) -> tuple[int, int]:
    """Top and left of the window in the frame; negative where the window is the larger."""
    spare = [have - wanted for have, wanted in zip(frame, size, strict=True)]
    shares = (look.top, look.left)
    top, left = (
        int(share * (n + 1)) if n > 0 else -(-n // 2)
        for n, share in zip(spare, shares, strict=True)
    )
    return top, left


def framed(
    frames: Pixels, palette: NDArray[np.int32], size: tuple[int, int]
) -> tuple[Pixels, NDArray[np.int32]]:
    """Puts black round frames `(t, h, w, ...)` that are smaller than `size`."""
    spare = [wanted - have for have, wanted in zip(frames.shape[1:], size, strict=False)]
    if not any(spare):
        return frames, palette
    margins = [(0, 0), *((n // 2, n - n // 2) for n in spare), *[(0, 0)] * (frames.ndim - 3)]
    black = 0
    if frames.ndim == 3:
        black = int(frames.max()) + 1
        if black > 255:  # no entry of the palette is free
            return framed(table(palette)[frames], palette, size)
        palette[black] = 0
    return np.pad(frames, margins, constant_values=black), palette


def recoloured(
    frames: Pixels, palette: NDArray[np.int32], colours: NDArray[np.float64]
) -> tuple[Pixels, NDArray[np.int32]]:
    """Maps every colour; of frames in palette indices that is the palette alone."""
    if frames.ndim == 3:
        rgb = cv2.transform(table(palette)[None], colours)[0]
        four = np.concatenate([rgb, np.zeros((256, 1), np.uint8)], axis=1)
        return frames, four.view(np.int32)[:, 0]
    tall = np.ascontiguousarray(frames).reshape(-1, frames.shape[2], 3)
    return np.asarray(cv2.transform(tall, colours), np.uint8).reshape(frames.shape), palette


def table(palette: NDArray[np.int32]) -> Pixels:
    """The colours of a palette `(256,)`, bytes R, G, B, X, as `(256, 3)`."""
    return np.ascontiguousarray(palette.view(np.uint8).reshape(256, 4)[:, :3])


def mirrored_buttons(action: NDArray[np.int64]) -> NDArray[np.int64]:
    """Button bytes with left and right swapped; -1 (not known) stays."""
    swapped = action & ~(LEFT | RIGHT)
    swapped |= np.where(action & LEFT, RIGHT, 0) | np.where(action & RIGHT, LEFT, 0)
    return np.where(action < 0, action, swapped)


COLUMN = {name: index for index, name in enumerate(STATE_NAMES)}
ENEMY_ON, ENEMY_X, ENEMY_Y = (
    [COLUMN[f"enemy{i}_{name}"] for i in range(ENEMIES)] for name in ("on", "x", "y")
)


def per_pixel(lowest: float, highest: float) -> float:
    """What a pixel is in an entry of this range, which becomes [-1, 1]."""
    return 2 / (highest - lowest)


SCREEN_STEP = per_pixel(*SCREEN_X)
LEVEL_STEP = per_pixel(PLAYER["camera_x"].lowest, PLAYER["camera_x"].highest)
PLAYER_Y_STEP = per_pixel(PLAYER["player_y"].lowest, PLAYER["player_y"].highest)
ENEMY_X_STEP = per_pixel(ENEMY["x"].lowest, ENEMY["x"].highest)
ENEMY_Y_STEP = per_pixel(ENEMY["y"].lowest, ENEMY["y"].highest)


def moved_state(state: Numbers, top: int, left: int) -> Numbers:
    """State vectors `(t, d)` of `ram_map.mario_state`, as of a window of the screen.

    Args:
        state: that of the whole screen.
        top: pixels from the top of the screen to that of the window.
        left: pixels from the left edge of the screen to that of the window.
    """
    result = state.copy()
    result[:, COLUMN["camera_x"]] += left * LEVEL_STEP
    result[:, COLUMN["camera_y"]] += top * per_pixel(*CAMERA_Y)
    result[:, COLUMN["player_screen_x"]] -= left * SCREEN_STEP
    result[:, COLUMN["player_y"]] -= top * PLAYER_Y_STEP
    result[:, ENEMY_X] -= left * ENEMY_X_STEP * state[:, ENEMY_ON]
    result[:, ENEMY_Y] -= top * ENEMY_Y_STEP * state[:, ENEMY_ON]
    return np.clip(result, -1, 1)


def mirrored_state(state: Numbers, width: int) -> Numbers:
    """State vectors `(t, d)` of `ram_map.mario_state`, as of the mirrored level.

    Left and right change places in the level and in the picture: what is so many pixels wide and
    at x is at `lowest + highest - x - pixels` then.

    Args:
        state: that of the picture.
        width: of the picture in pixels.
    """
    result = state.copy()
    result[:, COLUMN["player_speed_x"]] *= -1
    level, picture = 0.0, (width - SCREEN_X[1]) * SCREEN_STEP  # sums of both ends, scaled
    result[:, COLUMN["player_x"]] = level - FIGURE * LEVEL_STEP - state[:, COLUMN["player_x"]]
    result[:, COLUMN["camera_x"]] = level - width * LEVEL_STEP - state[:, COLUMN["camera_x"]]
    screen_x = COLUMN["player_screen_x"]
    result[:, screen_x] = picture - FIGURE * SCREEN_STEP - state[:, screen_x]
    enemies = (width - SCREEN_X[1] - FIGURE) * ENEMY_X_STEP - state[:, ENEMY_X]
    result[:, ENEMY_X] = enemies * state[:, ENEMY_ON]  # the numbers of one that is off stay 0
    return np.clip(result, -1, 1)
