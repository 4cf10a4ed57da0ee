"""Recordings give exactly the frames that were asked for, cached or not."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from datetime import datetime

import cv2
import numpy as np
import pytest

from benchmarks.numbered_video import WRITERS, number_of, times_with_drops, write_numbered
from datamodules.smb_format import FAIL, Episode, SmbFrame, write_frame
from datamodules.video import cache as clip_cache
from datamodules.video.cache import open_recordings
from datamodules.video.decoding import VideoError
from datamodules.video_io import read_frames, write_video

SIZE = (64, 80)
RNG = np.random.default_rng(0)


def rgb_of(recording, indices) -> np.ndarray:
    frames, palette = recording.frames(np.asarray(indices))
    if palette is None:
        return frames
    return palette.view(np.uint8).reshape(256, 4)[:, :3][frames]


def random_frames(count: int, colours: int, size=(31, 43)) -> list[np.ndarray]:
    palette = RNG.integers(0, 256, (colours, 3)).astype(np.uint8)
    return [palette[RNG.integers(0, colours, size)] for _ in range(count)]


@pytest.fixture
def no_decoding(monkeypatch):
    """From when it is called, decoding a whole recording is an error."""

    def forbid():
        def refuse(*_):
            raise AssertionError("decoded again")

        monkeypatch.setattr(clip_cache, "build_index", refuse)

    return forbid


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("name", WRITERS)
def test_none_of_200_random_clips_is_wrong(name, cached, tmp_path):
    path = write_numbered(tmp_path, name, 150, SIZE)
    (recording,) = open_recordings(path, None, str(tmp_path / "cache") if cached else None)
    assert len(recording) == 150
    for start in RNG.integers(0, 150 - 16, 200).tolist():
        clip = rgb_of(recording, np.arange(start, start + 16))
        assert [number_of(frame) for frame in clip] == list(range(start, start + 16))
    everything = np.stack([frame for frame, _ in read_frames(path)])
    assert np.array_equal(rgb_of(recording, [140, 3, 3, 77]), everything[[140, 3, 3, 77]])


@pytest.mark.parametrize("name", WRITERS)
def test_times_are_those_that_frames_were_shown_at(name, tmp_path):
    (recording,) = open_recordings(write_numbered(tmp_path, name, 60, SIZE))
    ticks = times_with_drops(60) if "dropped" in name else np.arange(60)
    assert recording.seconds == pytest.approx(ticks / 30, abs=1e-3)


def test_wrong_seeks_are_noticed(tmp_path, monkeypatch):
    (recording,) = open_recordings(write_numbered(tmp_path, "mjpg.avi", 40, SIZE))
    recording.index.seeks[:] += 3
    assert [number_of(f) for f in rgb_of(recording, np.arange(20, 30))] == list(range(20, 30))


@pytest.mark.parametrize("colours", [3, 256, 257])
def test_cache_keeps_up_to_256_colours_as_indices(colours, tmp_path):
    frames = random_frames(5, 3) + random_frames(6, colours)
    write_video(tmp_path / "a.avi", frames, 30)
    count = len({tuple(c) for f in frames for c in f.reshape(-1, 3).tolist()})
    (recording,) = open_recordings(tmp_path, None, str(tmp_path / "cache"))
    pixels, palette = recording.frames(np.arange(11))
    assert (palette is not None) == (count <= 256) == (pixels.ndim == 3)
    assert np.array_equal(rgb_of(recording, np.arange(11)), np.stack(frames))


def test_second_opening_decodes_nothing(tmp_path, no_decoding):
    write_numbered(tmp_path, "xvid.avi", 40, SIZE)
    first = open_recordings(tmp_path, (32, 32), str(tmp_path / "cache"))[0]
    no_decoding()
    second = open_recordings(tmp_path, (32, 32), str(tmp_path / "cache"))[0]
    assert np.array_equal(first.seconds, second.seconds)
    assert np.array_equal(rgb_of(first, np.arange(40)), rgb_of(second, np.arange(40)))
    with pytest.raises(AssertionError, match="decoded again"):
        open_recordings(tmp_path, (32, 40), str(tmp_path / "cache"))


def test_cache_knows_a_file_by_what_is_in_it(tmp_path):
    path = tmp_path / "a.avi"
    for value in (10, 20):
        write_video(path, [np.full((32, 32, 3), value + i, np.uint8) for i in range(5)], 30, "ffv1")
        os.utime(path, ns=(10**18, 10**18))
        (recording,) = open_recordings(tmp_path, None, str(tmp_path / "cache"))
        assert rgb_of(recording, [2])[0, 0, 0, 0] == value + 2


@pytest.mark.parametrize("cached", [True, False])
def test_frames_shrink_by_area(cached, tmp_path):
    frames = random_frames(4, 900)
    write_video(tmp_path / "a.avi", frames, 30)
    cache = str(tmp_path / "cache") if cached else None
    (recording,) = open_recordings(tmp_path, (16, 12), cache)
    expected = [cv2.resize(f, (12, 16), interpolation=cv2.INTER_AREA) for f in frames]
    assert recording.size == (16, 12)
    assert np.array_equal(rgb_of(recording, np.arange(4)), np.stack(expected))


def test_what_does_not_fit_in_the_cache_is_decoded(tmp_path, no_decoding):
    for name in ("1.avi", "2.avi", "3.avi"):
        write_video(tmp_path / name, random_frames(20, 900), 30)
    gib = 2.5 * 20 * 31 * 43 * 3 / 2**30
    with pytest.warns(UserWarning, match=r"no room in the cache for 3.avi.*data.cache_gib"):
        recordings = open_recordings(tmp_path, None, str(tmp_path / "cache"), gib)
    assert [r.store is None for r in recordings] == [False, False, True]
    whole = open_recordings(tmp_path)
    for one, other in zip(recordings, whole, strict=True):
        assert np.array_equal(rgb_of(one, np.arange(20)), rgb_of(other, np.arange(20)))
    no_decoding()
    with pytest.warns(UserWarning, match="no room"):
        open_recordings(tmp_path, None, str(tmp_path / "cache"), gib)


def test_least_recently_used_leaves_the_cache_first(tmp_path, no_decoding):
    cache = str(tmp_path / "cache")
    for name in ("old", "older", "new"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / f"{name}.avi", random_frames(20, 900), 30)
    gib = 2.5 * 20 * 31 * 43 * 3 / 2**30
    (older,) = open_recordings(tmp_path / "older", None, cache, gib)
    open_recordings(tmp_path / "old", None, cache, gib)
    for file in (tmp_path / "cache").glob("older*"):
        os.utime(file, (0, 0))
    before = rgb_of(open_recordings(tmp_path / "older")[0], [7])
    open_recordings(tmp_path / "new", None, cache, gib)
    kept = {path.name.split("-")[0] for path in (tmp_path / "cache").iterdir()}
    assert kept == {"old", "new"}
    assert np.array_equal(rgb_of(older, [7]), before)
    no_decoding()
    open_recordings(tmp_path / "old", None, cache, gib)


def test_what_a_crash_leaves_behind_does_no_harm(tmp_path):
    write_numbered(tmp_path, "ffv1.avi", 20, SIZE)
    cache = tmp_path / "cache"
    open_recordings(tmp_path, None, str(cache))
    (frames,), (index,) = cache.glob("*.frames"), cache.glob("*.npz")
    spoilt = {
        "frames": lambda: os.truncate(frames, 1000),
        "index": lambda: os.truncate(index, 100),
        "no frames": frames.unlink,
        "part": lambda: (index.unlink(), index.with_suffix(".part").write_bytes(b"half")),
        "lock": lambda: (index.unlink(), index.with_suffix(".lock").touch()),
    }
    for spoil in spoilt.values():
        spoil()
        (recording,) = open_recordings(tmp_path, None, str(cache))
        assert [number_of(f) for f in rgb_of(recording, np.arange(20))] == list(range(20))
        assert sorted(cache.iterdir()) == sorted([frames, index])


def _open(folder) -> list[int]:
    (recording,) = open_recordings(folder, None, str(folder / "cache"))
    return [number_of(frame) for frame in rgb_of(recording, np.arange(200))]


def test_processes_that_open_at_once_share_the_work(tmp_path):
    write_numbered(tmp_path, "xvid.avi", 200, SIZE)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        for numbers in pool.map(_open, [tmp_path] * 4):
            assert numbers == list(range(200))
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_recordings_survive_pickling_and_lost_caches(tmp_path):
    write_numbered(tmp_path, "h264_lossless.avi", 80, SIZE)
    (recording,) = open_recordings(tmp_path, None, str(tmp_path / "cache"))
    recording.frames(np.arange(3))
    copy = pickle.loads(pickle.dumps(recording))
    assert len(pickle.dumps(copy)) < 10_000
    (next((tmp_path / "cache").glob("*.frames"))).unlink()
    for one in (recording, copy):
        assert [number_of(f) for f in rgb_of(one, [5, 70])] == [5, 70]


def test_cache_folder_that_cannot_be_used_is_named(tmp_path):
    write_numbered(tmp_path, "mjpg.avi", 10, SIZE)
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match=r"file/cache.*data.cache_dir"):
        (recording,) = open_recordings(tmp_path, None, str(tmp_path / "file" / "cache"))
    assert number_of(rgb_of(recording, [4])[0]) == 4


def test_indices_outside_and_files_that_changed_are_refused(tmp_path):
    path = write_numbered(tmp_path, "xvid.avi", 30, SIZE)
    (recording,) = open_recordings(tmp_path)
    for index in (-1, 30):
        with pytest.raises(IndexError, match="frames 0 to 29"):
            recording.frames(np.array([3, index]))
    write_video(path, random_frames(30, 9, SIZE), 30)
    with pytest.raises(VideoError, match="has changed"):
        recording.frames(np.array([3]))


@pytest.fixture
def episode(tmp_path):
    """Twelve frames as pictures, in the order of their numbers, not of their names."""
    names = Episode("user", "s", 3, "1-2", FAIL)
    folder = tmp_path / names.folder
    folder.mkdir()
    palette = RNG.integers(0, 256, (256, 3)).astype(np.uint8)
    pictures = RNG.integers(0, 9, (12, 24, 32)).astype(np.uint8)
    for i, indices in enumerate(pictures):
        shuffled = SmbFrame(indices, palette, np.zeros(2048, np.uint8), 128, FAIL)
        write_frame(folder / names.file(95 + i, 128, datetime(2024, 1, 1)), shuffled)
    return folder, palette[pictures]


@pytest.mark.parametrize("cached", [True, False])
def test_folder_of_pictures_is_a_recording(cached, episode):
    folder, expected = episode
    cache = str(folder.parent / "cache") if cached else None
    (recording,) = open_recordings(folder.parent, None, cache)
    assert (recording.path, len(recording)) == (folder, 12)
    assert np.array_equal(rgb_of(recording, [11, 0, 4]), expected[[11, 0, 4]])
    assert recording.seconds == pytest.approx(np.arange(12) / 60)


def test_bad_picture_parts_a_recording(episode):
    folder, expected = episode
    next(folder.glob("*_f99_*")).write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="11 good frames are used.*_f99_"):
        recordings = open_recordings(folder.parent)
    assert [(r.first_frame, len(r)) for r in recordings] == [(0, 4), (5, 7)]
    assert np.array_equal(rgb_of(recordings[1], [0, 6]), expected[[5, 11]])
