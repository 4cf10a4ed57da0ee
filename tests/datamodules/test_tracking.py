"""Trackers against motion that is known, and steps of 1/20 s against sums that are known."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
import torch
from moving_pictures import scrolled, texture

from datamodules.tracking import Motion, MotionSteps, make_tracker
from datamodules.tracking.motion import grid_points
from datamodules.tracking.steps import Resampler, actions_of_steps

GRID = 10
HEIGHT, WIDTH = 120, 160
INNER = np.zeros((GRID, GRID), bool)
INNER[2:-2, 2:-2] = True
INNER = INNER.ravel()


@pytest.mark.parametrize(("name", "tolerance"), [("lucas_kanade", 0.05), ("dis", 0.3)])
@pytest.mark.parametrize(("x", "y"), [(3, -2), (-7, 5), (0, 1)])
def test_shifted_texture_has_the_velocity_of_the_shift(name, tolerance, x, y):
    whole = texture(0, HEIGHT + 40, WIDTH + 40)
    before = whole[20 : 20 + HEIGHT, 20 : 20 + WIDTH].copy()
    after = whole[20 - y : 20 - y + HEIGHT, 20 - x : 20 - x + WIDTH].copy()
    velocity, visible = make_tracker(name, GRID).step(before, after)
    assert visible[INNER].mean() > 0.9
    pixels = velocity * (WIDTH, HEIGHT)
    assert np.abs(pixels - (x, y))[INNER & visible].max() < tolerance


@pytest.mark.parametrize("name", ["lucas_kanade", "dis"])
def test_a_point_whose_cell_does_not_change_is_exactly_still(name):
    scene = texture(1, HEIGHT, WIDTH)
    before, after = scene.copy(), scene.copy()
    before[40:64, 50:74] = after[42:66, 53:77] = texture(2, 24, 24)
    after[40:42, 50:74] = after[40:66, 50:53] = 0
    after[5, 5] = before[5, 5] ^ 4  # noise
    changed = np.abs(before.astype(int) - after) > 8
    cells = changed.reshape(GRID, HEIGHT // GRID, GRID, WIDTH // GRID).any(axis=(1, 3)).ravel()
    velocity, visible = make_tracker(name, GRID).step(before, after)
    assert 4 <= cells.sum() <= 12
    assert not velocity[~cells].any()
    assert visible[~cells].all()
    assert velocity[cells & visible].any()
    centre = grid_points(GRID, HEIGHT, WIDTH)
    within = ((centre > (58, 48)) & (centre < (68, 58))).all(axis=1)
    moved = velocity[within] * (WIDTH, HEIGHT)
    np.testing.assert_allclose(moved, np.broadcast_to((3, 2), moved.shape), atol=0.5)


@pytest.mark.parametrize("name", ["lucas_kanade", "dis"])
def test_points_are_lost_where_the_scene_changes_and_then_do_not_move(name):
    velocity, visible = make_tracker(name, GRID).step(
        texture(3, HEIGHT, WIDTH), texture(4, HEIGHT, WIDTH)
    )
    assert visible.mean() < 0.5
    assert not velocity[~visible].any()


def test_velocity_does_not_depend_on_the_size_of_the_frame():
    whole = texture(5, HEIGHT + 4, WIDTH + 4)
    pair = [whole[:-4, :-4].copy(), whole[2:-2, 1:-3].copy()]
    large = [frame.repeat(2, axis=0).repeat(2, axis=1) for frame in pair]
    plain, shrinking = make_tracker(grid=GRID), make_tracker(grid=GRID, resize_shorter=HEIGHT)
    expected = plain.step(*map(plain.gray, pair))
    found = shrinking.step(*map(shrinking.gray, large))
    assert np.array_equal(found.velocity, expected.velocity)
    doubled = plain.step(*large)
    agree = INNER & doubled.visible & expected.visible
    assert agree.sum() > 30
    assert np.abs(doubled.velocity - expected.velocity)[agree].max() < 0.2 / HEIGHT


@pytest.mark.parametrize("fps", [12, 24, 30, 50, 59.94, 60])
def test_a_sprite_that_moves_evenly_has_the_same_velocity_at_any_rate(fps):
    sprite = texture(6, 72, 72)
    speed = 60, -24  # pixels a second
    steps, motion = MotionSteps(make_tracker(grid=GRID)), []
    for number in range(ceil(0.5 * fps) + 1):
        x, y = (start + v * number / fps for start, v in zip((30, 40), speed, strict=True))
        motion += steps.push(scrolled(sprite, -x, -y, HEIGHT, WIDTH), number / fps)
    np.testing.assert_allclose([step.seconds for step in motion[:10]], np.arange(10) / 20)
    for number, step in enumerate(motion):
        left, top = 30 + speed[0] * number / 20, 40 + speed[1] * number / 20
        place = grid_points(GRID, HEIGHT, WIDTH) - (left, top)
        on_it = ((place > 16) & (place < 72 - 16)).all(axis=1) & step.visible
        assert on_it.sum() >= 4
        pixels = step.velocity[on_it] * (WIDTH, HEIGHT)
        assert np.abs(np.median(pixels, axis=0) - np.divide(speed, 20)).max() < 0.15


def test_steps_add_up_to_the_way_that_lies_in_them():
    rng = np.random.default_rng(0)
    for _ in range(20):
        times = 3.7 + np.cumsum(rng.exponential(0.03, 60))
        ways = rng.standard_normal((59, 2, 2)).astype(np.float32)
        seen = rng.random((59, 2)) > 0.1
        resampler, steps = Resampler(2, 20.0, times[0]), []
        for i in range(59):
            steps += resampler.add(Motion(ways[i], seen[i]), times[i], times[i + 1])
        borders = times[0] + np.arange(len(steps) + 1) / 20
        assert times[-1] - 0.05 < borders[-1] <= times[-1] + 1e-6
        total = np.concatenate([np.zeros((1, 4)), np.cumsum(ways.reshape(59, 4), axis=0)])
        at = np.stack([np.interp(borders, times, column) for column in total.T], axis=1)
        found = np.array([step.velocity for step in steps]).reshape(-1, 4)
        np.testing.assert_allclose(found, np.diff(at, axis=0), atol=1e-5)
        for step, begin, end in zip(steps, borders, borders[1:], strict=False):
            within = (times[:-1] < end - 1e-6) & (times[1:] > begin + 1e-6)
            assert np.array_equal(step.visible, seen[within].all(axis=0))


def test_steps_that_are_known_are_not_tracked_and_the_others_are_as_ever():
    class Counting:
        grid, calls = 2, 0

        def gray(self, frame):
            return frame

        def step(self, previous, gray):
            self.calls += 1
            way = np.full((4, 2), int(gray[0, 0]), np.float32)
            return Motion(way, np.ones(4, bool))

    def run(skip):
        tracker = Counting()
        steps = MotionSteps(tracker, skip=skip)
        frames = [np.full((2, 2), i * i % 251, np.uint8) for i in range(40)]
        return tracker, [s for i, f in enumerate(frames) for s in steps.push(f, i / 30)]

    all_of_them, whole = run(0)
    for skip in (1, 7, 25):
        tracker, rest = run(skip)
        assert len(rest) == len(whole) == 26
        for one, other in zip(rest[skip:], whole[skip:], strict=True):
            assert np.array_equal(one.velocity, other.velocity)
            assert one.seconds == other.seconds
        assert all_of_them.calls - tracker.calls == int(skip * 1.5)


def test_frames_behind_a_gap_begin_anew():
    steps = MotionSteps(make_tracker(grid=GRID))
    frame = texture(7, HEIGHT, WIDTH)
    assert steps.push(frame, 0.0) == []
    assert steps.push(frame, 0.0) == []
    assert len(steps.push(frame, 0.1)) == 2
    steps.restart()
    assert steps.push(texture(8, HEIGHT, WIDTH), 5.02) == []
    (step,) = steps.push(texture(8, HEIGHT, WIDTH), 5.08)
    assert step.seconds == 5.02
    assert not step.velocity.any()


def test_action_of_a_step_is_what_was_held_on_the_way_through_its_middle():
    seconds = np.arange(7) / 30
    action = np.arange(7, dtype=np.uint8)
    begins = np.arange(5) / 20
    assert actions_of_steps(begins, seconds, action).tolist() == [1, 3, 4, 6, -1]


class Shift(torch.nn.Module):
    """Moves every query by the brightness of the second frame less the first, in pixels."""

    def forward(self, video: torch.Tensor, queries: torch.Tensor):
        start = queries[:, None, :, 1:]
        way = (video[:, 1] - video[:, 0]).amax() * torch.tensor([1.0, -2.0])
        tracks = torch.cat([start, start + way], 1)
        return tracks, (tracks[..., 0] < 100.0)


def test_network_is_given_bytes_and_asked_for_the_points_that_move(tmp_path):
    path = tmp_path / "shift.pt"
    torch.jit.script(Shift()).save(str(path))
    tracker = make_tracker("cotracker", GRID, checkpoint=str(path), still_difference=0)
    before = np.full((HEIGHT, WIDTH), 100, np.uint8)
    after = before.copy()
    after[:60] += 3
    velocity, visible = tracker.step(before, after)
    x = grid_points(GRID, HEIGHT, WIDTH)[:, 0] + 3
    upper = np.arange(GRID**2) < GRID**2 // 2
    assert np.array_equal(visible, ~upper | (x < 100))
    np.testing.assert_allclose(
        velocity[upper & visible] * (WIDTH, HEIGHT), [[3, -6]] * 30, rtol=1e-5
    )
    assert not velocity[~upper].any()


def test_trackers_that_cannot_be_made_say_why(tmp_path):
    with pytest.raises(ValueError, match=r"no tracker optical; choose from lucas_kanade, dis"):
        make_tracker("optical")
    with pytest.raises(ValueError, match=r"no file; download scaled_offline.pth"):
        make_tracker("cotracker", checkpoint=str(tmp_path / "none.pth"))
    with pytest.raises(ValueError, match=r"lucas_kanade has no weights"):
        make_tracker(checkpoint="weights.pth")
    (weights := tmp_path / "weights.pth").write_bytes(b"no TorchScript")
    with pytest.raises(ImportError, match=r"needs the package cotracker: pip install"):
        make_tracker("cotracker", checkpoint=str(weights))
    with pytest.raises(ValueError, match=r"cannot be tracked on a grid of 20"):
        make_tracker().step(np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8))
