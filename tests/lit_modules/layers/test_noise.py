"""Randomness of a sample: the mixing function, and what it makes independent of what."""

import pytest
import torch

from lit_modules.layers.noise import GOLDEN_GAMMA, SampleNoise, splitmix64


def test_splitmix64_equals_its_reference() -> None:
    # The first outputs of java.util.SplittableRandom's generator from state 1234567.
    outputs = [splitmix64(1234567 + i * GOLDEN_GAMMA) for i in range(5)]
    assert outputs == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_a_sample_draws_the_same_in_any_batch() -> None:
    noise = SampleNoise(seed=7)
    whole = noise.normal(noise.generators(torch.arange(10, 18)), (3, 5))
    for rank in range(2):  # two ranks, each with every other sample
        part = noise.normal(noise.generators(torch.arange(10 + rank, 18, 2)), (3, 5))
        assert torch.equal(part, whole[rank::2])


def test_draws_differ_between_samples_and_seeds() -> None:
    draws = torch.cat(
        [
            SampleNoise.normal(SampleNoise(seed).generators(range(50)), (1000,))
            for seed in (0, 1, GOLDEN_GAMMA)  # one seed a step of the mixing function beyond 0
        ]
    )
    correlation = torch.corrcoef(draws) - torch.eye(len(draws))
    assert correlation.abs().max() < 0.17  # 5.4 standard deviations, of 11,175 pairs


@pytest.mark.parametrize(
    ("name", "mean", "std"), [("normal", 0.0, 1.0), ("uniform", 0.5, 12**-0.5)]
)
def test_first_draws_of_consecutive_samples_are_distributed_as_they_should(
    name: str, mean: float, std: float
) -> None:
    first = getattr(SampleNoise, name)(SampleNoise(0).generators(range(4000)))
    assert first.shape == (4000,)
    assert abs(first.mean() - mean) < 4 * std / 4000**0.5
    assert abs(first.std() - std) < 0.05 * std


def test_a_generator_goes_on_where_it_stopped() -> None:
    generators = SampleNoise(0).generators([3, 4])
    first, second = (SampleNoise.normal(generators, (8,)) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**80])
def test_any_integer_is_a_seed(seed: int) -> None:
    assert SampleNoise.normal(SampleNoise(seed).generators([0]), (2,)).isfinite().all()
