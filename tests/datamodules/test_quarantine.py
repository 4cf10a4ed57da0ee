"""A folder full of bad files: the good ones are used, each bad one is named, nothing hangs."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hostile_files import COUNT, SIZE, write_hostile

from benchmarks.numbered_video import number_of, write_numbered
from datamodules.video.cache import open_recordings
from datamodules.video.decoding import VideoError
from datamodules.video.folder import find_videos

GOOD = ["ffv1.avi", "h264.mp4"]


def rgb_of(recording) -> np.ndarray:
    """All frames `(n, h, w, 3)`."""
    frames, palette = recording.frames(np.arange(len(recording)))
    return frames if palette is None else palette.view(np.uint8).reshape(256, 4)[:, :3][frames]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two good files among one bad file of each kind."""
    videos = tmp_path_factory.mktemp("hostile") / "videos"
    videos.mkdir()
    for name in GOOD:
        write_numbered(videos, name, COUNT, SIZE)
    return videos


@pytest.fixture(scope="module")
def expected(folder):
    """What is to be said of each bad file."""
    return write_hostile(folder)


@pytest.mark.parametrize("cached", [True, False])
def test_no_good_frame_is_lost_and_every_bad_file_is_named(
    cached, folder, expected, tmp_path, capsys
):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recordings = open_recordings(folder, None, str(tmp_path) if cached else None)
    table = capsys.readouterr().err
    reasons = {path.name: reason for path, reason in recordings.quarantined}
    assert set(reasons) == set(expected)
    for name, pattern in expected.items():
        assert re.search(pattern, reasons[name]), (name, reasons[name])
        assert sum(f"/{name}" in str(warning.message) for warning in caught) == 1, name
        assert name in table
    for recording in recordings:
        begin = recording.first_frame
        numbers = [number_of(frame) for frame in rgb_of(recording)]
        assert numbers == list(range(begin, begin + len(recording))), recording.name
    assert [r.name for r in recordings if len(r) == COUNT] == GOOD
    behind = {recording.name for recording in recordings if recording.first_frame}
    assert behind == {"bomb_frame.avi", "rot_ffv1.avi", "rot_xvid.avi"}


def test_streams_and_clips_call_the_same_files_unreadable(folder, expected):
    with pytest.warns(UserWarning):
        readable = {path.name for path in find_videos(str(folder)).paths}
        clips = {recording.name for recording in open_recordings(folder)}
    assert readable - clips == {"one_frame.avi"}
    assert clips <= readable


CHILD = """
import resource, sys, warnings
import numpy as np
from datamodules.video.cache import open_recordings

warnings.simplefilter("ignore")
for folder in sys.argv[1:]:
    for cache in (None, folder + "_cache"):
        for recording in open_recordings(folder, (64, 64), cache):
            recording.frames(np.arange(len(recording)))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_bad_files_neither_hang_nor_fill_the_memory(folder, expected, tmp_path):
    for name in GOOD:
        (tmp_path / name).symlink_to(folder / name)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path, folder],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    clean, hostile = map(int, child.stdout.split())  # MiB at most so far
    assert hostile - clean < 1024


def test_strict_names_the_first_bad_file(folder, expected):
    with pytest.raises(VideoError, match=r"bomb\.avi: .*data\.strict"):
        open_recordings(folder, strict=True)


def test_folder_without_a_good_file_is_an_error_that_says_how_to_record(tmp_path):
    (tmp_path / "empty.avi").touch()
    (tmp_path / "notes.txt").write_text("not even meant to be one")
    with pytest.warns(UserWarning, match="empty.avi"), pytest.raises(ValueError) as caught:
        open_recordings(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "litarcade-record" in str(caught.value)
    with pytest.raises(ValueError, match="nowhere"):
        open_recordings(tmp_path / "nowhere")
