"""The four losses against their definitions, written out."""

import pytest
import torch

from lit_modules.mae.losses import (
    FLAT,
    LossWeights,
    StateAlignment,
    reconstruction,
    spatial_consistency,
    temporal_coherence,
)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_reconstruction_is_the_mean_squared_error_of_each_clip() -> None:
    predicted, true = draw(2, 3, 24), draw(2, 3, 24, seed=1)
    expected = [torch.nn.functional.mse_loss(p, t) for p, t in zip(predicted, true, strict=True)]
    torch.testing.assert_close(reconstruction(predicted, true), torch.stack(expected))


def test_normalised_error_is_that_of_pixels_normalised_by_their_own_cube() -> None:
    predicted, true = draw(1, 3, 24), draw(1, 3, 24, seed=1)
    mean, deviation = true.mean(-1, keepdim=True), (true.var(-1, keepdim=True) + FLAT).sqrt()
    expected = ((predicted - mean) / deviation - (true - mean) / deviation).square().mean()
    torch.testing.assert_close(reconstruction(predicted, true, True)[0], expected)


def test_temporal_coherence_judges_changes_and_not_what_stays_wrong() -> None:
    true = draw(1, 3, 2, 12)
    wrong_alike = true + draw(1, 3, 1, 12, seed=1)
    assert temporal_coherence(wrong_alike.flatten(2), true.flatten(2)).item() < 1e-12
    wrong_once = true.clone()
    wrong_once[:, :, 1] += 2.0
    torch.testing.assert_close(
        temporal_coherence(wrong_once.flatten(2), true.flatten(2)), torch.tensor([4.0])
    )


def test_spatial_consistency_is_zero_where_regions_are_uniform_and_opposed() -> None:
    regions = torch.tensor([[0, 0, 1, 1]])
    apart = torch.tensor([[[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.0, 1.0]]])
    assert spatial_consistency(apart, regions, 3).item() == pytest.approx(0, abs=1e-6)
    alike = torch.ones(1, 4, 2)
    assert spatial_consistency(alike, regions, 3).item() == pytest.approx(1, abs=1e-6)


def test_spatial_consistency_against_its_definition_in_loops() -> None:
    latents, regions = draw(1, 12, 5), torch.arange(12)[None] % 3
    unit = latents[0] / latents[0].norm(dim=1, keepdim=True)
    means = [unit[regions[0] == r].mean(0) for r in range(3)]
    means = [mean / mean.norm() for mean in means]
    within = sum(1 - float(u @ means[int(r)]) for u, r in zip(unit, regions[0], strict=True)) / 12
    between = [max(0.0, float(means[a] @ means[b])) for a, b in ((0, 1), (0, 2), (1, 2))]
    expected = within + sum(between) / 3
    assert spatial_consistency(latents, regions, 4).item() == pytest.approx(expected, abs=1e-5)


def test_alignment_reads_the_state_and_ignores_what_is_unknown() -> None:
    align = StateAlignment(2, 1)
    with torch.no_grad():
        align.read.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        align.read.bias.zero_()
    latents = torch.tensor([[[1.0, 4.0], [3.0, 0.0], [9.0, 9.0]]])
    times = torch.tensor([[0, 0, 1]])  # means (2, 2) and (9, 9); nothing is seen of the third pair
    state = torch.tensor([[[2.0], [5.0], [9.0], [9.0], [7.0], [7.0]]])
    known = torch.ones(1, 6, dtype=torch.bool)
    assert align(latents, times, state, known).item() == pytest.approx((5 - 2) ** 2 / 4)
    known[0, 1] = False
    assert align(latents, times, state, known).item() == 0
    assert align(latents, times, state, torch.zeros_like(known)).item() == 0


def test_dynamic_weights_begin_as_the_fixed_ones_and_settle_at_the_loss() -> None:
    losses = {"a": torch.tensor(0.5), "b": torch.tensor(4.0)}
    weights = {"a": 1.0, "b": 0.3}
    dynamic = LossWeights(weights, dynamic=True)
    assert dynamic(losses).item() == pytest.approx(LossWeights(weights)(losses).item())
    optimizer = torch.optim.SGD(dynamic.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        dynamic(losses).backward()
        optimizer.step()
    # The least of exp(-s) * loss + s lies at s = log(loss).
    expected = torch.tensor([0.5, 4.0]).log()
    torch.testing.assert_close(dynamic.log_variance.detach(), expected, atol=1e-3, rtol=0)
