"""From a checkpoint to files: what is written, what is printed, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.video_io import read_frames, write_video
from generate import main
from lit_modules import LitStreamingAutoencoder

SIZE = (48, 64)


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """An untrained module that paints its background, which is the mean of past frames."""
    torch.manual_seed(0)
    module = LitStreamingAutoencoder(size=SIZE, width=8, latent_channels=2)
    saved = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "global_step": 0,
    }
    module.on_save_checkpoint(saved)
    torch.save(saved, tmp_path / "model.ckpt")
    return str(tmp_path / "model.ckpt")


def reconstruct(checkpoint: str, out: Path, *more: str) -> None:
    main(["reconstruct", "--ckpt_path", checkpoint, "--out", str(out), "--frames", "6", *more])


@pytest.mark.parametrize("form", ["gif", "mp4"])
def test_game_is_written_beside_its_reconstruction_and_error(
    form: str, checkpoint: str, tmp_path: Path, capsys
) -> None:
    reconstruct(checkpoint, tmp_path / "out", "--game", "Breakout", "--format", form)
    pictures = [frame for frame, _ in read_frames(tmp_path / f"out/reconstruction.{form}")]
    assert len(pictures) == 6
    assert pictures[0].shape == (SIZE[0], 3 * SIZE[1], 3)
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["frames"] == 6
    assert metrics["psnr"] == pytest.approx(-10 * np.log10(metrics["mse"]), rel=1e-3)
    assert -1 <= metrics["ssim"] <= 1
    assert "PSNR" in capsys.readouterr().out


def test_scores_are_those_of_the_pictures(checkpoint: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    still = rng.integers(0, 200, (*SIZE, 3), dtype=np.uint8)
    write_video(tmp_path / "still.avi", [still] * 4, 15)
    reconstruct(
        checkpoint, tmp_path / "out", "--input", str(tmp_path / "still.avi"), "--frames", "4"
    )
    # An untrained module paints black at first and then what it has seen, which never changes.
    expected = np.square(still / 255).mean() / 4
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["mse"] == pytest.approx(expected, rel=1e-3)


def test_same_seed_gives_the_same_bytes(checkpoint: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        reconstruct(checkpoint, tmp_path / name, "--seed", "3")
    one, two = (tmp_path / name / "reconstruction.gif" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_video_shorter_than_asked_ends_where_it_ends(checkpoint: str, tmp_path: Path) -> None:
    write_video(tmp_path / "short.avi", [np.zeros((*SIZE, 3), np.uint8)] * 3, 15)
    reconstruct(checkpoint, tmp_path / "out", "--input", str(tmp_path / "short.avi"))
    assert json.loads((tmp_path / "out/metrics.json").read_text())["frames"] == 3


def test_export_writes_weights_configuration_and_card(checkpoint: str, tmp_path: Path) -> None:
    main(["export", "--ckpt_path", checkpoint, "--out", str(tmp_path / "out")])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.safetensors", "config.yaml", "README.md"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--game", "Brekout"], "Breakout"),
        (["--game", "Breakout", "--input", "x.avi"], "x.avi"),
        (["--input", "no_such.avi"], "no_such.avi"),
        (["--frames", "0"], "frames 0"),
        (["--formt", "gif"], "--formt"),
    ],
)
def test_mistake_is_one_line_and_writes_nothing(
    arguments: list[str], named: str, checkpoint: str, tmp_path: Path, capsys
) -> None:
    with pytest.raises(SystemExit) as stop:
        reconstruct(checkpoint, tmp_path / "out", *arguments)
    assert stop.value.code not in (0, None)
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert named in lines[0]
    assert not list(tmp_path.glob("out/*"))


def test_files_of_an_earlier_call_stay_unless_overwritten(checkpoint: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("mine")
    with pytest.raises(SystemExit):
        reconstruct(checkpoint, tmp_path)
    assert (tmp_path / "metrics.json").read_text() == "mine"
    reconstruct(checkpoint, tmp_path, "--overwrite", "true")
    assert "mse" in (tmp_path / "metrics.json").read_text()
