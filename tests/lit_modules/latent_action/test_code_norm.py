"""Normalisation before rounding: over moving tokens, in closed form, over ranks."""

from __future__ import annotations

import torch

from lit_modules.latent_action.code_norm import SPREAD, CodeNorm


def test_moving_tokens_have_no_mean_and_the_spread_and_still_ones_are_zero() -> None:
    z = 5 + 3 * torch.randn(50, 8, 3, generator=torch.manual_seed(0)).double()
    moving = torch.rand(50, 8, generator=torch.manual_seed(1)) < 0.6
    out = CodeNorm(3).double()(z, moving)
    assert not out[~moving].any()
    torch.testing.assert_close(out[moving].mean(0), torch.zeros(3).double(), atol=1e-9, rtol=0)
    spread = out[moving].std(0, correction=0)
    torch.testing.assert_close(spread, torch.full((3,), SPREAD).double(), atol=1e-5, rtol=0)


def test_evaluation_comes_to_what_training_computed_from_the_first_batch_on() -> None:
    norm = CodeNorm(2)
    z = 2 + 0.01 * torch.randn(200, 4, 2, generator=torch.manual_seed(0))
    moving = torch.ones(200, 4, dtype=torch.bool)
    trained = norm(z, moving)
    torch.testing.assert_close(norm.eval()(z, moving), trained)


def test_evaluation_follows_a_drift() -> None:
    norm = CodeNorm(2)
    z = torch.randn(200, 4, 2, generator=torch.manual_seed(0))
    moving = torch.ones(200, 4, dtype=torch.bool)
    for _ in range(50):
        norm(z, moving)
    for _ in range(200):
        trained = norm(3 * z + 1, moving)
    torch.testing.assert_close(norm.eval()(3 * z + 1, moving), trained, atol=1e-3, rtol=1e-3)


def test_gradient_is_that_of_the_moments_too() -> None:
    norm = CodeNorm(2).double()
    moving = torch.tensor([[True, True, False], [True, False, True]])
    z = torch.randn(2, 3, 2, dtype=torch.double, generator=torch.manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: norm(z, moving), z)


def test_a_batch_in_which_nothing_moves_is_zero_and_forgotten() -> None:
    norm = CodeNorm(2)
    out = norm(torch.randn(3, 4, 2), torch.zeros(3, 4, dtype=torch.bool))
    assert not out.any()
    assert not norm.mean.any()
