"""Distances have the values that theory gives, and cheats do not pay."""

import pytest
import torch
from scrolling import scrolling
from torch import nn

from lit_modules.metrics import ClipFeatures, GenerationQuality, PaletteDrift
from lit_modules.metrics.generation_quality import blurred, frozen

CHEATS = ("frechet_mean_frame", "frechet_frozen_frame", "frechet_blurred")


class FirstRow(nn.Module):
    """The first pixels of the first frame are the features."""

    num_features = 5

    def forward(self, video):
        return video[:, 0, 0, 0, : self.num_features]


def clips_of(rows):
    """Clips `(n, 3, 2, 16, 16)` whose features are `rows` `(n, 5)`."""
    video = torch.zeros(len(rows), 3, 2, 16, 16)
    video[:, 0, 0, 0, : rows.shape[1]] = rows
    return video


def standard_normal(n, d, seed):
    """Rows whose mean is 0 and whose covariance is the identity, exactly."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x -= x.mean(0)
    return (
        x
        @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov(correction=1) if d == 1 else x.T.cov())).T
    )


def test_distance_of_gaussians_is_the_closed_form():
    x = standard_normal(40, 5, seed=0)
    spread = torch.tensor([0.5, 1.0, 2.0, 3.0, 0.1], dtype=torch.float64)
    shift = torch.tensor([1.0, 0.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    quality = GenerationQuality(FirstRow())
    quality.update(real=clips_of(x.repeat_interleave(2, 0)), generated=clips_of(x * spread + shift))
    scores = quality.compute()
    expected = shift.square().sum() + (spread - 1).square().sum()
    assert float(scores["frechet"]) == pytest.approx(float(expected), rel=1e-4)
    assert float(scores["frechet_floor"]) == pytest.approx(0, abs=1e-5)
    # The mean frame has no spread and, here, half the mean: the second frame of a clip is black.
    assert float(scores["frechet_mean_frame"]) == pytest.approx(5, rel=1e-4)


def test_clips_of_the_same_game_are_at_the_floor_and_cheats_far_above():
    quality = GenerationQuality()
    quality.update(real=scrolling(300, seed=0), generated=scrolling(150, seed=1))
    scores = quality.compute()
    assert scores["frechet"] < 1.5 * scores["frechet_floor"]
    for cheat in CHEATS:
        assert scores[cheat] > 5 * scores["frechet_floor"], cheat
    assert scores["frechet_mean_frame"] == max(scores.values())
    assert scores["palette_drift"] == scores["palette_drift_growth"] == 0


@pytest.mark.parametrize("cheat", [frozen, blurred])
def test_a_generator_that_cheats_scores_as_the_cheat(cheat):
    real, other = scrolling(200, seed=0), scrolling(100, seed=1)
    quality = GenerationQuality()
    quality.update(real=real, generated=cheat(other))
    scores = quality.compute()
    named = scores["frechet_frozen_frame" if cheat is frozen else "frechet_blurred"]
    assert float(scores["frechet"]) == pytest.approx(float(named), rel=0.1)


def test_noise_moves_away_with_its_strength():
    real, other = scrolling(200, seed=0), scrolling(100, seed=1)
    noise = torch.randn(other.shape, generator=torch.Generator().manual_seed(2))
    distances = []
    for strength in (0, 0.03, 0.1, 0.3):
        quality = GenerationQuality()
        quality.update(real=real, generated=(other + strength * noise).clamp(0, 1))
        distances.append(float(quality.compute()["frechet"]))
    assert distances == sorted(distances)


def test_batches_may_be_cut_anywhere():
    real, generated = scrolling(40, seed=0), scrolling(21, seed=1)
    whole, parts = GenerationQuality(), GenerationQuality()
    whole.update(real=real, generated=generated)
    for start, end in ((0, 1), (1, 8), (8, 9), (9, 40)):
        parts.update(real=real[start:end])
    parts.update(generated=generated[:20])
    parts.update(generated=generated[20:])
    for name, value in whole.compute().items():
        torch.testing.assert_close(parts.compute()[name], value, rtol=1e-3, atol=1e-3, msg=name)
    parts.reset()
    parts.update(real=real, generated=generated)
    torch.testing.assert_close(parts.compute(), whole.compute(), rtol=1e-3, atol=1e-3)


def test_mean_frame_is_that_of_all_reference_clips():
    real = scrolling(30, seed=0)
    quality = GenerationQuality()
    quality.update(real=real[:11])
    quality.update(real=real[11:], generated=real[:2])
    still = real[::2].mean((0, 2), keepdim=True).expand(1, -1, real.shape[2], -1, -1)
    torch.testing.assert_close(quality.mean_frame.compute(), still)
    reference, point = ClipFeatures()(real[::2]).double(), ClipFeatures()(still).double()
    expected = (reference.mean(0) - point).square().sum() + reference.var(0).sum()
    assert float(quality.compute()["frechet_mean_frame"]) == pytest.approx(
        float(expected), rel=1e-3
    )


def test_palette_drift_is_the_share_of_foreign_pixels():
    real = scrolling(4, seed=0)
    generated = scrolling(2, seed=1, t=4)
    generated += torch.rand(generated.shape, generator=torch.Generator().manual_seed(0)) * 0.01
    generated[:, :, 3, :8] = torch.tensor([1.0, 0.0, 1.0])[:, None, None]
    drift = PaletteDrift()
    drift.update(real=real, generated=generated)
    scores = drift.compute()
    assert float(scores["palette_drift"]) == pytest.approx(1 / 4 * 8 / 32)
    assert float(scores["palette_drift_growth"]) == pytest.approx(8 / 32)
