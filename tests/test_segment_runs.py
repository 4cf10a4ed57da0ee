"""Calibrating and segmenting from the command line, on one process and on two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_motion_videos import write_moves

from datamodules.video_io import read_frames
from train import LitArcadeCLI, main

ROOT = Path(__file__).parent.parent


def arguments(verb: str, preset: str, source: Path, out: Path, *more: str) -> list[str]:
    path = f"latent_action/{preset}.yaml"
    return [
        *(verb, "-c", str(ROOT / "configs" / path), "-c", str(ROOT / "tests/conf" / path)),
        *("--data.source", str(source), "--trainer.logger.save_dir", str(out), *more),
    ]


def files(folder: Path) -> dict[str, bytes]:
    """Files by their names, videos as their frames."""
    return {
        path.relative_to(folder).as_posix(): np.array([f for f, _ in read_frames(path)]).tobytes()
        if path.suffix == ".mp4"
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_calibration_gives_the_thresholds_that_the_segmenter_reads(tmp_path: Path) -> None:
    source = tmp_path / "videos"
    for name, moves in {"a": ".r..l.rr.", "b": "..r.lr..l"}.items():
        write_moves(source, name, moves, labels=True)
    cli = LitArcadeCLI(
        arguments("validate", "calibrate", source, tmp_path, "--model.labels", "active")
    )
    report = Path(cli.trainer.log_dir) / "threshold_report.json"
    written = json.loads(report.read_text())
    chosen = written["energies"]["velocity/token_diff_l2_mean"]
    assert not written["circular"]
    assert cli.trainer.callback_metrics["val/f1"] == pytest.approx(chosen["f1"])
    with_report = ("--model.threshold_report", str(report), "--model.on", "null")
    main_ok(arguments("predict", "segment", source, tmp_path, *with_report))
    folder = tmp_path / "latent_action/segments/videos"
    rows = [json.loads(line) for line in (folder / "videos.jsonl").read_text().splitlines()]
    assert [row["thresholds"]["on"] for row in rows] == [chosen["on"]] * 2
    assert all(row["segments"] for row in rows)


def main_ok(args: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 0


def test_a_corrupt_video_ends_a_run_that_has_done_the_others(tmp_path: Path, capsys) -> None:
    source = tmp_path / "videos"
    write_moves(source, "good", ".rr.")
    (source / "bad.avi").write_text("no video")
    with pytest.raises(SystemExit) as stop:
        main(arguments("predict", "segment", source, tmp_path))
    assert stop.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert "bad.avi" in line
    assert list((tmp_path / "latent_action/segments/videos/good").rglob("*.codes.json"))


def test_codes_need_a_tokenizer(tmp_path: Path, capsys) -> None:
    args = arguments("predict", "segment", tmp_path, tmp_path, "--model.energy", "quantized")
    with pytest.raises(SystemExit):
        main(args)
    assert "model.tokenizer_ckpt" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_write_what_one_writes_file_by_file(tmp_path: Path) -> None:
    source = tmp_path / "videos"
    for name, moves in {"a": ".rr.ll.", "b": "r", "c": "..rrrrr.l", "d": "rl.rl"}.items():
        write_moves(source, name, moves, labels=True)
    outputs = []
    for more in ((), ("--trainer.devices", "2", "--trainer.strategy", "ddp")):
        out = tmp_path / str(len(outputs))
        args = arguments("predict", "segment", source, out, *more)
        done = subprocess.run(
            [sys.executable, "train.py", *args],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        outputs.append(files(out / "latent_action/segments"))
    one, two = outputs
    assert one == two
    assert sum(name.endswith(".codes.json") for name in one) > 4
    assert sum(name.endswith(".mp4") for name in one) > 8
