"""Recordings of games: labels tell how the frames came about, files are whole or not there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from ale_py import Action, ALEInterface, roms

from datamodules import buttons
from datamodules.recording.__main__ import main
from datamodules.streams.games import EMULATOR, generator
from datamodules.video_io import read_frames


def record(out: Path, *options: str, env: str = "Breakout", frames: int = 40) -> None:
    main(["--env", env, "--frames", str(frames), "--out", str(out), *options])


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def pictures(path: Path) -> np.ndarray:
    return np.stack([frame for frame, _ in read_frames(path)])


def one_line(capsys, *argv: str) -> tuple[int, str]:
    """Exit status and what went to stderr, which is to be one line."""
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    error = capsys.readouterr().err
    assert re.fullmatch(r"litarcade-record: error: [^\n]+\n", error)
    return exit_.value.code, error


def test_labels_replay_to_the_recorded_frames(tmp_path):
    record(tmp_path, "--seed", "3", frames=60)
    labels = np.load(tmp_path / "000_Breakout_random_s3.labels.npz")
    ale = ALEInterface()
    ale.setInt("random_seed", int(generator(3, EMULATOR).integers(2**31)))
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(str(roms.get_rom_path("breakout")))
    of_byte = {buttons.from_ale(action.name): action for action in Action}
    replayed, rams = [ale.getScreenRGB()], [ale.getRAM()]
    for byte in labels["action"][1:]:
        for _ in range(2):  # 60 Hz, recorded at 30
            ale.act(of_byte[byte].value)
        replayed.append(ale.getScreenRGB())
        rams.append(ale.getRAM())
    assert len(set(labels["action"])) == 4
    assert np.array_equal(labels["ram"], rams)
    assert np.array_equal(pictures(tmp_path / "000_Breakout_random_s3.avi"), replayed)


@pytest.mark.parametrize(("codec", "lossless"), [("ffv1", True), ("h264", True), ("xvid", False)])
def test_timestamps_of_file_and_labels_agree(codec, lossless, tmp_path):
    record(tmp_path, "--codec", codec, "--fps", "20")
    times = [seconds for _, seconds in read_frames(tmp_path / "000_Breakout_random_s0.avi")]
    labels = np.load(tmp_path / "000_Breakout_random_s0.labels.npz")
    assert labels["seconds"] == pytest.approx(times) and len(times) == 40
    assert times[-1] == pytest.approx(39 / 20)


@pytest.mark.slow
def test_a_seed_gives_the_same_bytes_in_any_number_of_processes(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    record(one, "--episodes", "3")
    record(two, "--episodes", "3", "--processes", "2")
    assert files(one) == files(two)
    assert len({files(one)[f"00{n}_Breakout_random_s{n}.avi"] for n in range(3)}) == 3
    record(two, "--seed", "1", "--overwrite")
    assert (
        files(two)["000_Breakout_random_s1.labels.npz"]
        == files(one)["001_Breakout_random_s1.labels.npz"]
    )


def test_a_recording_ends_with_its_episode(tmp_path):
    record(tmp_path, "--fps", "20", env="Walker-v0")  # episodes of 9 steps after the first frame
    labels = np.load(tmp_path / "000_Walker-v0_random_s0.labels.npz")
    assert len(labels["action"]) == len(pictures(tmp_path / "000_Walker-v0_random_s0.avi")) == 10
    assert set(labels["action"]) <= {0, 1, 2, 3} and "ram" not in labels


def test_actions_that_are_no_bytes_are_left_out_and_that_is_said(tmp_path, capsys):
    record(tmp_path, env="FreeWalker-v0")
    assert os.listdir(tmp_path) == ["000_FreeWalker-v0_random_s0.avi"]
    assert "there are no labels" in capsys.readouterr().out


def test_what_is_there_is_not_overwritten_unless_asked(tmp_path, capsys):
    record(tmp_path)
    before = files(tmp_path)
    status, error = one_line(capsys, "--env", "Breakout", "--out", str(tmp_path), "--frames", "9")
    assert (status, files(tmp_path)) == (1, before)
    assert "000_Breakout_random_s0.avi is there; give --overwrite or another --out" in error
    record(tmp_path, "--overwrite", frames=9)
    assert len(pictures(tmp_path / "000_Breakout_random_s0.avi")) == 9


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        ("--env Braekout", 1, "unknown game Braekout; did you mean Breakout"),
        ("--env mairo", 1, "unknown game mairo; did you mean mario"),
        ("--env Breakout --level 1-1", 1, "--level ['1-1'] needs --env mario"),
        ("--env Breakout --policy search", 1, "--policy search needs --env mario"),
        ("--env Breakout --format smb", 1, "--format smb needs --env mario"),
        ("--env Breakout --fps 25", 1, "fps 25 is no whole fraction of 60; choose one of 60, 30"),
        ("--env Breakout --fps -3", 2, "-3 is no rate"),
        ("--env Breakout --frames 0", 2, "--frames: 0 is too small"),
        ("--env Breakout --seed -1", 2, "--seed: -1 is too small"),
        ("--env Breakout --codec vp9", 2, "'vp9'"),
        ("--env Breakout --sticky 1", 2, "--sticky: 1 is no probability"),
        ("--env mario --level 9-1", 1, "there is no level 9-1; choose from 1-1 to 8-4"),
        ("--frames 3", 2, "--env"),
    ],
)
def test_a_mistake_is_answered_in_one_line(options, status, reason, tmp_path, capsys):
    found, error = one_line(capsys, *options.split(), "--out", str(tmp_path / "out"))
    assert found == status
    assert reason in error
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("missing", ["cynes", "gym_super_mario_bros"])
def test_a_missing_extra_is_named(missing, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    status, error = one_line(capsys, "--env", "mario", "--out", str(tmp_path))
    assert status == 1
    assert "pip install -e .[mario]" in error


def test_a_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    _, error = one_line(capsys, "--env", "Breakout", "--frames", "3", "--out", f"{tmp_path}/file/x")
    assert f"{tmp_path}/file/x" in error


class Stubborn(gym.Env):
    """Each episode is white; in the second one somebody presses Ctrl+C."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012
    episodes = 0
    problem: BaseException = KeyboardInterrupt()

    def __init__(self, render_mode: str | None = None) -> None:
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Discrete(1)

    def reset(self, **_):
        Stubborn.episodes += 1
        return 0, {}

    def step(self, action):
        if Stubborn.episodes == 2:
            raise self.problem
        return 0, 0.0, False, False, {}

    def render(self):
        return np.full((24, 32, 3), 255, np.uint8)


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError("out of screws")])
def test_whatever_ends_a_recording_leaves_finished_files_only(problem, tmp_path, capsys):
    gym.register("Stubborn-v0", entry_point=Stubborn)
    Stubborn.episodes, Stubborn.problem = 0, problem
    with pytest.raises(SystemExit) as exit_:
        record(tmp_path, "--episodes", "3", env="Stubborn-v0")
    gym.registry.pop("Stubborn-v0")
    assert exit_.value.code == (130 if isinstance(problem, KeyboardInterrupt) else 1)
    assert sorted(os.listdir(tmp_path)) == [
        "000_Stubborn-v0_random_s0.avi",
        "000_Stubborn-v0_random_s0.labels.npz",
    ]
    error = capsys.readouterr().err
    assert ("1 recordings are finished" in error) or ("out of screws" in error)
