"""The baselines find what each is made for, on recordings that they were not fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from lit_modules.latent_action import baselines
from lit_modules.latent_action.baselines import Recording, all_baselines, recording_of, score

STEP = 1 / 20


def recording(seed: int, steps: int = 600, noise: float = 0.05) -> Recording:
    """A square thing that stands, goes right, stands, goes left; each for 0.5 to 2 seconds."""
    rng = np.random.default_rng(seed)
    signs = np.zeros(steps, int)
    true, at, kind = [], 0, 0
    while at < steps:
        stop = at + int(rng.integers(10, 40))
        signs[at:stop] = (0, 1, 0, -1)[kind % 4]
        true += [stop * STEP] if stop < steps else []
        at, kind = stop, kind + 1
    velocity = np.zeros((steps, 400, 2), np.float32)
    velocity[:, 200:240, 0] = 0.01 * signs[:, None]
    velocity += rng.normal(0, 0.01 * noise, velocity.shape)
    difference = np.abs(signs) + rng.normal(0, noise, steps)
    return recording_of(
        np.arange(steps) * STEP, difference.astype(np.float32), velocity, np.array(true)
    )


@pytest.fixture(scope="module")
def recordings() -> tuple[list[Recording], list[Recording]]:
    return [recording(seed) for seed in range(2)], [recording(seed) for seed in (10, 11)]


def f1(baseline: baselines.Baseline, held_out: list[Recording]) -> float:
    found = score([(baseline.boundaries(one), one.true) for one in held_out])
    return found["boundary_f1_100ms"]


@pytest.mark.parametrize(
    "name", ["frame difference, any way", "flow magnitude, any way", "KernelCPD"]
)
def test_changes_of_motion_are_found_on_recordings_not_fitted_on(name, recordings):
    if name == "KernelCPD":
        pytest.importorskip("ruptures", reason="pip install -e .[peers]")
    train, held_out = recordings
    baseline = all_baselines()[name]
    baseline.fit(train)
    assert f1(baseline, held_out) > 0.9


@pytest.mark.parametrize("name", ["random", "uniform grid"])
def test_blind_baselines_are_far_from_it_and_do_not_look(name, recordings):
    train, held_out = recordings
    baseline = all_baselines()[name]
    baseline.fit(train)
    assert f1(baseline, held_out) < 0.5
    blind = [
        one._replace(flow=0 * one.flow, frame_difference=one.seconds, true=one.true[:0])
        for one in held_out
    ]
    for with_eyes, without in zip(held_out, blind, strict=True):
        assert (baseline.boundaries(with_eyes) == baseline.boundaries(without)).all()


def test_settings_are_those_of_an_exhaustive_search(recordings):
    train, _ = recordings
    grid = baselines.UniformGrid()
    grid.fit(train)

    def value(period: float) -> float:
        found = score([(grid.cut(one, period), one.true) for one in train])
        return found["boundary_f1_100ms"] + found["boundary_f1_250ms"]

    assert value(grid.settings) == max(map(value, baselines.PERIODS))


def test_grid_is_even_and_inside():
    times = baselines.UniformGrid().cut(recording(0), 0.5)
    np.testing.assert_allclose(np.diff(times), 0.5)
    assert 0 < times[0] <= times[-1] < 600 * STEP


def test_crossing_there_and_back_is_none():
    signal = np.array([0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0], np.float32)
    assert baselines.crossings(signal, 0.5, apart=1).tolist() == [2, 3, 6, 10]
    assert baselines.crossings(signal, 0.5, apart=2).tolist() == [6, 10]


def test_pooling_keeps_the_mean_and_the_place():
    velocity = np.zeros((1, 400, 2), np.float32)
    velocity[0, 0, 0], velocity[0, 399, 1] = 16, 32  # top left to the right, bottom right down
    cells = baselines.pooled(velocity).reshape(2, baselines.POOLED, baselines.POOLED)
    assert (cells[0, 0, 0], cells[1, -1, -1]) == (1, 2)
    assert np.abs(cells).sum() == 3
