"""Energies against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from lit_modules.latent_action.energy import middle, token_energy, velocity_energy


def test_l2_mean_is_the_mean_length_of_tokens() -> None:
    tokens = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 2.0]]])
    assert token_energy(tokens, "l2_mean").tolist() == [2.5, 1.5]


def test_token_diff_is_the_mean_step_from_token_to_token() -> None:
    turning = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]])
    assert token_energy(turning, "token_diff_l2_mean").item() == pytest.approx(math.sqrt(2))


def test_even_motion_has_an_amount_but_no_change() -> None:
    velocity = torch.full((1, 16, 400, 2), 0.01)
    seen = torch.ones(1, 16, 400, dtype=torch.bool)
    amount = velocity_energy(velocity, seen, "l2_mean").item()
    assert amount == pytest.approx(0.01 * math.sqrt(2), rel=1e-5)
    assert velocity_energy(velocity, seen, "token_diff_l2_mean").item() == 0


def test_energy_grows_in_proportion_to_motion() -> None:
    velocity = torch.randn(3, 16, 25, 2, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(3, 16, 25, dtype=torch.bool)
    for mode in ("l2_mean", "token_diff_l2_mean"):
        once, twice = (velocity_energy(k * velocity, seen, mode) for k in (1, 2))
        torch.testing.assert_close(twice, 2 * once)


def test_points_that_are_not_seen_do_not_count() -> None:
    velocity = torch.zeros(1, 4, 2, 2)
    velocity[..., 0, 0], velocity[..., 1, 0] = 0.5, 9.0
    seen = torch.tensor([True, False]).expand(1, 4, 2)
    assert velocity_energy(velocity, seen, "l2_mean").item() == 0.5
    assert velocity_energy(velocity, ~seen & False, "l2_mean").item() == 0


def test_one_token_alone_knows_no_change_and_no_window_no_energy() -> None:
    assert token_energy(torch.ones(2, 1, 3), "token_diff_l2_mean").tolist() == [0, 0]
    assert token_energy(torch.ones(0, 4, 3), "l2_mean").shape == (0,)


def test_middle_is_the_stride_that_a_window_answers_for() -> None:
    assert middle(16, 16, 4) == slice(6, 10)
    assert middle(16, 16, 1) == slice(7, 8)
    assert middle(4, 16, 4) == slice(1, 3)  # tokens of four steps: both that reach into it
    assert middle(1, 16, 4) == slice(0, 1)


def test_middle_energies_see_nothing_of_the_rest_of_the_window() -> None:
    part = middle(16, 16, 2)
    quiet = torch.zeros(1, 16, 3, 2)
    outside, inside = quiet.clone(), quiet.clone()
    outside[:, :6] = outside[:, 9:] = 1.0  # the step before the middle is the first that counts
    inside[:, 8] = 1.0
    seen = torch.ones(1, 16, 3, dtype=torch.bool)
    for mode in ("l2_middle", "token_diff_l2_middle"):
        assert velocity_energy(outside, seen, mode, part).item() == 0
        assert velocity_energy(inside, seen, mode, part).item() > 0
        assert token_energy(outside.flatten(2), mode, part).item() == 0
        assert token_energy(inside.flatten(2), mode, part).item() > 0


def test_change_is_counted_from_the_step_before_the_middle() -> None:
    steps = torch.zeros(1, 4, 1)
    steps[:, 2:] = 1.0
    assert token_energy(steps, "token_diff_l2_middle", slice(2, 3)).item() == 1.0
    assert token_energy(steps, "token_diff_l2_middle", slice(3, 4)).item() == 0.0
