"""Levels of Super Mario Bros.: the search, and with emulator and ROM what is recorded."""

from __future__ import annotations

import importlib.util
import re
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from datamodules.buttons import JUMP, RIGHT
from datamodules.ram_map import STATE_NAMES, mario_state
from datamodules.recording.__main__ import main
from datamodules.recording.envs import Shot, Take
from datamodules.recording.mario import LEVELS, Mario, Place, find_rom, pad_bits
from datamodules.recording.policies import EXPLORE, bursts, sticky
from datamodules.recording.search import search
from datamodules.recording.writer import write_pngs
from datamodules.smb_format import FAIL, WIN, Episode, episodes, read_frame
from datamodules.video_io import read_frames


def playable() -> bool:
    try:
        return importlib.util.find_spec("cynes") is not None and find_rom().is_file()
    except ImportError:
        return False


needs_mario = pytest.mark.skipif(not playable(), reason="needs pip install -e .[mario]")


class Toy:
    """A level without an emulator: run to pixel 900; whoever has not jumped at 300 dies at 600."""

    swims = False

    def __init__(self) -> None:
        self.x, self.high, self.deaths = 40, False, 0

    def step(self, held: int) -> None:
        self.x = max(40, self.x + (3 if held & RIGHT else -1))
        if 290 <= self.x < 310:
            self.high = bool(held & JUMP)
        self.deaths += self.place.outcome == FAIL

    @property
    def place(self) -> Place:
        lost = self.x >= 600 and not self.high
        outcome = FAIL if lost else WIN if self.x >= 900 else 0
        return Place(self.x, stands=True, led=False, passes=False, outcome=outcome)

    def save(self) -> tuple[int, bool]:
        return self.x, self.high

    def load(self, state: tuple[int, bool]) -> None:
        self.x, self.high = state


def test_search_goes_back_from_dead_ends_and_its_buttons_win():
    deaths = 0
    for seed in range(10):
        toy = Toy()
        held = search(toy, np.random.default_rng(seed), longest=2000)
        deaths += toy.deaths
        again = Toy()
        for byte in held:
            assert again.place.outcome == 0
            again.step(byte)
        assert again.place.outcome == WIN
    assert deaths > 50  # the trap was met


def test_search_ends_where_nothing_leads_on():
    class Wall(Toy):
        def step(self, held: int) -> None:
            super().step(held)
            self.x = min(self.x, 400)

    held = search(Wall(), np.random.default_rng(0), longest=300)
    assert 50 < len(held) < 300 + 3 * 240


def test_what_is_held_stays_as_long_as_it_sticks():
    rng = np.random.default_rng(0)
    row = list(islice(sticky((1, 2, 3), 0.9, rng), 20_000))
    kept = np.mean([one == other for one, other in pairwise(row)])
    assert kept == pytest.approx(0.9 + 0.1 / 3, abs=0.01)
    assert np.bincount(row)[1:] == pytest.approx(20_000 / 3, rel=0.1)
    drawn = list(islice(bursts(EXPLORE, rng), 20_000))
    assert set(drawn) == {habit.held for habit in EXPLORE}


def test_the_pad_has_a_bit_of_its_own_for_each_button():
    assert sorted(pad_bits(1 << bit) for bit in range(8)) == [1 << bit for bit in range(8)]
    assert pad_bits(RIGHT | JUMP) == 0x81


def test_png_layout_holds_what_was_played(tmp_path):
    rng = np.random.default_rng(0)
    shots = [
        Shot(
            rng.integers(0, 2, (24, 32, 3), np.uint8) * 200,
            int(rng.integers(256)),
            rng.integers(0, 256, 2048, np.uint8),
        )
        for _ in range(12)
    ]
    episode = Episode("player", "s0", 3, "1-2", FAIL)
    assert write_pngs(tmp_path, episode, Take(iter(shots)), every=2) == 12
    assert [path.name for path in tmp_path.iterdir()] == ["player_s0_e3_1-2_fail"]
    paths = episodes(tmp_path / "player_s0_e3_1-2_fail")
    for number, (path, shot) in enumerate(zip(paths, shots, strict=True)):
        frame = read_frame(path)
        assert f"_1-2_f{2 * number + 1}_a{shot.action}_" in path.name
        assert np.array_equal(frame.palette[frame.indices], shot.pixels)
        assert np.array_equal(frame.ram, shot.ram)
        assert (frame.buttons, frame.outcome) == (shot.action, FAIL)


@needs_mario
@pytest.mark.parametrize("level", ["1-2", "8-4"])
def test_a_level_begins_where_it_should(level):
    mario, other = Mario(), Mario()
    mario.begin(level)
    assert mario.place == Place(40, mario.place.stands, led=False, passes=False, outcome=0)
    assert not mario.gone
    state = dict(zip(STATE_NAMES, mario_state(mario.ram[None])[0], strict=True))
    shown = (round(3.5 * state["world"] + 3.5), round(1.5 * state["level"] + 1.5))
    assert shown == divmod(LEVELS.index(level), 4)
    other.begin("4-1")
    others = [other, *(Mario() for _ in range(3))]
    for console in others:
        console.begin(level)
        assert np.array_equal(mario.save(), console.save())


def record(out: Path, *options: str) -> None:
    main(["--env", "mario", "--out", str(out), *options])


@needs_mario
def test_buttons_of_a_recording_play_it_again(tmp_path):
    record(tmp_path, "--level", "2-1", "--policy", "right", "--frames", "60")
    path = tmp_path / "000_2-1_right_s0.avi"
    labels = np.load(path.with_suffix(".labels.npz"))
    mario = Mario()
    mario.begin("2-1")
    frames = [(mario.step(int(byte)).copy(), mario.ram) for byte in labels["action_60hz"]][::2]
    assert np.array_equal(labels["ram"], [ram for _, ram in frames])
    assert np.array_equal(labels["action"], labels["action_60hz"][::2])
    read = list(read_frames(path))
    assert np.array_equal([picture for picture, _ in read], [picture for picture, _ in frames])
    assert labels["seconds"] == pytest.approx([seconds for _, seconds in read])


@needs_mario
def test_search_gets_further_than_running_and_no_further_than_asked(tmp_path, capsys):
    record(tmp_path, "--policy", "search", "--frames", "60")
    record(tmp_path, "--policy", "right", "--frames", "400")
    searched = np.load(tmp_path / "000_1-1_search_s0.labels.npz")
    ran = np.load(tmp_path / "000_1-1_right_s0.labels.npz")
    assert len(searched["action"]) == 60 and searched["outcome"] == 0
    assert ran["outcome"] == FAIL and len(ran["action"]) < 400
    written = capsys.readouterr().out
    assert re.search(r"000_1-1_search_s0.avi \(60 frames, 2.0 s, cut\)", written)
    assert re.search(r"000_1-1_right_s0.avi \(\d+ frames, \d+.\d s, fail\)", written)


@needs_mario
def test_avi_and_png_of_a_seed_are_the_same_play(tmp_path):
    record(tmp_path, "--policy", "random", "--frames", "20", "--seed", "5")
    options = ("--policy", "random", "--frames", "20", "--seed", "5", "--format", "smb")
    record(tmp_path, *options)
    video = np.stack([frame for frame, _ in read_frames(tmp_path / "000_1-1_random_s5.avi")])
    folder = tmp_path / "litarcade-random_s5_e0_1-1_fail"
    frames = [read_frame(path) for path in episodes(folder)]
    assert np.array_equal([frame.palette[frame.indices] for frame in frames], video)
    with pytest.raises(SystemExit):
        record(tmp_path, *options)
    record(tmp_path, *options, "--overwrite")
    assert len(episodes(folder)) == 20
