"""Numbers of the game state, read from a RAM."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from datamodules.ram_map import ENEMIES, ENEMY, PLAYER, STATE_NAMES, mario_state, plain_state

RNG = np.random.default_rng(0)


def state(**bytes_at: int) -> dict[str, float]:
    """The state of a RAM that is zero but for some addresses, written as `at_75F=1`."""
    ram = np.zeros((1, 2048), np.uint8)
    for address, value in bytes_at.items():
        ram[0, int(address.removeprefix("at_"), 16)] = value
    return dict(zip(STATE_NAMES, mario_state(ram)[0].tolist(), strict=True))


def test_every_ram_gives_numbers_between_minus_one_and_one():
    ram = RNG.integers(0, 256, (500, 2048)) * RNG.integers(0, 2, (500, 2048))
    numbers = mario_state(ram.astype(np.uint8))
    assert numbers.shape == (500, len(STATE_NAMES)) and numbers.dtype == np.float32
    assert np.abs(numbers).max() <= 1
    assert {
        name for name, spread in zip(STATE_NAMES, numbers.std(0), strict=True) if not spread
    } == {"camera_y"}


def test_numbers_are_read_where_the_game_keeps_them():
    assert state(at_6D=12)["player_x"] == 0  # half of 24 screens
    assert state(at_71A=6)["camera_x"] == -0.5
    assert state(at_B5=1, at_CE=128)["player_y"] == 0
    assert state(at_57=232)["player_speed_x"] == -0.5  # -24
    assert state(at_9F=4)["player_speed_y"] == 0.5
    assert state(at_756=1)["power_up"] == 0
    assert state(at_75F=7, at_75C=3)["world"] == 1
    assert state(at_6D=2, at_86=64, at_71A=1, at_71C=192)["player_screen_x"] == 0
    assert state(at_7F8=2, at_7F9=9, at_7FA=8)["timer"] == pytest.approx(298 / 200 - 1)


def test_an_enemy_counts_only_while_it_is_there():
    place = {
        "at_17": 32,
        "at_6F": 3,
        "at_88": 0,
        "at_71A": 2,
        "at_71C": 128,
        "at_B7": 1,
        "at_D0": 0,
    }
    there = state(at_10=1, **place)
    assert (there["enemy1_on"], there["enemy1_type"], there["enemy1_x"]) == (1, 0, 0)
    assert there["enemy1_y"] == -1
    gone = state(**place)
    assert not any(gone[f"enemy{i}_{name}"] for i in range(ENEMIES) for name in ("on", *ENEMY))


def test_other_rams_are_taken_as_they_are_and_refused_as_mario():
    ram = np.array([[0, 51, 255]], np.uint8)
    assert plain_state(ram).tolist() == [[0, pytest.approx(0.2), 1]]
    with pytest.raises(ValueError, match=re.escape("ram (1, 3) is not that of Super Mario")):
        mario_state(ram)


RECORDINGS = Path(os.environ.get("LITARCADE_MARIO", "data_video/mario"))


FILES = sorted(RECORDINGS.glob("*_?-?_*.labels.npz"))


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="set LITARCADE_MARIO to recordings of Mario")
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_play_agrees_with_itself(path):
    """Speed adds up to place, the camera follows to the right only, the level is the file's."""
    columns = dict(zip(STATE_NAMES, mario_state(np.load(path)["ram"]).T, strict=True))

    def pixels(name: str) -> np.ndarray:
        entry = PLAYER[name]
        return (columns[name] + 1) / 2 * (entry.highest - entry.lowest) + entry.lowest

    moved = np.diff(pixels("player_x"))
    usual = (np.abs(moved) < 16) & (np.isclose(columns["player_state"][1:], 8 / 6 - 1))
    speed = pixels("player_speed_x")[1:] / 16 * 2  # two emulated frames
    assert usual.mean() > 0.9
    assert np.corrcoef(moved[usual], speed[usual])[0, 1] > 0.95
    scrolled = np.diff(pixels("camera_x"))
    assert (scrolled >= -0.01).all() and scrolled.sum() > 100
    assert (np.abs(columns["player_screen_x"][10:]) < 1).all()
    world, level = re.search(r"_(\d)-(\d)_", path.name).groups()
    assert round((columns["world"][0] + 1) / 2 * 7) + 1 == int(world)
    assert round((columns["level"][0] + 1) / 2 * 3) + 1 == int(level)


def test_camera_is_that_of_the_picture_which_is_a_frame_behind_the_memory():
    ram = np.zeros((2, 2048), np.uint8)
    ram[:, 0x71A], ram[:, 0x71C] = 2, (40, 43)
    ram[1, 0x775] = 3  # scrolled on by so much since
    assert len(set(mario_state(ram)[:, STATE_NAMES.index("camera_x")])) == 1
