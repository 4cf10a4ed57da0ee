"""Displacements on a curved scale, and what is predicted of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lit_modules.latent_action.displacement import (
    CLASSES,
    MIDDLE,
    Displacements,
    Things,
    classes_of,
    compress,
    expand,
    moves,
)
from lit_modules.latent_action.losses import motion_loss


def random_prediction(*shape: int) -> Displacements:
    generator = torch.Generator().manual_seed(0)
    parts = [(), (CLASSES,), (CLASSES,), (2,)]
    return Displacements(*(torch.randn(*shape, *part, generator=generator) for part in parts))


def random_things(b: int, t: int, p: int) -> Things:
    generator = torch.Generator().manual_seed(0)
    cover = torch.randn(b, t, p, 3, generator=generator)
    return Things(cover, torch.randn(b, t, 3, 2 * CLASSES + 2, generator=generator))


def test_some_points_of_things_are_as_they_are_among_all() -> None:
    things = random_things(3, 4, 5)
    points = torch.rand(3, 4, 5, generator=torch.manual_seed(1)) < 0.4
    for some, every in zip(things.at(points), things.everywhere(), strict=True):
        torch.testing.assert_close(some, every[points])
    torch.testing.assert_close(things.moving, things.everywhere().moving)


def test_a_point_moves_as_the_thing_that_covers_it() -> None:
    things = random_things(1, 1, 2)
    things.cover[:] = -50
    things.cover[0, 0, 1, 2] = 50
    made = things.everywhere()
    assert made.moving.sigmoid().round().flatten().tolist() == [0, 1]
    torch.testing.assert_close(made.value[0, 0, 1], things.motion[0, 0, 2, -2:])


def test_expand_inverts_compress() -> None:
    velocity = torch.linspace(-0.3, 0.3, 101)
    torch.testing.assert_close(expand(compress(velocity)), velocity)


def test_one_pixel_and_eighteen_of_a_narrow_screen_are_classes_of_their_own() -> None:
    pixels = torch.tensor([0.0, 1, 3, 8, 18])
    assert len(classes_of(pixels / 160).unique()) == 5
    assert torch.equal(classes_of(-pixels / 160), 2 * MIDDLE - classes_of(pixels / 160))
    assert moves(
        torch.tensor([[0.0, 0.0], [1 / 256, 0], [0.0, -1 / 240], [1e-4, 1e-4]])
    ).tolist() == [
        False,
        True,
        True,
        False,
    ]


def test_class_probabilities_sum_to_one() -> None:
    logits = random_prediction(3, 4).logits()
    assert logits.shape == (3, 4, CLASSES**2)
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(3, 4))


def test_surprise_is_the_cross_entropy_over_the_logits() -> None:
    made = random_prediction(500)
    velocity = 0.1 * torch.randn(500, 2, generator=torch.Generator().manual_seed(1))
    velocity[0] = torch.tensor([0.0, 0.02])
    target = classes_of(velocity)
    joint = target[:, 1] * CLASSES + target[:, 0]
    expected = F.cross_entropy(made.logits(), joint, reduction="none")
    torch.testing.assert_close(made.surprise(velocity), expected)
    rest = torch.full_like(joint, MIDDLE * CLASSES + MIDDLE)
    expected = F.cross_entropy(made.logits(), rest, reduction="none")
    torch.testing.assert_close(F.softplus(made.moving), expected)


def slow_loss(made: Things, velocity: torch.Tensor, visible: torch.Tensor) -> list[float]:
    """Cross-entropy of each window, point by point."""
    logits, losses = made.everywhere().logits(), []
    for window in range(len(velocity)):
        moving, still = [], []
        for t in range(velocity.shape[1]):
            for p in range(velocity.shape[2]):
                if not visible[window, t, p]:
                    continue
                x, y = classes_of(velocity[window, t, p]).tolist()
                own = -float(logits[window, t, p, y * CLASSES + x])
                (still if x == y == MIDDLE else moving).append(own)
        losses.append(
            sum(moving) / max(len(moving), velocity.shape[1]) + sum(still) / max(1, len(still))
        )
    return losses


def test_loss_agrees_with_one_point_after_the_other() -> None:
    generator = torch.Generator().manual_seed(2)
    velocity = 0.05 * torch.randn(3, 2, 5, 2, generator=generator)
    velocity *= torch.rand(3, 2, 5, 1, generator=generator) < 0.5
    velocity[2] = 0
    visible = torch.rand(3, 2, 5, generator=generator) < 0.8
    made = random_things(3, 2, 5)
    loss = motion_loss(made, velocity, visible)
    torch.testing.assert_close(loss.classes, torch.tensor(slow_loss(made, velocity, visible)))
    assert loss.recon[2] == 0


def test_unseen_points_do_not_count() -> None:
    velocity = torch.zeros(1, 2, 5, 2)
    visible = torch.ones(1, 2, 5, dtype=torch.bool)
    visible[0, 1, 3] = False
    made = random_things(1, 2, 5)
    one = motion_loss(made, velocity, visible)
    velocity[0, 1, 3] = 0.1
    other = motion_loss(made, velocity, visible)
    assert torch.equal(torch.stack(one), torch.stack(other))
