"""Which mask units of a clip are hidden from the encoder, and which cubes the decoder skips.

A mask ranks the units of each sample by numbers from that sample's own generator and hides those
that rank highest: as many as asked for, in every sample alike, so that a batch stays a tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from lit_modules.layers.noise import SampleNoise
from lit_modules.mae.cubes import CELL, FRAMES, Grid, cut

uniform = SampleNoise.uniform


class Mask(ABC):
    """A way to choose the hidden units of a clip."""

    informed = False
    """Whether it needs to be told how much happens in each unit."""

    @abstractmethod
    def rank(
        self, generators: Sequence[Generator], grid: Grid, information: Tensor | None
    ) -> Tensor:
        """Numbers whose greatest are hidden, `(b, T or 1, H, W)`; 1 hides alike at all times."""

    def __call__(
        self,
        generators: Sequence[Generator],
        grid: Grid,
        ratio: float,
        information: Tensor | None = None,
    ) -> Tensor:
        """Draws a mask for each sample.

        Args:
            generators: one a sample; the mask lies on their device.
            grid: times, rows and columns of units.
            ratio: share of the units to hide, in [0, 1); rounded to whole units, of which at least
                one stays visible.
            information: `(b, T, H, W)`, how much happens in a unit; only some masks need it.

        Returns:
            bool `(b, T, H, W)`, True where hidden, equally many in each sample.

        Raises:
            ValueError: the ratio is out of range, or information is needed and missing.
        """
        if not 0 <= ratio < 1:
            raise ValueError(f"mask ratio {ratio} must lie in [0, 1): something must stay visible")
        rank = self.rank(generators, grid, information)
        flat = rank.flatten(1)
        count = min(round(ratio * flat.shape[1]), flat.shape[1] - 1)
        hidden = torch.zeros_like(flat, dtype=torch.bool)
        hidden.scatter_(1, flat.topk(count).indices, True)
        return hidden.view(rank.shape).expand(-1, *grid).contiguous()


class RandomMask(Mask):
    """Any unit at any time (Feichtenhofer et al. 2022, "Masked Autoencoders As Spatiotemporal")."""

    def rank(
        self, generators: Sequence[Generator], grid: Grid, information: Tensor | None
    ) -> Tensor:
        """Independent numbers."""
        return uniform(generators, grid)


class TubeMask(Mask):
    """The same places at all times (Tong et al. 2022, "VideoMAE", section 3.3)."""

    def rank(
        self, generators: Sequence[Generator], grid: Grid, information: Tensor | None
    ) -> Tensor:
        """Independent numbers a place."""
        return uniform(generators, (1, *grid[1:]))


class CubeMask(Mask):
    """Boxes in time and space, dropped one after another until enough is covered.

    Args:
        shortest: least length of a box along each axis, as a share of the clip's, in (0, 1].
        longest: greatest length, in [shortest, 1].
        boxes: how many are dropped at most; what they leave uncovered is hidden last, at random.
    """

    def __init__(self, shortest: float = 0.25, longest: float = 0.6, boxes: int = 32) -> None:
        self.shortest, self.longest, self.boxes = shortest, longest, boxes

    def rank(
        self, generators: Sequence[Generator], grid: Grid, information: Tensor | None
    ) -> Tensor:
        """The earlier covered, the higher."""
        draws = uniform(generators, (self.boxes, 2, 3))  # length and place along each axis
        covered = torch.ones((), dtype=torch.bool, device=draws.device)
        for axis, cells in enumerate(grid):
            share = self.shortest + (self.longest - self.shortest) * draws[:, :, 0, axis]
            length = (share * cells).round().clamp(1, cells)
            start = (draws[:, :, 1, axis] * (cells - length + 1)).floor()
            cell = torch.arange(cells, device=draws.device)
            inside = (cell >= start[..., None]) & (cell < (start + length)[..., None])
            # (b, boxes, cells) -> (b, boxes, T, H, W)
            covered = covered & inside.view(
                *inside.shape[:2], *(-1 if i == axis else 1 for i in range(3))
            )
        never = torch.ones_like(covered[:, :1])  # the box that covers all, after all others
        first = torch.cat([covered, never], 1).float().argmax(1)
        return uniform(generators, grid) - first


class BlockMask(CubeMask):
    """Rectangles that stand at all times (Bao et al. 2022, "BEiT", algorithm 1, in a clip)."""

    def rank(
        self, generators: Sequence[Generator], grid: Grid, information: Tensor | None
    ) -> Tensor:
        """The earlier covered, the higher, a place."""
        return super().rank(generators, (1, *grid[1:]), information)


class InformationMask(Mask):
    """Where little happens, or where much does, the likelier the further from the clip's mean.

    Units are drawn without putting back, with weights `exp(±sharpness * z)` for information z
    standard deviations above the mean (Gumbel top-k: Kool et al. 2019, "Stochastic Beams").

    Args:
        prefer: `low` hides what is easy to restore, `high` what is hard.
        sharpness: how strongly, at least 0, which is a random mask.
        tubes: hide the same places at all times, by their mean information.
    """

    informed = True

    def __init__(
        self, prefer: Literal["low", "high"], sharpness: float = 2.0, tubes: bool = False
    ) -> None:
        if prefer not in ("low", "high"):
            raise ValueError(f"prefer {prefer!r} must be low or high")
        self.sharpness = sharpness if prefer == "high" else -sharpness
        self.tubes = tubes

    def rank(
        self, generators: Sequence[Generator], grid: Grid, information: Tensor | None
    ) -> Tensor:
        """Weighted numbers."""
        if information is None:
            raise ValueError("a mask by information needs that of the units; give information")
        if self.tubes:
            information = information.mean(1, keepdim=True)
        noise = uniform(generators, information.shape[1:])
        spread, mean = torch.std_mean(information.to(noise), (1, 2, 3), correction=0, keepdim=True)
        z = (information.to(noise) - mean) / spread.clamp_min(1e-6)
        return self.sharpness * z - torch.log(-torch.log(noise.clamp(1e-6, 1 - 1e-6)))


MaskName = Literal["random", "tube", "block", "cube", "low", "high"]
MASKS: dict[MaskName, Callable[[], Mask]] = {
    "random": RandomMask,
    "tube": TubeMask,
    "block": BlockMask,
    "cube": CubeMask,
    "low": lambda: InformationMask("low", tubes=True),
    "high": lambda: InformationMask("high", tubes=True),
}


class RunningCell:
    """The cubes of a unit that the decoder computes, one step on at each time.

    Wang et al. 2023, "VideoMAE V2", section 3.2 and figure 2. The cell is the unit, so any mask
    leaves the decoder equally much to do in each sample.

    Args:
        cubes: how many of a unit's four, 1 to 4.

    Raises:
        ValueError: they are fewer or more.
    """

    AROUND = (0, 1, 3, 2)  # cubes of a unit, row by row, in the order in which the pair runs

    def __init__(self, cubes: int = 2) -> None:
        if not 1 <= cubes <= CELL**2:
            raise ValueError(f"decoded_cubes {cubes} must be 1 to {CELL**2} of a unit's four")
        self.cubes = cubes

    def __call__(self, generators: Sequence[Generator], grid: Grid) -> Tensor:
        """Bool `(b, T * H * W, 4)`, True where the decoder computes a cube if it is hidden."""
        times, rows, columns = grid
        start = torch.stack(
            [torch.randint(4, (), generator=g, device=g.device) for g in generators]
        )
        place = torch.tensor(self.AROUND, device=start.device).argsort()  # of each cube on the way
        step = torch.arange(times, device=start.device)
        ahead = (place - step[:, None] - start[:, None, None]) % 4  # (b, T, 4)
        return (ahead < self.cubes).repeat_interleave(rows * columns, 1)


def visible_units(hidden: Tensor) -> Tensor:
    """Numbers of the units that are not hidden, bool `(b, T, H, W)` -> int64 `(b, v)`.

    Raises:
        ValueError: all units of a sample are hidden, or samples hide different numbers.
    """
    units = numbers(~hidden.flatten(1))
    if not units.shape[1]:
        raise ValueError("the mask hides 100% of the clip; leave at least one unit visible")
    return units


def hidden_cubes(hidden: Tensor, computed: Tensor | None = None) -> Tensor:
    """Numbers of hidden cubes, four a unit: those the decoder is to compute.

    Args:
        hidden: bool `(b, T, H, W)` of units.
        computed: bool `(b, T * H * W, 4)`, see `RunningCell`; all if absent.

    Returns:
        int64 `(b, m)`.
    """
    cubes = hidden.flatten(1)[..., None].expand(-1, -1, CELL**2)
    return numbers((cubes if computed is None else cubes & computed.to(cubes.device)).flatten(1))


def unit_information(video: Tensor, side: int) -> Tensor:
    """How much happens in each unit: spread of its pixels plus change between its frames.

    Args:
        video: float `(b, c, t, h, w)`.
        side: pixels along a unit's height and width.

    Returns:
        `(b, T, H, W)`, at least 0.
    """
    units = cut(video, side)
    # (b, T, H, W, 2 * pixels * c) -> (b, T, H, W, 2, pixels, c)
    units = units.view(*units.shape[:4], FRAMES, side * side, -1)
    spread = units.std(5, correction=0).mean((4, 5))
    return spread + (units[..., 1, :, :] - units[..., 0, :, :]).abs().mean((4, 5))


def numbers(chosen: Tensor) -> Tensor:
    """Where each row is True: bool `(b, n)` -> int64 `(b, k)`; ValueError if k differs."""
    counts = chosen.sum(1)
    if (counts != counts[0]).any():
        raise ValueError(
            f"the masks of a batch leave {sorted(set(counts.tolist()))} units;"
            " give masks of one share, or one clip at a time"
        )
    return chosen.nonzero()[:, 1].view(len(chosen), -1)


def hidden_pixels(hidden: Tensor, side: int, shape: Sequence[int]) -> Tensor:
    """Which pixels lie in hidden units.

    Args:
        hidden: bool `(b, T, H, W)` of units.
        side: pixels along a unit's height and width.
        shape: of the clips, `(b, c, t, h, w)`; units that stick out are cut off.

    Returns:
        bool `(b, t, h, w)`.
    """
    pixels = hidden
    for axis, times in ((1, FRAMES), (2, side), (3, side)):
        pixels = pixels.repeat_interleave(times, axis)
    return pixels[:, : shape[2], : shape[3], : shape[4]]
