"""Warm-up and cosine: the whole course, both rates of Muon, and resumption."""

import math

import pytest
import torch

from lit_modules import Muon, WarmupCosine


def course(scheduler: WarmupCosine, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """The rate of each step."""
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def sgd(lr: float = 2.0) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=lr)


def test_rate_grows_linearly_then_falls_along_a_half_cosine() -> None:
    optimizer = sgd()
    rates = course(WarmupCosine(optimizer, 3, 13, final=0.1), optimizer, 15)
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    cosine = [0.2 + 1.8 * (1 + math.cos(math.pi * k / 10)) / 2 for k in range(11)]
    assert rates[3:14] == pytest.approx(cosine)
    assert rates[14] == pytest.approx(0.2)


def test_cosine_is_that_of_torch() -> None:
    ours, theirs = sgd(), sgd()
    other = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 10)
    rates = course(WarmupCosine(ours, 0, 10), ours, 10)
    for rate in rates:
        assert rate == pytest.approx(theirs.param_groups[0]["lr"])
        theirs.step()
        other.step()


def test_both_rates_of_muon_follow() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2))]
    optimizer = Muon(weights, lr=0.02, adam_lr=0.001)
    course(WarmupCosine(optimizer, 0, 10), optimizer, 5)
    (group,) = optimizer.param_groups
    assert group["lr"] / 0.02 == pytest.approx(0.5)
    assert group["adam_lr"] / 0.001 == pytest.approx(0.5)


def test_resumed_course_equals_the_uninterrupted_one() -> None:
    whole, first = sgd(), sgd()
    rates = course(WarmupCosine(whole, 2, 10), whole, 10)
    scheduler = WarmupCosine(first, 2, 10)
    start = course(scheduler, first, 4)
    second = sgd()
    resumed = WarmupCosine(second, 2, 10)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert start + course(resumed, second, 6) == pytest.approx(rates)
