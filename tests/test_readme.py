"""Every command that the README gives runs as it stands, only shorter."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import generate
import train
from datamodules.video_io import write_video

ROOT = Path(__file__).parent.parent
COMMANDS = re.findall(
    r"^    python (train|generate)\.py (.*)$", (ROOT / "README.md").read_text(), re.M
)


def shorter(arguments: list[str]) -> list[str]:
    """A command with less to do: fewer and smaller frames, on a CPU."""
    if arguments[0] != "fit":
        return [*arguments, "--frames", "4"] if arguments[0] == "reconstruct" else arguments
    small = arguments[2].replace("configs", "tests/conf")
    more = ["--trainer.max_steps", "35"] if "--ckpt_path" in arguments else []
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
    assert len(COMMANDS) >= 8
    for program, line in COMMANDS:
        arguments = shorter(shlex.split(line))
        if program == "train":
            with pytest.raises(SystemExit) as stop:
                train.main(arguments)
            assert stop.value.code == 0, line
        else:
            generate.main(arguments)
    assert (tmp_path / "pictures/reconstruction.gif").is_file()
    assert (tmp_path / "exported/model.safetensors").is_file()
