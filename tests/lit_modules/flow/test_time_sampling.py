"""Flow times: their distribution in training, their layout in sampling."""

import math

import pytest
import torch
from scipy import stats

from lit_modules.flow.time_sampling import TimeSampler
from lit_modules.layers.noise import SampleNoise

SHIFTS = (0.5, 1.0, 3.0)


def drawn(sampler: TimeSampler, count: int = 4000, seed: int = 0) -> torch.Tensor:
    return sampler.sample(SampleNoise(seed).generators(range(count)))


@pytest.mark.parametrize("shift", SHIFTS)
def test_logit_normal_times_have_their_density(shift: float) -> None:
    t = drawn(TimeSampler("logit_normal", mean=0.4, std=0.8, shift=shift))
    # Eq. 23 in other words: the shift adds ln s to the logit.
    law = stats.norm(0.4 + math.log(shift), 0.8)
    assert stats.kstest(torch.logit(t.double()).numpy(), law.cdf).pvalue > 0.01


@pytest.mark.parametrize("shift", SHIFTS)
def test_uniform_times_have_their_density(shift: float) -> None:
    t = drawn(TimeSampler("uniform", shift=shift)).double()
    unshifted = t / (shift - (shift - 1) * t)
    assert stats.kstest(unshifted.numpy(), "uniform").pvalue > 0.01


@pytest.mark.parametrize("kind", ["uniform", "logit_normal"])
def test_time_of_a_sample_does_not_depend_on_its_batch(kind: str) -> None:
    sampler, noise = TimeSampler(kind), SampleNoise(5)
    together = sampler.sample(noise.generators(range(6)))
    apart = [sampler.sample(noise.generators([i])) for i in range(6)]
    assert torch.equal(torch.cat(apart), together)


@pytest.mark.parametrize("shift", SHIFTS)
def test_schedule_falls_from_one_to_zero(shift: float) -> None:
    times = TimeSampler(shift=shift).schedule(7)
    assert times.shape == (8,)
    assert (times[0], times[-1]) == (1, 0)
    assert (times.diff() < 0).all()


def test_schedule_shifts_as_training_does() -> None:
    even = torch.linspace(1, 0, 11)
    torch.testing.assert_close(TimeSampler(shift=1).schedule(10), even)
    torch.testing.assert_close(TimeSampler(shift=3).schedule(10), 3 * even / (1 + 2 * even))


@pytest.mark.parametrize(
    ("arguments", "value"),
    [({"kind": "cosine"}, "cosine"), ({"std": 0.0}, "0.0"), ({"shift": -1.0}, "-1.0")],
)
def test_values_out_of_range_are_named(arguments: dict[str, object], value: str) -> None:
    with pytest.raises(ValueError, match=value):
        TimeSampler(**arguments)  # type: ignore[arg-type]


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps 0"):
        TimeSampler().schedule(0)
