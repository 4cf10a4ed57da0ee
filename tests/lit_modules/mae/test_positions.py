"""Positions begin as waves: near ones alike, each its own."""

import math

import torch

from lit_modules.mae.positions import GridPositions, waves
from lit_modules.mae.state_fusion import OCTAVES, as_waves


def test_waves_are_sines_and_cosines_of_growing_length() -> None:
    got = waves(5, 8)
    for place in range(5):
        for wave in range(4):
            angle = place / 10_000 ** (wave / 4)
            assert math.isclose(float(got[place, wave]), math.sin(angle), abs_tol=1e-6)
            assert math.isclose(float(got[place, 4 + wave]), math.cos(angle), abs_tol=1e-6)
    assert waves(5, 7).shape == (5, 7) and not waves(5, 7)[:, 6].any()


def test_places_near_each_other_begin_more_alike_than_far_ones() -> None:
    positions = GridPositions(32, (2, 14, 14)).place.detach().flatten(0, 1)
    likeness = positions @ positions.mT
    assert (likeness.diagonal() >= likeness.amax(1) - 1e-4).all()
    middle = 7 * 14 + 7
    assert likeness[middle, middle + 1] > likeness[middle, middle + 6]
    assert likeness[middle, middle + 14] > likeness[middle, middle + 6 * 14]


def test_numbers_as_waves_tell_neighbouring_pixels_apart() -> None:
    state = (torch.arange(256.0) / 128 - 1)[:, None]  # places on the screen
    features = as_waves(state)
    assert features.shape == (256, 1 + 2 * OCTAVES)
    torch.testing.assert_close(features[:, 0], state[:, 0])
    torch.testing.assert_close(features[:, 3], torch.sin(4 * torch.pi * state[:, 0]))
    assert (features.diff(dim=0).norm(dim=1) > 0.5).all()
