"""`generate.py sample`: what is written, what is printed, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from datamodules.video_io import read_frames, write_video
from generate import main
from lit_modules import LitFlowVideo

SIZE = (12, 16)
SHORT = ("--seconds", "0.5", "--steps", "2")


def save(path: Path, **more: object) -> str:
    """An untrained module whose zero-initialised layers have weights, so that everything acts."""
    torch.manual_seed(0)
    shape = {"size": SIZE, "clip_length": 6, "widths": [16], "depths": [1], "time_dim": 16}
    module = LitFlowVideo(**{**shape, "known_frames": 2, **more})
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    saved = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "global_step": 0,
    }
    module.on_save_checkpoint(saved)
    torch.save(saved, path)
    return str(path)


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    return save(tmp_path / "flow.ckpt", actions=True)


def sample(checkpoint: str, out: Path, *more: str) -> None:
    main(["sample", "--ckpt_path", checkpoint, "--out", str(out), *SHORT, *more])


def pixels(path: Path) -> np.ndarray:
    return np.stack([frame for frame, _ in read_frames(path)])


def error_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code not in (0, None)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    return line


def test_clips_grid_and_figures_are_written(checkpoint: str, tmp_path: Path, capsys) -> None:
    sample(checkpoint, tmp_path / "out", "--num", "3", "--fps", "20")
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    clips = [f"generated_video_{k}.gif" for k in (1, 2, 3)]
    assert written == [*clips, "generated_videos_grid.gif", "metrics.json"]
    for name in clips:
        assert pixels(tmp_path / "out" / name).shape == (10, *SIZE, 3)
        assert imageio.immeta(tmp_path / "out" / name)["duration"] == 50
    grid = pixels(tmp_path / "out/generated_videos_grid.gif")
    assert grid.shape == (10, 2 * SIZE[0] + 2, 2 * SIZE[1] + 2, 3)
    corner = grid[:, : SIZE[0], : SIZE[1]].astype(int) - pixels(tmp_path / "out" / clips[0])
    assert np.abs(corner).mean() < 20  # each GIF has a palette of its own
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["frames"] == 10
    assert metrics["function_evaluations_per_clip"] == 2 * 2 * 2  # pieces, steps, midpoint
    assert metrics["seconds_per_clip"] > 0
    assert "8 function evaluations per clip" in capsys.readouterr().out


def test_five_seconds_at_thirty_frames_are_the_default(checkpoint: str, tmp_path: Path) -> None:
    arguments = ["sample", "--ckpt_path", checkpoint, "--out", str(tmp_path / "out")]
    main([*arguments, "--num", "1", "--steps", "1", "--solver", "euler"])
    assert len(pixels(tmp_path / "out/generated_video_1.gif")) == 150


def test_same_seed_writes_the_same_bytes(checkpoint: str, tmp_path: Path) -> None:
    for folder, seed in (("one", "5"), ("same", "5"), ("other", "6")):
        sample(checkpoint, tmp_path / folder, "--num", "1", "--seed", seed)
    one, same, other = (
        (tmp_path / folder / "generated_video_1.gif").read_bytes()
        for folder in ("one", "same", "other")
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize("form", ["mp4", "png"])
def test_other_formats_hold_the_same_frames(form: str, checkpoint: str, tmp_path: Path) -> None:
    sample(checkpoint, tmp_path / "gif", "--num", "1")
    sample(checkpoint, tmp_path / form, "--num", "1", "--format", form)
    expected = pixels(tmp_path / "gif/generated_video_1.gif").astype(int)
    path = tmp_path / form / f"generated_video_1.{form}"
    if form == "png":  # (h, t * w, 3) -> (t, h, w, 3)
        got = np.stack(np.split(imageio.imread(path), 15, axis=1))
        assert np.abs(got - expected).mean() < 20  # the GIF has 256 colours
    else:
        assert pixels(path).shape == expected.shape


def test_start_frame_begins_the_clip(checkpoint: str, tmp_path: Path) -> None:
    still = np.full((*SIZE, 3), (10, 200, 90), np.uint8)
    write_video(tmp_path / "start.png", [still], 1)
    more = ("--start_frame", str(tmp_path / "start.png"), "--format", "png")
    sample(checkpoint, tmp_path / "out", "--num", "1", *more)
    strip = imageio.imread(tmp_path / "out/generated_video_1.png")
    assert np.array_equal(strip[:, : SIZE[1]], still)
    assert not np.array_equal(strip[:, SIZE[1] : 2 * SIZE[1]], still)


def test_actions_change_the_clip(checkpoint: str, tmp_path: Path) -> None:
    sample(checkpoint, tmp_path / "free", "--num", "1")
    sample(checkpoint, tmp_path / "held", "--num", "1", "--actions", "right:5,right+jump:10")
    free, held = (
        (tmp_path / folder / "generated_video_1.gif").read_bytes() for folder in ("free", "held")
    )
    assert free != held


def test_unknown_button_names_close_ones(checkpoint: str, tmp_path: Path, capsys) -> None:
    arguments = ("sample", "--ckpt_path", checkpoint, "--out", str(tmp_path / "out"))
    line = error_line(capsys, *arguments, "--actions", "rigth:3")
    assert "rigth" in line
    assert "right" in line
    assert not list((tmp_path / "out").glob("*"))


def test_actions_for_a_model_without_are_refused(tmp_path: Path, capsys) -> None:
    checkpoint = save(tmp_path / "free.ckpt")
    arguments = ("sample", "--ckpt_path", checkpoint, "--out", str(tmp_path / "out"))
    assert "--model.actions true" in error_line(capsys, *arguments, "--actions", "right:3")


def test_start_frame_that_is_no_picture_is_named(checkpoint: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    arguments = ("sample", "--ckpt_path", checkpoint, "--out", str(tmp_path / "out"))
    line = error_line(capsys, *arguments, "--start_frame", str(tmp_path / "notes.txt"))
    assert "notes.txt" in line


def test_earlier_clips_are_not_overwritten(checkpoint: str, tmp_path: Path, capsys) -> None:
    sample(checkpoint, tmp_path / "out", "--num", "1")
    before = (tmp_path / "out/generated_video_1.gif").read_bytes()
    arguments = ("sample", "--ckpt_path", checkpoint, "--out", str(tmp_path / "out"))
    line = error_line(capsys, *arguments, "--num", "1", "--seed", "9")
    assert "generated_video_1.gif exists" in line
    assert (tmp_path / "out/generated_video_1.gif").read_bytes() == before
