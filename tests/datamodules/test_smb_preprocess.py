"""Preprocessing: what comes out is what went in, however often it was stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_episodes import LEVELS, in_text_mode, make, memory, picture, write_episode, write_episodes
from test_smb import batches, same

from datamodules.smb import __main__ as smb
from datamodules.smb import preprocess as smb_preprocess
from datamodules.smb.preprocess import locked, preprocess
from datamodules.video_io import read_frames


@pytest.fixture
def folder(tmp_path):
    return write_episodes(tmp_path / "episodes")


def run(folder: Path, out: Path, *flags: str) -> int:
    """Exit status of the command."""
    try:
        smb.main(["--input_dir", str(folder), "--output_dir", str(out), *flags])
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_videos_and_labels_hold_what_the_frames_held(codec, folder, tmp_path):
    in_text_mode(folder)
    out = tmp_path / "out"
    assert run(folder, out, "--codec", codec) == 0
    for path in folder.iterdir():
        level = path.name.split("_")[3]
        frames = [rgb for rgb, _ in read_frames(out / f"{path.name}.avi")]
        expected = [palette[indices] for indices, palette in map(picture, range(LEVELS[level]))]
        assert np.array_equal(frames, expected)
        labels = np.load(out / f"{path.name}.labels.npz")
        assert np.array_equal(labels["ram"], memory(level, LEVELS[level]))
        assert labels["outcome"] == 1


@pytest.mark.parametrize("step", [1, 2])
def test_clips_of_the_videos_are_those_of_the_frames(step, tmp_path):
    folder = write_episodes(tmp_path / "episodes", step)
    preprocess(folder, tmp_path / "out")
    options = {"val_levels": "1-2", "flip": 0.5, "colour_jitter": 0.2}
    one, other = (make(path, **options) for path in (folder, tmp_path / "out"))
    assert same(batches(one, "val"), batches(other, "val"))
    assert same(batches(one), batches(other))


def test_work_goes_on_where_it_stopped(folder, tmp_path, monkeypatch):
    whole = preprocess(folder, tmp_path / "whole").totals()
    out = tmp_path / "out"
    real, reads = smb_preprocess.read_frame, []

    def stops(path):
        reads.append(path)
        if len(reads) == LEVELS["1-1"] + 10:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(smb_preprocess, "read_frame", stops)
    assert run(folder, out) == 130
    reads.clear()
    report = json.loads((out / "report.json").read_text())
    assert [e["finished"] for e in report["episodes"].values()] == [True, False]
    monkeypatch.setattr(smb_preprocess, "read_frame", lambda path: reads.append(path) or real(path))
    (out / ".me_s1_e1_1-2_fail.avi.123").mkdir()  # as a killed process leaves it
    assert run(folder, out) == 0
    assert len(reads) == LEVELS["1-2"] + LEVELS["4-2"]
    report = json.loads((out / "report.json").read_text())
    assert {name: report[name] for name in whole} == whole
    assert {p.name for p in out.iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}
    reads.clear()
    assert run(folder, out) == 0
    assert not reads


def test_what_cannot_be_repaired_is_named_and_no_video_reaches_over_it(folder, tmp_path, capsys):
    episode = next(folder.glob("*_1-2_*"))
    frames = {int(p.name.split("_f")[1].split("_")[0]): p for p in episode.iterdir()}
    frames[5].write_text("this is no picture")
    frames[12].write_bytes(frames[12].read_bytes()[:-300])
    frames[14].unlink()
    out = tmp_path / "out"
    assert run(folder, out) == 0
    name = episode.name
    parts = {
        f"{name}.avi": range(4),
        f"{name}_f6.avi": range(5, 11),
        f"{name}_f15.avi": range(14, 30),
    }
    report = json.loads((out / "report.json").read_text())
    row = report["episodes"][name]
    assert row["videos"] == list(parts)
    assert dict(row["quarantined"]) == {
        frames[5].name: "it is no PNG",
        frames[12].name: "its game state is damaged beyond what text mode does",
        frames[13].name: "it is alone between gaps",
    }
    assert report["quarantined"] == 3
    assert report["frames"] == sum(LEVELS.values()) - 4
    assert report["levels"] == {"1-1": 24, "1-2": 26, "4-2": 26}
    for video, numbers in parts.items():
        shown = [rgb for rgb, _ in read_frames(out / video)]
        assert np.array_equal(shown, [picture(i)[1][picture(i)[0]] for i in numbers])
        labels = np.load((out / video).with_suffix(".labels.npz"))
        assert np.array_equal(labels["ram"], memory("1-2", 30)[list(numbers)])
    told = capsys.readouterr().out
    assert f"left out: {name}/{frames[5].name}: it is no PNG" in told
    assert run(folder, out, "--strict") == 1


def test_nothing_of_others_is_written_over(folder, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    mine = out / next(folder.iterdir()).name
    mine = mine.with_name(mine.name + ".avi")
    mine.write_text("mine")
    assert run(folder, out) == 1
    assert f"{mine} is there; give --overwrite" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == [mine.name]
    assert run(folder, out, "--overwrite") == 0
    assert len(list(read_frames(mine))) in LEVELS.values()


def test_results_of_another_kind_are_refused(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(folder, out) == 0
    assert run(folder, out, "--codec", "ffv1") == 1
    assert "was made as h264" in capsys.readouterr().err
    next(folder.glob("*_1-1_*/*_f3_*")).unlink()
    assert run(folder, out) == 1
    assert "1-1_fail have changed since; give --overwrite" in capsys.readouterr().err
    assert run(folder, out, "--overwrite", "--codec", "ffv1") == 0
    assert len(list(out.glob("*1-1_fail*.avi"))) == 2
    next(out.glob("*_4-2_*.avi")).unlink()
    assert run(folder, out, "--codec", "ffv1") == 1
    assert "is gone" in capsys.readouterr().err
    (out / "report.json").write_text("[]")
    assert run(folder, out) == 1
    assert "is no report of this program" in capsys.readouterr().err
    with locked(out):
        assert run(folder, out) == 1
    assert "another process writes" in capsys.readouterr().err


def test_more_episodes_may_come_later(folder, tmp_path):
    out = tmp_path / "out"
    assert run(folder, out) == 0
    kept = {p: p.stat().st_mtime_ns for p in out.glob("*.avi")}
    write_episode(folder / "more", "1-1", 9)
    assert run(folder, out) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    (out / "more" / "me_s1_e9_1-1_fail.avi").stat()
    assert run(folder, out) == 0


def test_one_episode_alone_keeps_its_name(tmp_path):
    episode = write_episode(tmp_path / "in", "1-1")
    report = preprocess(episode, tmp_path / "out")
    assert list(report.episodes) == [episode.name]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"{episode.name}.avi",
        f"{episode.name}.labels.npz",
        "report.json",
    ]


@pytest.mark.parametrize("wrong", ["missing", "empty", "videos"])
def test_a_folder_without_episodes_is_refused(wrong, tmp_path, capsys):
    folder = tmp_path / "in"
    if wrong != "missing":
        folder.mkdir()
    if wrong == "videos":
        (folder / "a.avi").write_text("a video")
    assert run(folder, tmp_path / "out") == 1
    assert "set --input_dir" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wrong_usage_exits_with_2(tmp_path):
    assert run(tmp_path, tmp_path / "out", "--codec", "xvid") == 2


def test_no_usable_frame_at_all_is_a_failure(tmp_path, capsys):
    episode = write_episode(tmp_path / "in", "1-1")
    for path in episode.iterdir():
        path.write_bytes(b"")
    assert run(tmp_path / "in", tmp_path / "out") == 1
    assert "not one frame" in capsys.readouterr().err
