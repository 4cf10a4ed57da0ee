"""Moves of the picture, frames put together, and what stands in for lost cubes."""

from __future__ import annotations

import numpy as np
import pytest
from small_codec import game

from lit_modules.codec.concealment import conceal
from lit_modules.codec.motion import compose, count_alike, cube_errors, movements, shifted
from lit_modules.codec.packets import SHIFTED, STILL, UNKNOWN


@pytest.mark.parametrize("move", [(0, 0), (0, -3), (2, 5), (-7, 0)])
def test_movement_of_a_moved_picture_is_found(move: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, (40, 56, 1), np.uint8).repeat(3, 2) * 60
    second = shifted(first, *move)
    second[:8] = first[:8]  # a score line that stays
    assert movements(np.stack([first, second]))[1].tolist() == list(move)


def test_movement_never_fits_worse_than_none() -> None:
    frames = game(0, 10)
    moves = movements(frames, 0)
    for t in range(1, 10):
        fits = count_alike(shifted(frames[t - 1], *moves[t]), frames[t], 0)
        assert fits >= count_alike(frames[t - 1], frames[t], 0)
        assert fits == (shifted(frames[t - 1], *moves[t]) == frames[t]).all(-1).sum()


def test_frames_are_composed_cube_by_cube() -> None:
    rng = np.random.default_rng(0)
    decoded = rng.integers(0, 256, (6, 16, 24, 3), np.uint8)
    operations = rng.integers(0, 4, (3, 2, 3))
    moves = rng.integers(-3, 4, (6, 2)).astype(np.int8)
    made = compose(decoded, operations, moves, 8)
    assert np.array_equal(made[0], decoded[0])
    for t in range(1, 6):
        for y in range(16):
            for x in range(24):
                kind = operations[t // 2, y // 8, x // 8]
                down, right = moves[t] if kind == SHIFTED else (0, 0)
                source = np.clip([y - int(down), x - int(right)], 0, [15, 23])
                repeated = made[t - 1, source[0], source[1]]
                expected = repeated if kind in (STILL, SHIFTED) else decoded[t, y, x]
                assert np.array_equal(made[t, y, x], expected)


def test_errors_of_cubes_sum_to_that_of_the_picture() -> None:
    one, other = game(0, 2), game(1, 2)
    errors = cube_errors(one, other, 8)
    assert errors.shape == (4, 6)
    assert errors.sum() == ((one.astype(int) - other) ** 2).sum()
    assert errors[1, 2] == ((one[:, 8:16, 16:24].astype(int) - other[:, 8:16, 16:24]) ** 2).sum()


def test_lost_cubes_do_as_those_around_them() -> None:
    operations = np.full((3, 5, 5), STILL)
    operations[2] = SHIFTED
    operations[1, :, 3:] = 5
    lost = np.zeros(operations.shape, bool)
    lost[0, 2, 2] = lost[1, 2, 1] = lost[1, 2, 4] = lost[2, 2, 2] = True
    found = conceal(np.where(lost, UNKNOWN, operations))
    assert np.array_equal(found[~lost], operations[~lost])
    assert found[0, 2, 2] == UNKNOWN  # there is no frame before
    assert found[1, 2, 1] == STILL
    assert found[1, 2, 4] == UNKNOWN
    assert found[2, 2, 2] == SHIFTED
