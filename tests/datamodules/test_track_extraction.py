"""Videos to tracks on disk, stopped and gone on with, and tracks to HDF5 and back."""

from __future__ import annotations

import numpy as np
import pytest
from moving_pictures import POINTS, numbered_tracks, scrolled, texture, value

from datamodules.tracking import MotionSteps, make_tracker
from datamodules.tracking.__main__ import main
from datamodules.tracking.batch import extract_all, jobs_of
from datamodules.tracking.extract import Job, Settings, extract
from datamodules.tracking.hdf5 import import_hdf5, write_hdf5
from datamodules.tracking.store import (
    About,
    TracksError,
    TracksFile,
    part_path,
    parts_of,
    save,
    views_of,
)
from datamodules.video_io import read_frames, write_video

GRID = 6
FPS = 30
SETTINGS = Settings(options={"grid": GRID}, images=True, part_steps=8)
Tracks = type(numbered_tracks(0, 1))


def write_scroll(path, frames=46, seed=0):
    """A video that scrolls right and down, and what is held in it."""
    whole = texture(seed, 140, 200)
    pictures = [scrolled(whole, 1.5 * i, 0.5 * i, 60, 84) for i in range(frames)]
    write_video(path, [np.repeat(picture[..., None], 3, 2) for picture in pictures], FPS)
    held = np.random.default_rng(seed).integers(0, 256, frames).astype(np.uint8)
    np.savez(path.with_suffix(".labels.npz"), action=held)
    return path


def everything(target):
    """All parts as one, and their headers."""
    parts = list(parts_of(target))
    images = [part.all().images for part in parts]
    ((tracks, _),) = views_of(parts)
    return [*tracks[:5], np.concatenate(images)], [part.about for part in parts]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_scroll(tmp_path_factory.mktemp("scroll") / "a.avi")


@pytest.fixture(scope="module")
def whole(video):
    target = video.with_name("whole")
    extract(Job(video, "a.avi", target), SETTINGS)
    return everything(target)


def test_tracks_on_disk_are_those_of_the_frames(video, whole):
    (velocity, visible, seconds, piece, action, images), parts = whole
    motion, frames = MotionSteps(make_tracker(grid=GRID)), list(read_frames(video))
    steps = [step for frame, at in frames for step in motion.push(frame, at)]
    assert len(steps) == 30
    assert np.array_equal(velocity, np.array([s.velocity for s in steps], np.float16))
    assert np.array_equal(visible, np.array([s.visible for s in steps]))
    np.testing.assert_allclose(seconds, np.arange(30) / 20)
    assert not piece.any()
    held = np.load(video.with_suffix(".labels.npz"))["action"]
    middle = [next(i for i in range(46) if i / FPS > s + 0.0249) for s in seconds]
    assert np.array_equal(action, held[middle])
    begins = [max(i for i in range(46) if i / FPS < s + 1e-6) for s in seconds[::4]]
    means = np.array([frames[i][0].mean() for i in begins])
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), means, atol=1.0)
    assert [(p.part, p.last, p.height, p.width) for p in parts] == [
        (i, i == 3, 60, 84) for i in range(4)
    ]
    scroll = np.divide((-1.5 * 1.5, -0.5 * 1.5), (84, 60))
    assert np.abs(np.median(velocity, axis=(0, 1)) - scroll).max() < 0.1 / 60


@pytest.mark.parametrize("stop", [1, 20, 44, 45, 46])
def test_tracks_are_the_same_however_often_extraction_is_interrupted(stop, video, whole, tmp_path):
    job = Job(video, "a.avi", tmp_path / "a")
    for attempt in range(2):
        left = iter(range(stop + attempt))

        def progress(left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt

        try:
            extract(job, SETTINGS, progress)
        except KeyboardInterrupt:
            assert stop + attempt < 46
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    done = extract(job, SETTINGS)
    assert done.steps == 30
    assert done.new == 30 - 8 * len(before) if stop < 45 else done.new == 0
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    arrays, parts = everything(job.target)
    assert all(map(np.array_equal, arrays, whole[0]))
    assert parts == whole[1]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_tracks_of_something_else_are_not_written_over(video, tmp_path):
    job = Job(video, "a.avi", tmp_path / "a")
    extract(job, SETTINGS)
    other = Settings(options={"grid": GRID + 1}, part_steps=8)
    with pytest.raises(ValueError, match=r"a.tracks.safetensors was made of another.*--overwrite"):
        extract(job, other)
    done = extract(job._replace(overwrite=True), other)
    assert done.new == 30
    assert {part.points for part in parts_of(job.target)} == {(GRID + 1) ** 2}


def test_steps_behind_damage_are_another_piece_and_none_reaches_over_it(tmp_path):
    frames = [np.full((60, 84, 3), 4 * i, np.uint8) for i in range(46)]
    write_video(path := tmp_path / "rot.avi", frames, FPS, codec="ffv1")
    data = bytearray(path.read_bytes())
    middle = data.index(b"movi") + (data.rindex(b"idx1") - data.index(b"movi")) // 2
    data[middle : middle + 8] = bytes(8)
    path.write_bytes(data)
    done = extract(Job(path, "rot.avi", tmp_path / "rot"), Settings(options={"grid": GRID}))
    (file,) = parts_of(tmp_path / "rot")
    assert done.damages
    assert done.frames in (44, 45)
    assert set(file.piece) == {0, 1}
    assert 26 <= file.steps == done.steps < 30
    jumps = np.diff(file.seconds)
    same = np.diff(file.piece) == 0
    np.testing.assert_allclose(jumps[same], 0.05)
    assert (jumps[~same] > 0.06).all()


def test_a_bad_video_is_named_and_the_others_are_done(tmp_path, capsys):
    folder = tmp_path / "videos"
    (folder / "deep").mkdir(parents=True)
    write_scroll(folder / "a.avi")
    write_scroll(folder / "deep" / "b.avi", frames=20, seed=1)
    (folder / "empty.avi").write_bytes(b"")
    (folder / "text.mp4").write_text("no video")
    out = tmp_path / "tracks"
    command = ["extract", "--input", str(folder), "--out", str(out), "--grid", str(GRID)]
    for again in range(2):
        with pytest.raises(SystemExit) as stop:
            main([*command, "--processes", "1"])
        told = capsys.readouterr()
        assert stop.value.code == 1
        assert "empty.avi: it is empty" in told.out
        assert "text.mp4: " in told.out
        assert f"2 videos, 42 steps ({0 if again else 42} new)" in told.out
        assert "error: 2 file(s) could not be used, the others are done" in told.err
        names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
        assert names == ["a.tracks.safetensors", "deep/b.tracks.safetensors"]


def test_wrong_settings_are_told_once_and_nothing_is_done(video, tmp_path, capsys):
    command = ["extract", "--input", str(video), "--out", str(tmp_path)]
    for wrong, told in (
        (["--tracker", "cotracker"], "needs a checkpoint"),
        (["--part_steps", "7"], "part_steps 7 is no multiple of 4"),
        (["--grid", "0"], "grid 0 has no points"),
    ):
        with pytest.raises(SystemExit):
            main([*command, *wrong])
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert told in lines[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_processes_make_the_same_tracks(video, whole, tmp_path):
    write_scroll(tmp_path / "b.avi", frames=20, seed=1)
    (tmp_path / "c.avi").write_text("no video")
    videos = [(video, "a.avi"), (tmp_path / "b.avi", "b.avi"), (tmp_path / "c.avi", "c.avi")]
    jobs = jobs_of(videos, tmp_path / "out")
    report = extract_all(jobs, SETTINGS, processes=2)
    assert [job.name for job, _ in report.done] == ["a.avi", "b.avi"]
    assert [job.name for job, _ in report.failures] == ["c.avi"]
    assert all(map(np.array_equal, everything(jobs[0].target)[0], whole[0]))


def test_videos_of_one_name_keep_their_endings(tmp_path):
    videos = [(tmp_path / name, name) for name in ("a.avi", "a.mp4", "b/a.avi")]
    targets = [job.target.relative_to(tmp_path).as_posix() for job in jobs_of(videos, tmp_path)]
    assert targets == ["a.avi", "a.mp4", "b/a"]


def test_damaged_tracks_are_listed_and_made_anew(video, tmp_path, capsys):
    job = Job(video, "a.avi", tmp_path / "a")
    extract(job, SETTINGS)
    path = part_path(job.target, 2)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(TracksError, match=r"it cannot be read"):
        TracksFile(path)
    with pytest.raises(SystemExit):
        main(["check", "--input", str(tmp_path)])
    assert "a.part2.tracks.safetensors: it cannot be read" in capsys.readouterr().out
    main(["check", "--input", str(tmp_path), "--delete"])
    assert "4 files, 1 of which cannot be read and are deleted" in capsys.readouterr().out
    assert not path.exists()
    assert extract(job, SETTINGS).steps == 30
    assert len(list(parts_of(job.target))) == 4


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py")


def test_hdf5_round_trip_keeps_every_step(h5py, tmp_path):
    rng = np.random.default_rng(0)
    views = []
    for view in ("side", "top"):
        velocity = rng.normal(0, 0.01, (20, POINTS, 2)).astype(np.float16)
        velocity[rng.random((20, POINTS)) < 0.4] = 0
        tracks = numbered_tracks(0, 20, gap=13)
        velocity[~tracks.visible] = 0
        about = About("a.avi", height=48, width=64, view=view)
        views.append((tracks._replace(velocity=velocity), about))
    write_hdf5(tmp_path / "a.hdf5", views)
    made = import_hdf5(tmp_path / "a.hdf5", "a.avi", tmp_path / "back")
    assert [path.name for path in made] == [
        f"back.{view}.tracks.safetensors" for view in ("side", "top")
    ]
    for path, (tracks, about) in zip(made, views, strict=True):
        file = TracksFile(path)
        back = file.all()
        assert (file.about.name, file.about.view) == ("a.avi", about.view)
        still = tracks.velocity == 0
        assert not back.velocity[still].any()
        np.testing.assert_allclose(back.velocity, tracks.velocity, rtol=1e-3, atol=1e-7)
        for one, other in zip(back[1:5], tracks[1:5], strict=True):
            assert np.array_equal(one, other)
    with pytest.raises(ValueError, match=r"made of another file; give --overwrite"):
        import_hdf5(tmp_path / "a.hdf5", "a.avi", tmp_path / "back", fps=30)


def test_hdf5_holds_the_way_of_the_grid_in_pixels(h5py, tmp_path):
    tracks = numbered_tracks(0, 10, gap=6)
    ways = (np.arange(10) + 1) / 1024
    velocity = np.broadcast_to(ways[:, None, None], (10, POINTS, 2)).astype(np.float16)
    whole = tracks._replace(velocity=velocity)
    write_hdf5(tmp_path / "a.h5", [(whole, About("a", height=48, width=64))], horizon=4)
    with h5py.File(tmp_path / "a.h5") as file:
        group = file["root/default"]
        positions, vis = group["tracks"][:], group["vis"][:]
        assert dict(group.attrs) == {"height": 48, "width": 64}
    assert positions.shape == (11, 4, POINTS, 2)
    assert positions.dtype == vis.dtype == np.float32
    for frame in range(11):
        x, y = 64 / 6 - 0.5, 48 / 6 - 0.5
        seen = True
        for ahead in range(4):
            np.testing.assert_allclose(positions[frame, ahead, 0], (x, y), atol=1e-4)
            assert vis[frame, ahead, 0] == seen
            step = frame + ahead
            if step < (6 if frame < 6 else 10):
                x, y = x + 64 * ways[step], y + 48 * ways[step]
                seen = seen and bool(tracks.visible[step, 0])


def test_hdf5_of_another_rate_is_resampled(h5py, tmp_path):
    with h5py.File(tmp_path / "foreign.hdf5", "w") as file:
        group = file.create_group("root/default")
        group.attrs.update(height=50, width=100)
        frame, ahead = np.arange(31)[:, None, None], np.arange(16)[:, None]
        grid = np.arange(POINTS)[None, None, :]
        ways = np.where(frame + ahead < 31, ahead, 0) + grid
        group["tracks"] = np.stack([2.0 * ways, -1.0 * ways], -1).astype(np.float32)
        group["vis"] = np.ones((31, 16, POINTS), np.float32)
    (path,) = import_hdf5(tmp_path / "foreign.hdf5", "f", tmp_path / "f", fps=30)
    tracks = TracksFile(path).all()
    assert len(tracks.velocity) == 20
    expected = np.broadcast_to((0.03, -0.03), (20, POINTS, 2))
    np.testing.assert_allclose(tracks.velocity, expected, rtol=1e-3)
    assert (tracks.action == -1).all()


def test_hdf5_of_another_form_is_refused_by_name(h5py, tmp_path, capsys):
    folder, out = tmp_path / "in", str(tmp_path / "out")
    folder.mkdir()
    (folder / "text.hdf5").write_text("no HDF5")
    with h5py.File(folder / "long.hdf5", "w") as file:
        file["root/default/tracks"] = np.zeros((1, 30, POINTS, 2))
        file["root/default"].attrs.update(height=50, width=100)
    with h5py.File(folder / "flat.hdf5", "w") as file:
        file["root/default/tracks"] = np.zeros((30, POINTS, 2))
    write_hdf5(folder / "good.hdf5", [(numbered_tracks(0, 4), About("g", height=9, width=9))])
    with pytest.raises(SystemExit):
        main(["import-hdf5", "--input", str(folder), "--out", out])
    told = capsys.readouterr().out
    assert "text.hdf5: it cannot be read" in told
    assert "flat.hdf5: root/default/tracks is (30, 9, 2), not (frames, horizon" in told
    assert "2 files in" in told
    main(["export-hdf5", "--input", out, "--out", str(tmp_path / "again")])
    assert (tmp_path / "again" / "good.hdf5").is_file()


def test_value_survives_the_store(tmp_path):
    save(path := part_path(tmp_path / "a", 0), numbered_tracks(3, 40), About("a"))
    velocity, visible = TracksFile(path).read(5, 9)
    assert np.array_equal(velocity[:, 0, 0], value(3, np.arange(5, 9)).astype(np.float16))
    assert np.array_equal(visible, (np.arange(5, 9)[:, None] + np.arange(POINTS)) % 3 > 0)
