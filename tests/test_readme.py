"""Every command that the README gives runs as it stands, only shorter."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import generate
import train
from datamodules import video_io
from datamodules.recording import __main__ as recording
from datamodules.video_io import write_video

ROOT = Path(__file__).parent.parent
PROGRAMS = {
    "python train.py": train.main,
    "python generate.py": generate.main,
    "litarcade-record": recording.main,
    "python -m datamodules.video_io": video_io.main,
}
COMMANDS = re.findall(
    rf"^    ({'|'.join(map(re.escape, PROGRAMS))}) (.*)$", (ROOT / "README.md").read_text(), re.M
)


def shorter(arguments: list[str]) -> list[str]:
    """A command with less to do: fewer and smaller frames, on a CPU."""
    if arguments[0] not in ("fit", "test"):
        less = {
            "reconstruct": ["--frames", "4"],
            "sample": ["--seconds", "0.3"],
            "restore": ["--frames", "4"],
            "--env": ["--frames", "40"],
        }
        return [*arguments, *less.get(arguments[0], [])]
    small = arguments[2].replace("configs", "tests/conf")
    resumed = arguments[0] == "fit" and "--ckpt_path" in arguments
    more = ["--trainer.max_steps", "35"] if resumed else []
    return [*arguments[:3], "-c", small, *arguments[3:], *more]


def test_commands_of_the_readme_run_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for room in ("configs", "tests"):
        (tmp_path / room).symlink_to(ROOT / room)
    noise = np.random.default_rng(0).integers(0, 255, (20, 60, 80, 3), dtype=np.uint8)
    (tmp_path / "my_videos").mkdir()
    write_video(tmp_path / "my_videos/noise.avi", list(noise), 15)
    assert {program for program, _ in COMMANDS} == set(PROGRAMS)
    for program, line in COMMANDS:
        try:
            PROGRAMS[program](shorter(shlex.split(line)))
        except SystemExit as stop:
            assert stop.code == 0, line
    for written in (
        "pictures/reconstruction.gif",
        "exported/model.safetensors",
        "clips/generated_videos_grid.gif",
        "left/generated_video_1.gif",
        "restored/comparison.gif",
        "back/000_Breakout_random_s0.avi",
    ):
        assert (tmp_path / written).is_file()
