"""Looks of clips: nothing is resampled, and left is right everywhere or nowhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datamodules.buttons import parse
from datamodules.clip.augmentation import (
    Augmentation,
    Look,
    colour_map,
    dressed,
    mirrored_buttons,
    mirrored_state,
    moved_state,
    table,
)
from datamodules.ram_map import (
    ENEMIES,
    ENEMY_ON,
    LEVEL_WIDTH,
    SCROLL,
    STATE_NAMES,
    mario_state,
)

RNG = np.random.default_rng(0)


def word(ram: np.ndarray, high: int, low: int, value: np.ndarray) -> None:
    ram[:, high], ram[:, low] = value // 256, value % 256


def memories(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """RAM of frames, and of the same frames had the level been built the other way round."""
    there = RNG.integers(0, 256, (count, 2048)).astype(np.uint8)
    there[:, SCROLL] = 0  # the game scrolls to the right alone: there is no mirror of that
    there[:, ENEMY_ON : ENEMY_ON + ENEMIES] = RNG.integers(0, 2, (count, ENEMIES))
    back = there.copy()
    camera = RNG.integers(256, LEVEL_WIDTH - 1000, count)
    word(there, 0x71A, 0x71C, camera)
    word(back, 0x71A, 0x71C, LEVEL_WIDTH - 256 - camera)
    back[:, 0x57] = -there[:, 0x57].astype(np.int8)
    player = camera + RNG.integers(0, 241, count)
    word(there, 0x6D, 0x86, player)
    word(back, 0x6D, 0x86, LEVEL_WIDTH - 16 - player)
    for enemy in range(ENEMIES):
        x = camera + RNG.integers(-64, 304, count)
        word(there, 0x6E + enemy, 0x87 + enemy, x)
        word(back, 0x6E + enemy, 0x87 + enemy, LEVEL_WIDTH - 16 - x)
    return there, back


def test_mirrored_state_is_the_state_of_the_mirrored_memory():
    there, back = (mario_state(ram) for ram in memories())
    np.testing.assert_allclose(mirrored_state(there, 256), back, atol=1e-6)
    np.testing.assert_allclose(mirrored_state(mirrored_state(there, 256), 256), there, atol=1e-6)
    changed = {STATE_NAMES[i] for i in np.flatnonzero((there != back).any(0))}
    assert changed == {"player_x", "camera_x", "player_screen_x", "player_speed_x"} | {
        f"enemy{i}_x" for i in range(ENEMIES)
    }


def test_moved_state_is_that_of_a_memory_whose_things_stand_elsewhere():
    there, _ = memories()
    there[:, [0x87 + i for i in range(ENEMIES)]] = there[:, [0x71C]]  # at the left edge
    there[:, [0x6E + i for i in range(ENEMIES)]] = there[:, [0x71A]]
    there[:, 0x0F:0x14] = 1
    word(there, 0x6D, 0x86, 100 + there[:, 0x71C].astype(int) + 256 * there[:, 0x71A].astype(int))
    for addresses, low, high in (
        ([0xCE], [0xB5], 300),
        ([0xCF + i for i in range(5)], range(0xB6, 0xBB), 400),
    ):
        there[:, addresses], there[:, list(low)] = high % 256, high // 256
    moved = dict(zip(STATE_NAMES, moved_state(mario_state(there), 40, 24).T, strict=True))
    whole = dict(zip(STATE_NAMES, mario_state(there).T, strict=True))
    np.testing.assert_allclose(moved["player_screen_x"], 2 * (100 - 24) / 256 - 1, atol=1e-6)
    np.testing.assert_allclose(moved["player_y"], 2 * (300 - 40 - 256) / 256 - 1, atol=1e-6)
    np.testing.assert_allclose(moved["camera_y"], 2 * 40 / 256 - 1, atol=1e-6)
    np.testing.assert_allclose(moved["enemy3_x"], 2 * (64 - 24) / 384 - 1, atol=1e-6)
    np.testing.assert_allclose(moved["enemy3_y"], 2 * (400 - 40 - 256) / 256 - 1, atol=1e-6)
    shift = (moved["camera_x"] - whole["camera_x"]) * LEVEL_WIDTH / 2
    np.testing.assert_allclose(shift, 24, atol=1e-2)
    for name in ("player_x", "player_speed_x", "world", "timer"):
        assert np.array_equal(moved[name], whole[name])


@pytest.mark.parametrize("size", [(12, 14), (33, 41)])
def test_what_the_state_points_at_is_there_in_the_picture(size):
    frames = np.zeros((1, 24, 40), np.uint8)
    frames[0, 9, 17] = 1  # a figure at its position
    state = np.zeros((1, len(STATE_NAMES)), np.float32)
    state[0, STATE_NAMES.index("player_screen_x")] = 2 * 17 / 256 - 1
    state[0, STATE_NAMES.index("player_y")] = 2 * 9 / 256 - 1
    item = {
        "frames": torch.from_numpy(frames),
        "palette": torch.arange(256, dtype=torch.int32),
        "action": np.zeros(1, np.int64),
        "state": state,
        "state_mask": np.ones(1, bool),
    }
    shown = dressed(item, Look(0.4, 0.6), size)
    row = round((float(shown["state"][0, STATE_NAMES.index("player_y")]) + 1) * 128)
    column = round((float(shown["state"][0, STATE_NAMES.index("player_screen_x")]) + 1) * 128)
    assert np.argwhere(shown["frames"][0].numpy() == 1).tolist() == [[row, column]]


def test_mirrored_buttons_swap_left_and_right_and_nothing_else():
    every = np.arange(-1, 256)
    assert np.array_equal(mirrored_buttons(mirrored_buttons(every)), every)
    held = np.array(parse("left+jump,right+run,left+right+up,down,none"))
    assert mirrored_buttons(held).tolist() == parse("right+jump,left+run,left+right+up,down,none")
    assert mirrored_buttons(np.array([-1])).tolist() == [-1]


def clip(colours: int = 12, shape: tuple[int, int, int] = (3, 20, 30)) -> dict:
    palette = np.zeros(256, np.int32)
    palette[:colours] = RNG.choice(1 << 24, colours, replace=False)
    frames = RNG.integers(0, colours, shape).astype(np.uint8)
    frames[0, : colours // 20 + 1, :20] = colours - 1
    return {
        "frames": torch.from_numpy(frames),
        "palette": torch.from_numpy(palette),
        "action": RNG.integers(0, 256, shape[0]),
    }


def rgb_of(item: dict) -> np.ndarray:
    frames, palette = item["frames"].numpy(), item["palette"].numpy()
    return table(palette)[frames] if frames.ndim == 3 else frames


def as_rgb(item: dict) -> dict:
    return item | {"frames": torch.from_numpy(rgb_of(item)), "palette": torch.zeros(256).int()}


@pytest.mark.parametrize("colours", [12, 256])
@pytest.mark.parametrize("look", [Look(), Look(0, 0.99), Look(0.99, 0)])
@pytest.mark.parametrize("size", [(20, 30), (16, 16), (33, 47), (12, 47), (33, 12)])
def test_every_pixel_keeps_its_exact_colour_or_is_black_margin(size, look, colours):
    item = clip(colours)
    before, after = rgb_of(item), rgb_of(dressed(item, look, size))
    assert after.shape == (3, *size, 3)
    assert np.array_equal(after, rgb_of(dressed(as_rgb(item), look, size)))
    place, rest = [slice(None)], np.ones((3, *size), bool)
    source = [slice(None)]
    for have, wanted, share in zip((20, 30), size, look[:2], strict=True):
        top = int(share * (max(0, have - wanted) + 1))
        margin = max(0, wanted - have) // 2
        source.append(slice(top, top + wanted))
        place.append(slice(margin, margin + min(have, wanted)))
    assert np.array_equal(after[tuple(place)], before[tuple(source)])
    rest[tuple(place)] = False
    assert not after[rest].any()


def test_every_place_of_the_window_is_drawn_alike():
    looks = [Augmentation(seed=1).look(sample) for sample in range(2000)]
    item = {"frames": torch.arange(5, dtype=torch.uint8).expand(1, 1, 5), "action": np.zeros(1)}
    item["palette"] = torch.arange(256).int()
    lefts = [int(dressed(item, look, (1, 3))["frames"][0, 0, 0]) for look in looks]
    counts = np.bincount(lefts)
    assert len(counts) == 3
    assert counts.min() > 2000 / 3 - 5 * np.sqrt(2000 * 2 / 9)


def test_look_follows_from_seed_and_sample_and_each_part_from_them_alone():
    whole = Augmentation(3, True, 0.5, 0.4)
    for sample in (0, 1, 10**9):
        look, again = whole.look(sample), Augmentation(3, True, 0.5, 0.4).look(sample)
        assert look[:3] == again[:3]
        assert np.array_equal(look.colours, again.colours)
        still = Augmentation(3, False, 0.5, 0.0).look(sample)
        assert still == Look(mirrored=look.mirrored)
        assert Augmentation(3, True, 0.0, 0.0).look(sample) == Look(look.top, look.left)
    assert len({whole.look(sample).top for sample in range(50)}) == 50
    assert Augmentation(4).look(0) != Augmentation(3).look(0)
    flips = [Augmentation(0, flip=0.3).look(sample).mirrored for sample in range(1000)]
    assert abs(np.mean(flips) - 0.3) < 5 * np.sqrt(0.21 / 1000)
    assert not any(Augmentation(0, flip=0.0).look(s).mirrored for s in range(100))
    assert all(Augmentation(0, flip=1.0).look(s).mirrored for s in range(100))


def test_palette_is_jittered_as_its_pixels_are():
    item = clip()
    for sample in range(20):
        look = Augmentation(0, colour_jitter=0.6).look(sample)
        one, other = dressed(item, look, (24, 24)), dressed(as_rgb(item), look, (24, 24))
        assert np.array_equal(rgb_of(one), rgb_of(other))
        assert len(np.unique(rgb_of(one).reshape(-1, 3), axis=0)) <= 13


def test_colour_map_does_what_its_arguments_say():
    colours = np.c_[RNG.integers(0, 256, (50, 3)), np.ones(50)]

    def mapped(*by):
        return colours @ colour_map(*by).T

    rgb = colours[:, :3]
    np.testing.assert_allclose(mapped(0, 0, 0, 0), rgb, atol=1e-9)
    np.testing.assert_allclose(mapped(0.25, 0, 0, 0), 1.25 * rgb, atol=1e-9)
    np.testing.assert_allclose(mapped(0, 0.5, 0, 0), 1.5 * (rgb - 127.5) + 127.5, atol=1e-9)
    grey = np.repeat((rgb @ [0.299, 0.587, 0.114])[:, None], 3, 1)
    np.testing.assert_allclose(mapped(0, 0, -1, 0), grey, atol=0.5)
    np.testing.assert_allclose(mapped(0, 0, 0, 4), rgb, atol=1e-9)
    luma = mapped(0, 0, 0, 0.3) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(luma, grey[:, 0], atol=0.5)
