"""Displacements on a curved scale: fine about zero, coarse far out, and cut into 15x15 classes."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

CLASSES = 15  # along each axis; the middle one is rest
MIDDLE = CLASSES // 2
SCALE = 0.003  # share of the frame about which the scale turns from linear to logarithmic
LARGEST = 0.125  # share of the frame that is 1 on the scale
RANGE = math.asinh(LARGEST / SCALE)


def compress(velocity: Tensor) -> Tensor:
    """Displacements in shares of the frame, any shape -> [-1, 1] for all but the very fastest.

    In games a paddle creeps by one pixel or leaps by eighteen, and either is an action: on this
    scale they are 0.3 and 1.
    """
    return torch.asinh(velocity / SCALE) / RANGE


def expand(scaled: Tensor) -> Tensor:
    """The inverse of `compress`."""
    return torch.sinh(scaled * RANGE) * SCALE


def classes_of(velocity: Tensor) -> Tensor:
    """Class along each axis: shares of the frame, any shape -> int64 in [0, 15), 7 is rest.

    What is no number is put to rest: there is no class for it, and the loss tells of it anyway.
    """
    steps = (compress(velocity) * MIDDLE).round().nan_to_num(0.0)
    return steps.clamp(-MIDDLE, MIDDLE).long() + MIDDLE


def moves(velocity: Tensor) -> Tensor:
    """Which points move: `(..., 2)` -> bool `(...)`; less than a tenth of a percent is rest."""
    return (classes_of(velocity) != MIDDLE).any(-1)


class Displacements(NamedTuple):
    """What is predicted of each point and step: does it move, and if so, where to?

    A point rests or it moves; what moves has a horizontal and a vertical class, independent of each
    other but for not both being rest. So 31 numbers stand for 225 classes, and where a point rests
    there is but one to be learned.
    """

    moving: Tensor
    """Logits `(..., P)` of moving."""
    x: Tensor
    """Logits `(..., P, 15)` of the horizontal class of what moves."""
    y: Tensor
    """Logits `(..., P, 15)` of the vertical class of what moves."""
    value: Tensor
    """Displacement of what moves, `(..., P, 2)` on the scale of `compress`."""

    def mean(self) -> Tensor:
        """Expected displacement, `(..., P, 2)` on the scale of `compress`."""
        return self.moving.sigmoid()[..., None] * self.value

    def logits(self) -> Tensor:
        """Log-probabilities of the classes, row-major in y and x: `(..., P, 225)`."""
        x, y = self.x.log_softmax(-1), self.y.log_softmax(-1)
        joint = y[..., :, None] + x[..., None, :] + self._of_moving(x, y)[..., None, None]
        joint[..., MIDDLE, MIDDLE] = F.logsigmoid(-self.moving)
        return joint.flatten(-2)

    def surprise(self, velocity: Tensor) -> Tensor:
        """Cross-entropy of points that move, `(..., 2)` in shares of the frame: `(...)` in nats.

        That of points that rest is `softplus(moving)`.
        """
        target = classes_of(velocity)
        x, y = self.x.log_softmax(-1), self.y.log_softmax(-1)
        of_x, of_y = (
            logits.gather(-1, target[..., axis, None])[..., 0] for axis, logits in enumerate((x, y))
        )
        return -(of_x + of_y + self._of_moving(x, y))

    def _of_moving(self, x: Tensor, y: Tensor) -> Tensor:
        """Log-probability of moving, given that not both classes can be rest."""
        both_rest = (x[..., MIDDLE] + y[..., MIDDLE]).exp()
        return F.logsigmoid(self.moving) - torch.log1p(-both_rest.clamp(max=1 - 1.0e-6))


OF_A_THING = [CLASSES, CLASSES, 2]  # numbers of `x`, `y` and `value` in `Displacements`


class Things(NamedTuple):
    """A few things that move, each with the points it covers and one displacement.

    What moves in a game moves as a whole: where it is and where it goes are said apart, which takes
    an eighth of the numbers that points on their own would, and learns a direction wherever it is
    seen. A point moves if any thing covers it, and as those do that cover it.
    """

    cover: Tensor
    """Logits `(b, T, P, K)` that each of K things covers a point."""
    motion: Tensor
    """Class logits along x and y and the displacement of each thing, `(b, T, K, 32)`."""

    @property
    def moving(self) -> Tensor:
        """Logits `(b, T, P)` of moving."""
        return self.cover.logsumexp(-1)

    def everywhere(self) -> Displacements:
        """Of all points and steps."""
        return _displacements(self.moving, self.cover.softmax(-1) @ self.motion)

    def at(self, points: Tensor) -> Displacements:
        """Of those points and steps where bool `(b, T, P)` is true, `(m,)`."""
        window, step, _ = points.nonzero(as_tuple=True)
        cover = self.cover[points]  # (m, K)
        motion = torch.einsum("mk,mkc->mc", cover.softmax(-1), self.motion[window, step])
        return _displacements(cover.logsumexp(-1), motion)


def _displacements(moving: Tensor, motion: Tensor) -> Displacements:
    x, y, value = torch.split(motion, OF_A_THING, -1)
    return Displacements(moving, x, y, value)
