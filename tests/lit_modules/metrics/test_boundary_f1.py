"""Boundaries are matched as a brute-force search over all pairings matches them."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from lit_modules.metrics import BoundaryF1
from lit_modules.metrics.boundary_f1 import count_matches


def scores(*recordings, **kwargs):
    metric = BoundaryF1(**kwargs)
    for predicted, true in recordings:
        metric.update(torch.tensor(predicted), torch.tensor(true))
    return {name: float(value) for name, value in metric.compute().items()}


@pytest.mark.parametrize("seed", range(40))
def test_as_many_are_matched_as_an_optimal_assignment_matches(seed):
    rng = np.random.default_rng(seed)
    ours, theirs = (rng.integers(0, 60, rng.integers(0, 25)) / 20 for _ in range(2))
    for tolerance in (0.0, 0.1, 0.25):
        near = np.abs(ours[:, None] - theirs[None]) <= tolerance + 1e-9
        rows, columns = linear_sum_assignment(near, maximize=True)
        assert count_matches(*map(torch.tensor, (ours, theirs)), tolerance) == (
            near[rows, columns].sum()
        )


def test_tolerance_includes_its_end_in_steps_of_a_twentieth():
    steps = torch.arange(200, dtype=torch.float64) * 0.05
    assert count_matches(steps[2::5], steps[::5], 0.1) == 40
    assert count_matches(steps[2::5], steps[::5], 0.099) == 0


def test_a_true_boundary_is_spent_by_the_first_that_takes_it():
    assert scores(([1.0, 1.0, 1.05], [1.0])) == pytest.approx(
        {
            **{f"boundary_f1_{unit}": 0.5 for unit in ("100ms", "250ms")},
            **{f"boundary_precision_{unit}": 1 / 3 for unit in ("100ms", "250ms")},
            **{f"boundary_recall_{unit}": 1.0 for unit in ("100ms", "250ms")},
        }
    )


def test_counts_add_up_over_recordings_whose_times_do_not_mix():
    apart = scores(([1.0], [2.0]), ([2.0], [1.0]), tolerances=[0.1])
    assert apart["boundary_f1_100ms"] == 0
    both = scores(([1.0, 3.0], [1.0]), ([2.0], [2.0, 5.0]), tolerances=[0.1])
    assert both["boundary_f1_100ms"] == pytest.approx(2 * 2 / 6)


def test_no_boundaries_at_all_score_0():
    assert set(scores(([], [])).values()) == {0.0}
    assert set(scores(([], [1.0])).values()) == {0.0}
