"""What curves of rate and quality are worth against each other, and what a rival's file holds."""

from __future__ import annotations

import numpy as np
import pytest
from made_recordings import scroll

from benchmarks.codec_rivals import RATES, bd_rate, code

CURVE = [(10.0, 28.0), (20.0, 31.0), (40.0, 34.5), (80.0, 39.0)]


def test_curve_at_twice_the_rate_costs_twice_the_bits() -> None:
    twice = [(2 * rate, quality) for rate, quality in CURVE]
    assert bd_rate(twice, CURVE) == pytest.approx(100)
    assert bd_rate(CURVE, twice) == pytest.approx(-50)
    assert bd_rate(CURVE, CURVE) == pytest.approx(0)


def test_curves_that_share_no_quality_are_not_compared() -> None:
    assert bd_rate(CURVE, [(rate, quality + 20) for rate, quality in CURVE]) is None
    assert bd_rate(CURVE, CURVE[:1]) is None


@pytest.mark.parametrize("name", RATES)
def test_a_rivals_frames_come_from_its_file(name: str) -> None:
    frames = scroll(0, 6, (64, 64))[0]
    good, bad = (code(name, crf, frames, 30, 4) for crf in (15, 45))
    errors = [np.square(made.astype(float) - frames).mean() for _, made in (good, bad)]
    assert good[1].shape == frames.shape
    assert 0 < bad[0] <= good[0]
    assert errors[0] <= errors[1]
    assert errors[0] < 200
