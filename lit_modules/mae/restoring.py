"""A video of any length restored clip by clip, in memory that does not grow with it.

Clips keep the pace of the training: of a recording with more frames a second, those of a piece are
dealt out in turns to several clips, so that every frame is restored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_modules.mae.cubes import FRAMES


class Model(Protocol):
    """What restores a clip: `LitMaskedAutoencoder`."""

    clip_length: int

    def scale(self, video: Tensor) -> Tensor:
        """Bytes to the range of the model."""

    def restore(
        self,
        video: Tensor,
        hidden: Tensor,
        state: Tensor | None = None,
        state_mask: Tensor | None = None,
        camera: Tensor | None = None,
    ) -> Tensor:
        """Clips with their hidden units as predicted."""


class Piece(NamedTuple):
    """Successive frames of a video."""

    frames: Tensor  # uint8 (n, 3, h, w)
    hidden: Tensor  # bool (n, h, w), True where a pixel is to be restored
    state: Tensor | None = None  # float32 (n, d)
    camera: Tensor | None = None  # its place in pixels to the right, (n,)

    def take(self, index: Tensor) -> Piece:
        """Some of its frames."""
        return Piece(*(None if x is None else x[index] for x in self))  # type: ignore[arg-type]


class Restorer:
    """Restores the pixels that are hidden and leaves the others as they are.

    A mask unit that holds a hidden pixel is hidden from the model as a whole.

    Args:
        model: restores clips of `clip_length` frames in [-1, 1].
        side: height and width of a mask unit in pixels.
        step: frames of the video from one frame of a clip to the next; every frame is restored all
            the same, by as many clips.
        each: how often each frame stands in a clip, 1 or 2 (as many as there are in a unit). With 2
            a unit is one frame, so that a missing frame takes none of its neighbours along.
        device: where the model is.

    Raises:
        ValueError: `step` is below 1.
    """

    def __init__(
        self,
        model: Model,
        side: int,
        step: int = 1,
        each: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        if step < 1:
            raise ValueError(f"frame_step {step} is too small; give at least 1")
        self.model, self.side, self.step, self.each, self.device = model, side, step, each, device
        self.length = model.clip_length // each * step
        """Frames of a piece."""

    def restore(self, pieces: Iterable[Piece]) -> Iterator[tuple[Piece, Tensor]]:
        """Restores a video.

        The last piece borrows frames of the one before; a video that is shorter than a piece is
        filled up by its last frame.

        Args:
            pieces: of `length` frames each, the last of at most as many, in order.

        Yields:
            A piece and its restored frames, uint8 `(n, 3, h, w)`.

        Raises:
            ValueError: nothing is visible to restore a clip from.
        """
        before: Piece | None = None
        done = 0
        for piece in pieces:
            count = len(piece.frames)
            whole, borrowed = self.completed(piece, before)
            try:
                restored = self.restore_piece(whole)
            except ValueError as error:
                raise ValueError(f"frames {done} to {done + count - 1}: {error}") from None
            yield piece, restored[borrowed : borrowed + count]
            before, done = piece, done + count

    def completed(self, piece: Piece, before: Piece | None) -> tuple[Piece, int]:
        """A piece at its full length, and how many frames at its start are of the one before."""
        count = len(piece.frames)
        # Units are borrowed whole, so that one is hidden here as it was there.
        unit = FRAMES // self.each * self.step
        fill = self.length - count if before is None else -count % unit
        own = piece.take(torch.arange(count + fill).clamp(max=count - 1))
        borrowed = self.length - count - fill
        if before is None or not borrowed:
            return own, 0
        return joined(before.take(torch.arange(self.length - borrowed, self.length)), own), borrowed

    def restore_piece(self, piece: Piece) -> Tensor:
        """The frames of a whole piece, restored, uint8 `(n, 3, h, w)`.

        Raises:
            ValueError: all of a clip is hidden.
        """
        frames = piece.frames.clone()
        for turn in range(self.step):
            clip = piece.take(torch.arange(turn, self.length, self.step))
            if not clip.hidden.any():
                continue
            made = self.restore_clip(clip)
            frames[turn :: self.step] = torch.where(clip.hidden[:, None], made, clip.frames)
        return frames

    @torch.no_grad()
    def restore_clip(self, clip: Piece) -> Tensor:
        """The frames of a clip as the model makes them, uint8 `(n, 3, h, w)`."""
        frames, hidden, state, camera = (
            None if x is None else x.repeat_interleave(self.each, 0).to(self.device) for x in clip
        )
        assert frames is not None and hidden is not None
        units = units_of(hidden, self.side)
        if units.all():
            raise ValueError(
                "100% of a clip is hidden, as each of its mask units "
                f"({FRAMES}x{self.side}x{self.side} pixels) holds hidden pixels; hide fewer"
            )
        video = self.model.scale(frames.transpose(0, 1)[None])  # (t, 3, h, w) -> (1, 3, t, h, w)
        known = [None if x is None else x[None] for x in (state, None, camera)]
        made = self.model.restore(video, units[None], *known)
        pixels = (made[0].float() + 1) * 127.5
        # (3, n * each, h, w) -> (n, 3, h, w)
        pixels = pixels.view(3, -1, self.each, *pixels.shape[2:]).mean(2).transpose(0, 1)
        return pixels.clamp(0, 255).round().to(torch.uint8).cpu()


def joined(first: Piece, second: Piece) -> Piece:
    """Two pieces as one."""
    parts = zip(first, second, strict=True)
    return Piece(*(None if a is None or b is None else torch.cat([a, b]) for a, b in parts))  # type: ignore[arg-type]


def units_of(hidden: Tensor, side: int) -> Tensor:
    """Mask units that hold a hidden pixel: bool `(t, h, w)` -> `(T, H, W)`."""
    window = (FRAMES, side, side)
    pooled = F.max_pool3d(hidden[None].float(), window, window, ceil_mode=True)
    return pooled[0] > 0
