"""`generate.py compress --quality 1..6` and `decompress` with a codec, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from imageio.v3 import imread as read_image
from small_codec import game, small

from datamodules.video_io import read_frames, write_video
from generate import main
from lit_modules.codec import LavReader


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    module = small(acting=False)
    saved = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "global_step": 0,
    }
    module.on_save_checkpoint(saved)
    torch.save(saved, path := tmp_path / "codec.ckpt")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_video(path := tmp_path / "play.avi", list(game(11, 12, (48, 64)) ^ 1), 30)
    return path


def call(verb: str, source: Path, out: Path, checkpoint: Path, *more: str) -> dict:
    arguments = ["--input", str(source), "--out", str(out), "--ckpt_path", str(checkpoint), *more]
    main([verb, *arguments])
    return json.loads((out / "metrics.json").read_text())


def pixels(path: Path) -> np.ndarray:
    return np.stack([frame for frame, _ in read_frames(path)]).astype(float)


def test_video_comes_back_as_good_as_was_said(
    source: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = call("compress", source, tmp_path / "small", checkpoint, "--quality", "3")
    assert told["bytes"] == (tmp_path / "small/play.lav").stat().st_size
    call("decompress", tmp_path / "small/play.lav", tmp_path / "back", checkpoint)
    error = np.square((pixels(source) - pixels(tmp_path / "back/play.avi")) / 255).mean()
    assert -10 * np.log10(error) == pytest.approx(told["psnr"], abs=1e-3)
    assert told["classical_bytes"][told["best_classical"]] > 0
    shown = capsys.readouterr().out
    assert f"best classical one as near on the same frames: {told['best_classical']}" in shown


def test_most_codebooks_that_keep_to_a_rate_are_taken(
    source: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = [
        call("compress", source, tmp_path / str(q), checkpoint, "--quality", str(q))["kbps"]
        for q in (1, 2, 3)
    ]
    assert rates == sorted(rates)
    limit = ("--quality", "3", "--max_kbps", str((rates[1] + rates[2]) / 2))
    told = call("compress", source, tmp_path / "kept", checkpoint, *limit)
    assert (told["quality"], told["kbps"]) == (2, rates[1])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        call("compress", source, tmp_path / "no", checkpoint, "--quality", "3", "--max_kbps", "1")
    assert f"the least was {rates[0]:.1f} kbps" in capsys.readouterr().err
    assert not list((tmp_path / "no").iterdir())


def test_other_checkpoint_is_refused(
    source: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("compress", source, tmp_path / "small", checkpoint, "--quality", "1")
    other = torch.load(checkpoint, weights_only=True)
    torch.save(other | {"global_step": 1}, tmp_path / "other.ckpt")
    with pytest.raises(SystemExit):
        call("decompress", tmp_path / "small/play.lav", tmp_path / "b", tmp_path / "other.ckpt")
    assert "needs the checkpoint with digest" in capsys.readouterr().err


def test_what_is_lost_is_filled_in_told_and_shown_on_a_map(
    source: Path, checkpoint: Path, tmp_path: Path
) -> None:
    more = ("--quality", "3", "--group_frames", "6", "--yardstick", "false")
    call("compress", source, tmp_path / "small", checkpoint, *more)
    path = tmp_path / "small/play.lav"
    whole = call("decompress", path, tmp_path / "whole", checkpoint)
    assert whole["groups_made_up"] == {}
    assert not (tmp_path / "whole/concealed.png").exists()

    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        *_, group = LavReader(file).groups()
    packet = max((p for p in group.packets if p), key=len)
    data[bytes(data).index(packet)] ^= 1
    path.write_bytes(data)
    told = call("decompress", path, tmp_path / "back", checkpoint)
    assert list(told["groups_made_up"]) == ["1"]
    heat = read_image(tmp_path / "back/concealed.png")
    assert heat.shape == (48, 64, 3)
    bright = heat.sum(2) > heat.sum(2).min()
    assert 0 < bright.mean() < 1
    undamaged, filled = pixels(tmp_path / "whole/play.avi"), pixels(tmp_path / "back/play.avi")
    assert np.array_equal(filled[:6], undamaged[:6])
