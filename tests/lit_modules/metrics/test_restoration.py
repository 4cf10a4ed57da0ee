"""Figures of restored clips are those of scikit-image and torchmetrics, in batches of any size."""

import math

import numpy as np
import pytest
import torch
from scrolling import scrolling
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from lit_modules.metrics import RestorationQuality
from lit_modules.metrics.restoration import within_bands

BANDS = (0.25, 0.6)


def case(n: int = 3, side: int = 32) -> tuple[Tensor, Tensor, Tensor]:
    """Restored clips, true ones and masks; some restored pixels are out of range, some exact."""
    generator = torch.Generator().manual_seed(0)
    true = scrolling(n, seed=1, t=4, side=side)
    hidden = torch.rand(n, 4, side, side, generator=generator) < 0.7
    wrong = (torch.rand(n, 4, side, side, generator=generator) < 0.5) & hidden
    noise = 0.3 * torch.randn(true.shape, generator=generator)
    return torch.where(wrong[:, None], true + noise, true), true, hidden


def figures(*clips: Tensor) -> dict[str, float]:
    quality = RestorationQuality(BANDS)
    quality.update(*clips)
    return {name: float(figure) for name, figure in quality.compute().items()}


def test_errors_are_those_of_numpy_and_scikit_image() -> None:
    restored, true, hidden = (x.double().numpy() for x in case())
    restored = restored.clip(0, 1)
    got, mask = figures(*case()), hidden.astype(bool)
    assert got["psnr"] == pytest.approx(peak_signal_noise_ratio(true, restored, data_range=1))
    at = np.nonzero(mask)
    a, b = (x.transpose(0, 2, 3, 4, 1)[at] for x in (true, restored))
    assert got["mse_masked"] == pytest.approx(((a - b) ** 2).mean())
    assert got["psnr_masked"] == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1))
    assert got["mse"] == pytest.approx(got["mse_masked"] * mask.mean())
    bytes_a, bytes_b = (np.rint(255 * x).astype(np.uint8) for x in (a, b))
    exact = (bytes_a == bytes_b).all(1).mean()
    assert 0.4 < exact < 0.6
    assert got["exact_masked"] == pytest.approx(exact)


def test_similarity_is_that_of_torchmetrics_and_within_frames_that_of_scikit_image() -> None:
    restored, true, hidden = case(1)
    restored = restored.clamp(0, 1)
    got = figures(restored, true, hidden)
    frames = [x.double().transpose(1, 2).flatten(0, 1) for x in (restored, true)]
    expected, plane = structural_similarity_index_measure(
        *frames, data_range=1.0, return_full_image=True
    )
    assert got["ssim"] == pytest.approx(float(expected), abs=1e-5)
    for a, b, ours in zip(*(x.numpy() for x in frames), plane.numpy(), strict=True):
        theirs = structural_similarity(
            *(a, b),
            **{"channel_axis": 0, "data_range": 1.0, "full": True, "gaussian_weights": True},
            **{"sigma": 1.5, "use_sample_covariance": False},
        )[1]
        inside = (slice(None), slice(5, -5), slice(5, -5))  # they mirror borders in another way
        np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-6)


def test_rows_are_within_a_band_or_between_two() -> None:
    height = 32
    band = [sum((row + 0.5) / height >= end for end in BANDS) for row in range(height)]
    expected = [
        len({band[near] for near in range(row - 5, row + 6) if 0 <= near < height}) == 1
        for row in range(height)
    ]
    assert within_bands(height, BANDS).tolist() == expected
    assert 0 < sum(expected) < height
    assert within_bands(height, ()).all()


def test_similarity_within_and_between_bands_parts_that_of_the_frame() -> None:
    restored, true, hidden = case(1)
    frames = [x.double().clamp(0, 1).transpose(1, 2).flatten(0, 1) for x in (restored, true)]
    plane = structural_similarity_index_measure(*frames, data_range=1.0, return_full_image=True)[1]
    rows, within = plane.mean((0, 1, 3)), within_bands(32, BANDS)
    got = figures(restored, true, hidden)
    assert got["ssim_within"] == pytest.approx(float(rows[within].mean()), abs=1e-5)
    assert got["ssim_between"] == pytest.approx(float(rows[~within].mean()), abs=1e-5)


def test_noise_at_a_border_of_bands_is_told_from_noise_within_one() -> None:
    true = scrolling(1, seed=0)
    quality = RestorationQuality((0.5,))
    for rows, better, worse in (
        (slice(2, 5), "ssim_between", "ssim_within"),
        (slice(14, 18), "ssim_within", "ssim_between"),
    ):
        restored = true.clone()
        restored[..., rows, :] = torch.rand(restored[..., rows, :].shape)
        quality.reset()
        quality.update(restored, true, torch.ones(1, 6, 32, 32, dtype=torch.bool))
        got = quality.compute()
        assert got[better] > got[worse] + 0.1


def test_batches_and_ranks_do_not_change_figures() -> None:
    whole = figures(*case())
    ranks = [RestorationQuality(BANDS) for _ in range(2)]
    for i, clips in enumerate(zip(*(x.split(1) for x in case()), strict=True)):
        ranks[i % 2].update(*clips)
    ranks[0].merge_state(ranks[1])  # as torchmetrics reduces states over processes
    together = {name: float(figure) for name, figure in ranks[0].compute().items()}
    assert together == pytest.approx(whole, rel=1e-6)


def test_bfloat16_around_the_metric_does_not_round_it() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        rounded = figures(*case())
    assert rounded == figures(*case())


def test_the_true_clip_is_perfect_and_what_is_not_there_is_no_number() -> None:
    true = scrolling(1, seed=0)
    nothing = torch.zeros(1, 6, 32, 32, dtype=torch.bool)
    got = figures(true, true, ~nothing)
    assert got["psnr"] == got["psnr_masked"] == math.inf
    assert got["exact_masked"] == 1
    assert got["ssim"] == got["ssim_within"] == got["ssim_between"] == 1
    got = figures(true, true, nothing)
    assert math.isnan(got["psnr_masked"])
    assert math.isnan(got["exact_masked"])


def test_what_does_not_fit_is_named() -> None:
    quality, clip = RestorationQuality(), torch.zeros(1, 3, 2, 8, 8)
    with pytest.raises(ValueError, match=r"hidden \(1, 2, 4, 4\) must fit the true clips"):
        quality.update(clip, clip, torch.zeros(1, 2, 4, 4, dtype=torch.bool))
    small = clip[..., :5]
    with pytest.raises(ValueError, match="frames of 8x5 pixels must be 6x6 or more"):
        quality.update(small, small, torch.zeros(1, 2, 8, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"regions \[0\.5, 0\.5\] must rise"):
        RestorationQuality((0.5, 0.5))
