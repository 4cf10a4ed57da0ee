"""What the tokenizer is trained on: moving points first."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from lit_modules.latent_action.displacement import Things, compress, moves


class MotionLoss(NamedTuple):
    """Both losses of each window, `(b,)`."""

    recon: Tensor
    """Mean squared error of moving points, on the scale of `compress`."""
    classes: Tensor
    """Cross-entropy of displacement classes, in nats."""


def motion_loss(
    made: Things, velocity: Tensor, visible: Tensor, still_weight: float = 1.0
) -> MotionLoss:
    """Squared error and cross-entropy of displacements, moving and still points apart.

    Nearly all points of a game stand still nearly all the time; in a plain mean a tokenizer that
    says nothing but rest is all but right, which is how codebooks collapse. Here the moving points
    of a window count as much together as the still ones. A window's loss is divided by its own
    points, so that the loss of a batch is the mean of those of its halves.

    Args:
        made: what is predicted of windows of T steps and P points.
        velocity: true displacements `(b, T, P, 2)` in shares of the frame.
        visible: points that were tracked, bool `(b, T, P)`; others do not count.
        still_weight: what all still points of a window weigh together; the moving ones weigh 1.
    """
    moving = moves(velocity) & visible
    still = visible & ~moving
    # A single point that trembles once weighs no more than one that moves all the time.
    share = 1 / moving.sum((1, 2)).clamp(min=velocity.shape[1])
    window = moving.nonzero()[:, 0]  # of each moving point

    def by_window(of_points: Tensor) -> Tensor:
        return share.new_zeros(len(share)).index_add(0, window, of_points * share[window])

    at, true = made.at(moving), velocity[moving]
    error = (at.mean() - compress(true)).square().sum(-1)
    of_still = (F.softplus(made.moving) * still).sum((1, 2)) / still.sum((1, 2)).clamp(min=1)
    return MotionLoss(by_window(error), by_window(at.surprise(true)) + still_weight * of_still)
