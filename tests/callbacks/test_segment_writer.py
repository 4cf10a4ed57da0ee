"""Segments as files: what is written, when it is written again, and that nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from made_motion_videos import FPS, pictures, write_moves

from callbacks import SegmentWriter
from datamodules import VideoWindowDataModule
from datamodules.video_io import VideoError, read_frames
from lit_modules import LitSegmenter
from lit_modules.latent_action.segmentation import Segmenter, find_segments
from lit_modules.latent_action.tokenizer import MotionTokenizer

MOVES = "..rr..lll.."
LOUD = {"energy": "velocity", "mode": "l2_mean", "on": 5e-4}


def segmenter(tokenizer: bool = True, **options: Any) -> LitSegmenter:
    module = LitSegmenter(**(LOUD | options))
    if tokenizer:
        torch.manual_seed(0)
        net = MotionTokenizer(hidden_dim=16, depth=1, heads=2, code_length=4)
        module.tokenizer = net.eval().requires_grad_(False)
    return module


def predict(
    out: Path,
    data: VideoWindowDataModule,
    module: LitSegmenter | None = None,
    **kinds: Any,
) -> None:
    writer = SegmentWriter(str(out), **({"overlay": False} | kinds))
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[writer],
    )
    trainer.predict(module or segmenter(), datamodule=data)


def windows_of(source: Path, **options: Any) -> VideoWindowDataModule:
    return VideoWindowDataModule(str(source), **({"batch_size": 3} | options))


def sidecars(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted(folder.rglob("*.codes.json"))]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def everything(folder: Path) -> dict[str, bytes]:
    """Files by their names, videos as their frames."""
    return {
        path.relative_to(folder).as_posix(): np.array([f for f, _ in read_frames(path)]).tobytes()
        if path.suffix == ".mp4"
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_video_becomes_clips_codes_energies_and_pictures(tmp_path: Path) -> None:
    source = write_moves(tmp_path, "a", MOVES, labels=True)
    predict(tmp_path / "out", windows_of(source), overlay=True, prequant=True)
    folder = tmp_path / "out" / "a"
    found = sidecars(folder)
    energies = rows(folder / "energy.jsonl")
    assert len(found) == 2
    for k, sidecar in enumerate(found):
        assert (sidecar["video"], sidecar["segment"], sidecar["codebook_size"]) == ("a", k, 240)
        assert (sidecar["fps"], sidecar["stride"], sidecar["horizon"]) == (20, 4, 16)
        assert sidecar["codes"] == [energies[w]["codes"] for w in sidecar["windows"]]
        assert all(len(codes) == 4 for codes in sidecar["codes"])
        clip = [pixels for pixels, _ in read_frames(folder / sidecar["clip"])]
        times = [i / FPS for i in range(15 * len(MOVES))]
        begin, end = sidecar["start_seconds"], sidecar["end_seconds"]
        expected = [p for p, t in zip(pictures(MOVES), times, strict=True) if begin <= t < end]
        assert len(clip) == len(expected) == sidecar["frames"]
        assert np.abs(np.array(clip, float) - np.array(expected)).mean() < 8
    assert len(list(read_frames(folder / "overlay.mp4"))) == 15 * len(MOVES)
    prequant = np.load(folder / "prequant" / "a.npy")
    assert prequant.shape[:2] == (len(energies), 4)
    (summary,) = rows(tmp_path / "out" / "videos.jsonl")
    assert summary["windows"] == len(energies) == (round(len(MOVES) * 10) - 16 - 1) // 4 + 1
    assert summary["segments"] == 2
    assert summary["status"] == "done"
    assert [row["index"] for row in energies] == list(range(len(energies)))


def test_segments_lie_where_something_moves(tmp_path: Path) -> None:
    predict(tmp_path / "out", windows_of(write_moves(tmp_path, "a", MOVES)))
    truth = [(1.0, 2.0), (3.0, 4.5)]
    for sidecar, (begin, end) in zip(sidecars(tmp_path / "out"), truth, strict=True):
        assert sidecar["start_seconds"] == pytest.approx(begin, abs=0.45)
        assert sidecar["end_seconds"] == pytest.approx(end, abs=0.45)


def test_what_was_written_online_is_what_the_energies_give_offline(tmp_path: Path) -> None:
    source = write_moves(tmp_path, "a", "r.rl.r..lrlr")
    predict(tmp_path / "out", windows_of(source), segmenter(max_seconds=1.2))
    energies = rows(tmp_path / "out" / "a" / "energy.jsonl")
    (summary,) = rows(tmp_path / "out" / "videos.jsonl")
    offline = find_segments(
        Segmenter(**summary["thresholds"]),
        [row["energy"] for row in energies],
        [row["seconds"] for row in energies],
        summary["seconds"],
    )
    written = sidecars(tmp_path / "out")
    assert len(written) > 2
    assert [s["windows"] for s in written] == [list(s.windows) for s in offline]
    for sidecar, segment in zip(written, offline, strict=True):
        assert sidecar["start_seconds"] == pytest.approx(segment.start, abs=1e-6)
        assert sidecar["end_seconds"] == pytest.approx(segment.end, abs=1e-6)


class Connections:
    """A live source that shows the moves of each connection in turn, then is gone."""

    def __init__(self, *moves: str) -> None:
        self.moves = list(moves)

    def __call__(self) -> Iterator[tuple[np.ndarray, float | None]]:
        if not self.moves:
            raise VideoError("gone")
        for i, picture in enumerate(pictures(self.moves.pop(0))):
            yield picture, i / FPS


def live(monkeypatch: pytest.MonkeyPatch, *moves: str) -> VideoWindowDataModule:
    data = VideoWindowDataModule(
        "test://made", max_lag=99, reconnect_attempts=1, reconnect_pause=0.01
    )
    monkeypatch.setattr(data, "_connect", Connections(*moves))
    return data


def test_a_live_source_gives_the_segments_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(tmp_path / "file", windows_of(write_moves(tmp_path, "a", MOVES)))
    predict(tmp_path / "live", live(monkeypatch, MOVES))
    written, online = sidecars(tmp_path / "file"), sidecars(tmp_path / "live")
    assert [s["windows"] for s in online] == [s["windows"] for s in written]
    assert [s["codes"] for s in online] == [s["codes"] for s in written]
    later = online[0]["start_seconds"] - written[0]["start_seconds"]
    for one, other in zip(online, written, strict=True):
        assert one["end_seconds"] - other["end_seconds"] == pytest.approx(later, abs=1e-4)


def test_a_source_that_drops_keeps_the_open_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = live(monkeypatch, "..rrr", "rrr..")
    predict(tmp_path / "out", data, segmenter(max_seconds=9))
    (found,) = sidecars(tmp_path / "out")
    (summary,) = rows(tmp_path / "out" / "videos.jsonl")
    energies = rows(tmp_path / "out" / "stream" / "energy.jsonl")
    jumps = np.flatnonzero(np.diff([row["seconds"] for row in energies]) > 0.3)
    (gap,) = jumps.tolist()
    assert gap in found["windows"]
    assert gap + 1 in found["windows"]
    assert len(found["codes"]) == len(found["windows"])
    assert summary["status"] == "done"
    assert "it ended" in summary["problems"]


def test_a_video_shorter_than_one_window_gives_an_empty_result(tmp_path: Path) -> None:
    predict(tmp_path / "out", windows_of(write_moves(tmp_path, "a", "r")), overlay=True)
    (summary,) = rows(tmp_path / "out" / "videos.jsonl")
    assert (summary["windows"], summary["segments"], summary["status"]) == (0, 0, "done")
    assert rows(tmp_path / "out" / "a" / "energy.jsonl") == []
    assert len(list(read_frames(tmp_path / "out" / "a" / "overlay.mp4"))) == 15


def test_motion_up_to_the_last_frame_is_all_in_the_clips(tmp_path: Path) -> None:
    moves = "..rrrrrrr"
    predict(tmp_path / "out", windows_of(write_moves(tmp_path, "a", moves)))
    found = sidecars(tmp_path / "out")
    assert [s["ended_by"] for s in found] == ["length", "end"]
    assert found[0]["end_seconds"] == found[1]["start_seconds"]
    assert found[1]["end_seconds"] == pytest.approx(len(moves) / 2)
    begin = found[0]["start_seconds"]
    assert (
        sum(s["frames"] for s in found)
        == round((len(moves) / 2 - begin) * FPS)
        == sum(len(list(read_frames(p))) for p in (tmp_path / "out").rglob("*.mp4"))
    )


def test_a_corrupt_video_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    source = tmp_path / "videos"
    write_moves(source, "a", MOVES)
    (source / "b.avi").write_text("no video")
    write_moves(source, "c", MOVES)
    with pytest.raises(ValueError, match=r"1 of 3 videos .*b\.avi"):
        predict(tmp_path / "out", windows_of(source))
    states = {row["video"]: row["status"] for row in rows(tmp_path / "out" / "videos.jsonl")}
    assert states == {"a": "done", "b": "failed", "c": "done"}
    assert len(sidecars(tmp_path / "out" / "c")) == 2


def test_a_second_run_skips_what_is_done_unless_settings_change(tmp_path: Path) -> None:
    source, out = tmp_path / "videos", tmp_path / "out"
    write_moves(source, "a", MOVES)
    write_moves(source, "b", MOVES)
    predict(out, windows_of(source))
    before = everything(out)
    (out / "a" / "energy.jsonl").write_text("mine")
    (out / "b" / "video.json").unlink()
    predict(out, windows_of(source))
    after = everything(out)
    assert after["a/energy.jsonl"] == b"mine"
    assert {k: v for k, v in after.items() if k != "a/energy.jsonl"} == {
        k: v for k, v in before.items() if k != "a/energy.jsonl"
    }
    predict(out, windows_of(source), segmenter(max_seconds=0.4))
    assert len(sidecars(out / "a")) > 2


def test_results_inside_the_source_are_no_videos_of_it(tmp_path: Path) -> None:
    write_moves(tmp_path, "a", MOVES)
    for _ in range(2):
        predict(tmp_path / "out", windows_of(tmp_path))
    assert len(rows(tmp_path / "out" / "videos.jsonl")) == 1


def test_still_windows_have_the_codes_of_stillness_and_no_energy(tmp_path: Path) -> None:
    source = write_moves(tmp_path, "a", "....rr......ll")
    predict(tmp_path / "out", windows_of(source))
    energies = rows(tmp_path / "out" / "a" / "energy.jsonl")
    still = [row for row in energies if row["still"]]
    assert 3 < len(still) < len(energies)
    assert {tuple(row["codes"]) for row in still} == {tuple(still[0]["codes"])}
    assert all(value == 0 for row in still for value in row["energies"].values())
    assert len(still[0]["energies"]) == 12
    module = segmenter()
    data = windows_of(source, batch_size=99)
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    rest = module.tokenizer.encode(torch.zeros(1, 16, 400, 2)).indices[0].tolist()
    assert still[0]["codes"] == rest
    moving = [not value for value in batch["still"].tolist()]
    direct = module.tokenizer.encode(batch["velocity"][moving]).indices.tolist()
    assert [row["codes"] for row in energies if not row["still"]] == direct
