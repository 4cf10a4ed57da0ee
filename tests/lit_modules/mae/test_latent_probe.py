"""The probe finds what is linear in features, nothing where there is nothing, on any rank."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from lit_modules.mae.probe import LinearProbe, fit


def blobs(n: int = 240, apart: float = 8.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features about one centre for each of three classes, of which one is rare."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([3, 3, 3, 3, 7, 7, 7, 250]).repeat(n // 8)
    centres = torch.randn(251, 6, generator=generator)
    centres = apart * centres / centres.norm(dim=1, keepdim=True)
    return centres[labels] + torch.randn(n, 6, generator=generator), labels, torch.arange(n)


def told(*clips: Tensor, **settings: int) -> tuple[float, float]:
    probe = LinearProbe(**settings)
    probe.update(*clips)
    got = probe.compute()
    return float(got["accuracy"]), float(got["chance"])


def test_classes_that_are_apart_are_told_apart() -> None:
    assert told(*blobs()) == (1.0, pytest.approx(1 / 3))


def test_noise_is_told_by_chance_however_uneven_the_classes() -> None:
    accuracies = [told(*blobs(apart=0.0, seed=seed))[0] for seed in range(8)]
    assert np.mean(accuracies) == pytest.approx(1 / 3, abs=0.07)


def test_held_out_clips_are_not_learned() -> None:
    """With more features than clips anything can be learned by heart, and noise is still noise."""
    generator = torch.Generator().manual_seed(0)
    accuracies = [
        told(torch.randn(80, 200, generator=generator), torch.arange(80) % 2, torch.arange(80))[0]
        for _ in range(8)
    ]
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.12)


def test_ranks_batches_and_repeated_clips_change_nothing() -> None:
    clips = blobs(apart=1.5)
    whole = LinearProbe()
    whole.update(*clips)
    assert 0.4 < whole.compute()["accuracy"] < 1
    ranks = [LinearProbe() for _ in range(2)]
    for rank in range(2):
        for start in (160, 80, 0):
            ranks[rank].update(*(x[start + rank : start + 80 : 2] for x in clips))
    ranks[1].update(*(x[:3] for x in clips))  # as a sampler fills up uneven ranks
    ranks[0].merge_state(ranks[1])
    assert ranks[0].compute() == whole.compute()


def test_scale_and_place_of_features_do_not_matter_nor_do_dead_ones() -> None:
    features, labels, clips = blobs(apart=1.5)
    moved = features * torch.logspace(-2, 2, 6) + 3
    moved = torch.cat([moved, torch.full((len(moved), 2), 5.0)], 1)
    assert told(moved, labels, clips) == pytest.approx(told(features, labels, clips), abs=0.02)


def test_rare_classes_are_left_out_and_one_class_is_no_question() -> None:
    features, labels, clips = blobs(64)  # 8 clips of the rarest
    assert told(features, labels, clips, least=9)[1] == 0.5
    assert told(features, labels, clips, least=8)[1] == pytest.approx(1 / 3)
    assert all(np.isnan(told(features, labels * 0, clips)))
    with pytest.raises(ValueError, match="least 1 must be 2 or more"):
        LinearProbe(least=1)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_a_probe_without_clips_knows_nothing() -> None:
    assert all(figure.isnan() for figure in LinearProbe().compute().values())


def test_inference_mode_is_no_hindrance() -> None:
    with torch.inference_mode():
        inside = told(*blobs(apart=1.5))
    assert inside == told(*blobs(apart=1.5))


def test_the_regression_is_where_scipy_finds_it() -> None:
    features, labels, _ = blobs(80, apart=1.0)
    classes = labels.unique()
    index = torch.searchsorted(classes, labels)
    weight, bias = fit(features.double(), index, len(classes))
    x, y = features.double().numpy(), index.numpy()
    of_class = len(y) / (3 * np.bincount(y))

    def loss(parameters: np.ndarray) -> float:
        scores = x @ parameters[:18].reshape(3, 6).T + parameters[18:]
        scores -= scores.max(1, keepdims=True)
        errors = np.log(np.exp(scores).sum(1)) - scores[np.arange(len(y)), y]
        return float((of_class[y] * errors).mean() + (parameters[:18] ** 2).sum() / (2 * len(y)))

    best = minimize(loss, np.zeros(21), method="BFGS", options={"gtol": 1e-6}).x
    np.testing.assert_allclose(weight.numpy(), best[:18].reshape(3, 6), atol=2e-3)
    np.testing.assert_allclose(bias - bias.mean(), best[18:] - best[18:].mean(), atol=2e-3)
