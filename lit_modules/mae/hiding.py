"""Which pixels of a video are to be restored: a picture, chance, a colour or numbers say it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from lit_modules.mae.masking import MaskName, hidden_pixels
from lit_modules.mae.restoring import units_of

Colour = tuple[int, int, int]
VIDEO = 1_000_003  # more pieces than a video has, so that seeds share no masks


class Hiding(Protocol):
    """A way to say which pixels are hidden."""

    ours: bool
    """Whether the hiding is an experiment: what is hidden is there to be compared with."""

    def __call__(self, start: int, frames: Tensor) -> Tensor:
        """Hidden pixels of a piece, bool `(n, h, w)`.

        Args:
            start: number of its first frame in the video.
            frames: uint8 `(n, 3, h, w)`.
        """


class Masks(Protocol):
    """What draws masks: `LitMaskedAutoencoder`."""

    def scale(self, video: Tensor) -> Tensor:
        """Bytes to the range of the model."""

    def masks(self, samples: Sequence[int], video: Tensor, mask: MaskName, ratio: float) -> Tensor:
        """Masks `(b, T, H, W)`, each by the number of its sample."""


class Picture:
    """The same pixels in every frame.

    Args:
        mask: bool, of the frames' size or a pixel a mask unit, True where hidden.
        size: height and width of the frames.
        side: height and width of a mask unit in pixels.

    Raises:
        ValueError: the mask is of neither size, or hides nothing or everything.
    """

    ours = False

    def __init__(self, mask: Tensor, size: tuple[int, int], side: int) -> None:
        units = (-(-size[0] // side), -(-size[1] // side))
        if mask.shape not in (size, units):
            raise ValueError(
                f"the mask is {shape(mask.shape)} pixels, the frames are {shape(size)}; give one "
                f"of that size, or of {shape(units)}: a pixel for each mask unit"
            )
        self.mask = mask if mask.shape == size else spread(mask, side, size)
        if not self.mask.any():
            raise ValueError("the mask is black, so hides nothing; white is what is to be restored")
        if units_of(self.mask[None], side).all():
            raise ValueError(
                f"the mask hides 100% of the frame: each unit of {side}x{side} pixels holds some "
                "of it; leave at least one unit black"
            )

    def __call__(self, start: int, frames: Tensor) -> Tensor:
        """Hidden pixels, see `Hiding`."""
        return self.mask.expand(len(frames), -1, -1)


class Drawn:
    """Mask units drawn by chance, anew for each piece.

    Args:
        model: draws them.
        kind: kind of mask.
        ratio: share of the units to hide, in (0, 1).
        seed: the masks follow from it and the number of the piece.
        side: height and width of a mask unit in pixels.
        step: frames of the video from one frame of a clip to the next.
        length: frames of a piece.

    Raises:
        ValueError: the ratio is out of range.
    """

    ours = True

    def __init__(
        self,
        model: Masks,
        kind: MaskName,
        ratio: float,
        seed: int,
        side: int,
        step: int,
        length: int,
    ) -> None:
        if not 0 < ratio < 1:
            raise ValueError(
                f"mask_ratio {ratio} must lie between 0 and 1: something is to be restored"
                " (not 0), and something must be seen (not 100%)"
            )
        self.model, self.kind, self.ratio, self.seed = model, kind, ratio, seed
        self.side, self.step, self.length = side, step, length

    def __call__(self, start: int, frames: Tensor) -> Tensor:
        """Hidden pixels, see `Hiding`."""
        index = torch.arange(0, self.length, self.step).clamp(max=len(frames) - 1)
        # (t, 3, h, w) -> (1, 3, t, h, w)
        clip = self.model.scale(frames[index].transpose(0, 1)[None])
        sample = self.seed * VIDEO + start // self.length
        units = self.model.masks([sample], clip, self.kind, self.ratio)
        if not units.any():
            raise ValueError(
                f"mask_ratio {self.ratio} of {units[0].numel()} mask units is none; give more"
            )
        pixels = hidden_pixels(units.cpu(), self.side, clip.shape)[0]
        return pixels[torch.arange(len(frames)) // self.step]  # of the frame of its clip


class Frames:
    """Whole frames.

    Args:
        numbers: such as `3,4,7-9,20::2`: single frames, ranges, and every second from 20 on.

    Raises:
        ValueError: the numbers cannot be read.
    """

    ours = False

    def __init__(self, numbers: str) -> None:
        self.text = numbers
        self.parts = [part_of(part) for part in numbers.split(",")]

    def __call__(self, start: int, frames: Tensor) -> Tensor:
        """Hidden pixels, see `Hiding`."""
        missing = [self.holds(start + i) for i in range(len(frames))]
        shape = (len(frames), *frames.shape[2:])
        return torch.tensor(missing)[:, None, None].expand(shape)

    def holds(self, number: int) -> bool:
        """Whether the frame of this number, counted from 0, is hidden."""
        return any(
            first <= number and (last is None or number <= last) and not (number - first) % step
            for first, last, step in self.parts
        )


class FlatColour:
    """Patches of one single colour, which is the mask's.

    Args:
        first: the first frame, uint8 `(3, h, w)`.
        patch: height and width of a patch in pixels; they lie on a grid from the top left corner.
        colour: RGB; None finds that of the most patches among the colours of which no pixel lies
            elsewhere: skies are flat as well, but not up to where a grid says.

    Raises:
        ValueError: there is no such patch in the first frame.
    """

    ours = False

    def __init__(self, first: Tensor, patch: int, colour: Colour | None = None) -> None:
        self.patch = patch
        self.colour = colour or self.find(first)
        self.count = int(self.patches(first).sum())
        if not self.count:
            raise ValueError(
                f"no patch of {patch}x{patch} pixels is masked in colour {self.colour}; "
                "set --mask_colour, or give --mask or --mask_ratio"
            )

    def find(self, frame: Tensor) -> Colour:
        """The colour of the mask."""
        flat, colours = self.flat(frame)
        found, counts = torch.unique(colours[flat], dim=0, return_counts=True)
        for place in counts.argsort(descending=True).tolist():
            colour = found[place]
            inside = spread(
                flat & (colours == colour).all(-1), self.patch, (frame.shape[1], frame.shape[2])
            )
            if not (has(frame, colour) & ~inside).any():
                red, green, blue = colour.tolist()
                return red, green, blue
        raise ValueError(
            f"no patches of {self.patch}x{self.patch} pixels have a colour of their own, so none "
            "is taken for masked; give --mask, --mask_ratio with --mask_type, or --mask_colour"
        )

    def flat(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Which patches are of one colour, bool `(H, W)`, and colours `(H, W, 3)`."""
        rows, columns = (-(-n // self.patch) for n in frame.shape[1:])
        row, column = (
            torch.arange(n * self.patch).clamp(max=length - 1)
            for n, length in zip((rows, columns), frame.shape[1:], strict=True)
        )
        patches = frame[:, row][:, :, column].view(3, rows, self.patch, columns, self.patch)
        patches = patches.permute(1, 3, 0, 2, 4).flatten(3)  # (H, W, 3, pixels)
        return (patches.amax(3) == patches.amin(3)).all(2), patches[..., 0]

    def patches(self, frame: Tensor) -> Tensor:
        """Which patches are masked, bool `(H, W)`."""
        flat, colours = self.flat(frame)
        return flat & (colours == torch.tensor(self.colour)).all(-1)

    def __call__(self, start: int, frames: Tensor) -> Tensor:
        """Hidden pixels, see `Hiding`."""
        size = (frames.shape[2], frames.shape[3])
        return torch.stack([spread(self.patches(f), self.patch, size) for f in frames])


def has(frame: Tensor, colour: Tensor) -> Tensor:
    """Where a frame `(3, h, w)` has a colour."""
    return (frame == colour[:, None, None]).all(0)


def spread(cells: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """Squares of a frame to its pixels: bool `(H, W)` -> `(h, w)`; what sticks out is cut off."""
    pixels = cells.repeat_interleave(side, 0).repeat_interleave(side, 1)
    return pixels[: size[0], : size[1]]


def shape(size: Sequence[int]) -> str:
    """Height and width as people write them."""
    return f"{size[1]}x{size[0]}"


def colour_of(text: str) -> Colour:
    """Reads `r,g,b` or `#rrggbb`.

    Raises:
        ValueError: it is neither.
    """
    if match := re.fullmatch(r"#([0-9a-fA-F]{6})", text.strip()):
        values = list(bytes.fromhex(match[1]))
    elif re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*){2}", text):
        values = [int(value) for value in text.split(",")]
    else:
        values = []
    if len(values) != 3 or max(values) > 255:
        raise ValueError(
            f"mask_colour {text} is no colour; give one such as 128,128,128 or #808080"
        )
    return values[0], values[1], values[2]


def part_of(text: str) -> tuple[int, int | None, int]:
    """First, last (None for the end of the video) and step of `7`, `7-9`, `20::2` or `20:30:2`.

    Raises:
        ValueError: it is none of these.
    """
    text = text.strip()
    if match := re.fullmatch(r"(\d+)(?:-(\d+))?", text):
        first, last, step = int(match[1]), int(match[2] or match[1]), 1
    elif match := re.fullmatch(r"(\d*):(\d*)(?::(\d+))?", text):  # as in Python, without the stop
        first, step = int(match[1] or 0), int(match[3] or 1)
        if not match[2]:
            if step:
                return first, None, step
        else:
            last = int(match[2]) - 1
    if not match or not step or last < first:
        raise ValueError(
            f"missing {text!r} names no frames; give numbers counted from 0, such as 3,4,7-9 or "
            "20::2 for every second from 20 on"
        )
    return first, last, step
