"""Windows of motion: which there are, when they are, and what becomes of bad and long videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_motion_videos import FPS, pictures, write_moves

from datamodules import VideoWindowDataModule
from datamodules.tracking import MotionSteps, make_tracker
from datamodules.video_io import read_frames
from datamodules.windows.__main__ import main
from datamodules.windows.feed import Gap, Shot, Video
from datamodules.windows.windower import Windower

Batch = dict[str, Any]


def windows(source: Path | str, verb: str = "predict", **options: Any) -> list[Batch]:
    data = VideoWindowDataModule(str(source), **options)
    data.setup(verb)
    return list(data.predict_dataloader() if verb == "predict" else data.val_dataloader())


def joined(batches: list[Batch], name: str) -> torch.Tensor:
    return torch.cat([batch[name] for batch in batches])


def of_feed(items: list[Shot | Gap], **options: Any) -> list[Batch]:
    windower = Windower(make_tracker("lucas_kanade"), **options)
    return list(windower.batches(Video(0, "made", "made"), iter(items)))


def shots(moves: str, start: float = 0.0, action: int = -1) -> list[Shot | Gap]:
    return [Shot(p, start + i / FPS, action) for i, p in enumerate(pictures(moves))]


def test_windows_are_the_steps_of_the_file_every_fourth_sixteen_long(tmp_path: Path) -> None:
    path = write_moves(tmp_path, "a", "r.lr")
    steps, walk = [], MotionSteps(make_tracker("lucas_kanade"))
    for pixels, seconds in read_frames(path):
        steps += walk.push(pixels, seconds)
    batches = windows(path, batch_size=3)
    velocity, seconds = joined(batches, "velocity"), joined(batches, "seconds")
    assert len(velocity) == (len(steps) - 16) // 4 + 1
    assert [len(batch["velocity"]) for batch in batches[:-1]] == [3] * (len(batches) - 1)
    for w in range(len(velocity)):
        these = steps[4 * w : 4 * w + 16]
        assert np.array_equal(velocity[w], np.stack([step.velocity for step in these]))
        np.testing.assert_allclose(seconds[w], [step.seconds for step in these])
    np.testing.assert_allclose(seconds[:, 0], 0.2 * np.arange(len(seconds)), atol=1e-9)


def test_time_comes_from_the_file_not_from_the_number_of_frames() -> None:
    late = [Shot(s.pixels, 2 * s.seconds + 5, -1) for s in shots("r.lr")]
    (once,), (twice,) = of_feed(shots("r.lr"), batch_size=99), of_feed(late, batch_size=99)
    assert len(twice["seconds"]) > 2 * len(once["seconds"])
    assert float(twice["seconds"][0, 0]) == 5
    assert once["end"] == pytest.approx(60 / FPS)
    assert twice["end"] == pytest.approx(5 + 2 * 60 / FPS)


def test_frames_of_all_batches_are_the_frames_of_the_file(tmp_path: Path) -> None:
    path = write_moves(tmp_path, "a", "r.l")
    batches = windows(path, batch_size=2)
    frames = [frame for batch in batches for frame in batch["frames"]]
    times = np.concatenate([batch["frame_seconds"] for batch in batches])
    for frame, seconds, (pixels, when) in zip(frames, times, read_frames(path), strict=True):
        assert np.array_equal(frame, pixels)
        assert seconds == when
    assert [b["first"] for b in batches] == [True] + [False] * (len(batches) - 1)
    assert [b["last"] for b in batches] == [False] * (len(batches) - 1) + [True]


def test_a_video_shorter_than_one_window_is_one_batch_without_windows(tmp_path: Path) -> None:
    (batch,) = windows(write_moves(tmp_path, "a", "r"))
    assert batch["velocity"].shape == (0, 16, 400, 2)
    assert batch["first"]
    assert batch["last"]
    assert batch["error"] is None
    assert len(batch["frames"]) == 15


def test_rest_is_still_and_motion_is_not() -> None:
    (batch,) = of_feed(shots("...rrr"), batch_size=99, motion_gate=0.002)
    still = batch["still"].tolist()
    assert still[:3] == [True] * 3
    assert not still[-1]
    assert (batch["velocity"][0] == 0).all()
    (gated,) = of_feed(shots("...rrr"), batch_size=99, motion_gate=1.0)
    assert gated["still"].all()


def test_actions_of_the_labels_come_with_their_steps(tmp_path: Path) -> None:
    batches = windows(write_moves(tmp_path, "a", "rr..ll", labels=True), "validate")
    action, seconds = joined(batches, "action"), joined(batches, "seconds")
    frames = np.ceil((seconds.flatten().numpy() + 0.025) * FPS - 1e-4)  # the step's middle or later
    expected = [{0: 128, 1: 0, 2: 64}[int(frame) // FPS] for frame in frames]
    assert action.flatten().tolist() == expected
    assert "frames" not in batches[0]
    unknown = joined(windows(write_moves(tmp_path / "other", "b", "rr")), "action")
    assert (unknown == -1).all()


def test_no_window_reaches_over_a_gap() -> None:
    one, other = shots("rr"), shots("ll", start=1.7)
    (batch,) = of_feed([*one, Gap("it broke"), *other], batch_size=99)
    (first,), (second,) = of_feed(one, batch_size=99), of_feed(other, batch_size=99)
    for name in ("velocity", "seconds"):
        assert torch.equal(batch[name], torch.cat([first[name], second[name]]))
    assert batch["notes"] == ["it broke"]
    assert batch["dropped"] == 0


def test_windows_that_a_slow_reader_misses_are_counted() -> None:
    (batch,) = of_feed(
        [*shots("rr"), Gap("slow", behind=True), *shots("ll", start=3.0)], batch_size=99
    )
    starts = batch["seconds"][:, 0].tolist()
    missing = round((3.0 - max(s for s in starts if s < 3)) / 0.2) - 1
    assert batch["dropped"] == missing > 5
    assert batch["notes"] == []


def test_a_small_picture_shows_how_a_window_begins(tmp_path: Path) -> None:
    frames = shots("r.lr")
    (batch,) = of_feed(frames, batch_size=99, images=True)
    assert batch["image"].shape == (len(batch["seconds"]), 3, 64, 64)
    assert len({image.numpy().tobytes() for image in batch["image"]}) > 2


def test_workers_give_the_same_windows(tmp_path: Path) -> None:
    for name in "abc":
        write_moves(tmp_path, name, "r.")
    alone, shared = windows(tmp_path), windows(tmp_path, num_workers=2)
    assert sorted(b["name"] for b in alone) == sorted(b["name"] for b in shared)
    for one in alone:
        (other,) = (b for b in shared if b["name"] == one["name"])
        assert torch.equal(one["velocity"], other["velocity"])
        assert np.array_equal(one["frames"], other["frames"])


def test_a_corrupt_video_is_an_error_of_its_own_batch(tmp_path: Path) -> None:
    write_moves(tmp_path, "a", "r.")
    (tmp_path / "b.avi").write_text("no video")
    good, bad = windows(tmp_path)
    assert good["error"] is None
    assert bad["error"]
    assert bad["velocity"].shape[0] == 0


def test_damage_in_a_video_is_a_gap(tmp_path: Path) -> None:
    path = write_moves(tmp_path, "a", "rlrlrl")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    batches = windows(path)
    assert any(batch["notes"] for batch in batches)
    assert batches[-1]["error"] is None
    assert joined(batches, "seconds")[:, 0].max() > 1.5


def test_videos_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    write_moves(tmp_path, "a", ".")
    write_moves(tmp_path / "more", "a", ".")
    (tmp_path / "a.mp4").write_text("")
    data = VideoWindowDataModule(str(tmp_path))
    data.setup("predict")
    assert sorted(v.name for v in data.videos) == ["a.avi", "a.mp4", "more__a"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"source": "nowhere"}, "source nowhere does not exist"),
        ({"source": "."}, "holds no video"),
        ({"source": "x", "stride": 0}, "stride 0"),
    ],
)
def test_a_source_or_setting_that_cannot_be_is_named(
    options: dict[str, Any], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=named):
        VideoWindowDataModule(**options).setup("predict")


def test_parts_of_a_split_video_are_the_video(tmp_path: Path, capsys) -> None:
    path = write_moves(tmp_path / "long", "a", "r.lr.", labels=True)
    out = tmp_path / "parts"
    main(["split", str(tmp_path / "long"), str(out), "--seconds", "1"])
    parts = sorted(out.glob("*.avi"))
    assert [part.name for part in parts] == ["a_000.avi", "a_001.avi", "a_002.avi"]
    frames = [pixels for part in parts for pixels, _ in read_frames(part)]
    whole = [pixels for pixels, _ in read_frames(path)]
    assert np.array_equal(frames, whole)
    assert all(len(list(read_frames(part))) <= FPS for part in parts)
    held = [np.load(part.with_suffix(".labels.npz"))["action"] for part in parts]
    assert np.array_equal(np.concatenate(held), np.load(path.with_suffix(".labels.npz"))["action"])


def test_a_check_lists_corrupt_videos_and_removes_them_when_asked(tmp_path: Path, capsys) -> None:
    good = write_moves(tmp_path, "good", "r")
    bad = tmp_path / "bad.avi"
    bad.write_bytes(good.read_bytes()[:3000])
    with pytest.raises(SystemExit) as stop:
        main(["check", str(tmp_path), "--dry-run"])
    assert stop.value.code == 1
    assert f"{bad}: " in capsys.readouterr().out
    assert bad.exists()
    main(["check", str(tmp_path)])
    assert good.exists()
    assert not bad.exists()
