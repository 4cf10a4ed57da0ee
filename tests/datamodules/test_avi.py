"""Files as a stream: in order, for ever, resumable, and past files that are no good."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest

from datamodules import AviStreamDataModule
from datamodules.streams.chunks import StreamError
from datamodules.video_io import write_video

LENGTHS = {"a.gif": 5, "2.avi": 7, "10.avi": 4}


def numbered(file: int, frame: int, size: tuple[int, int]) -> np.ndarray:
    """A picture that says which frame it is by its brightness."""
    return np.full((*size, 3), 40 * file + 5 * frame, np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Three files in two formats and sizes, one in a folder below; names sort naturally."""
    (tmp_path / "below").mkdir()
    for file, (name, length) in enumerate(LENGTHS.items()):
        path = tmp_path / "below" / name if name == "a.gif" else tmp_path / name
        size = (24, 32) if file else (30, 20)
        write_video(path, [numbered(file, i, size) for i in range(length)], fps=20)
    return tmp_path


def make(folder, **options):
    options = {"size": (24, 32), "chunk": 6} | options
    data = AviStreamDataModule(str(folder), **options)
    data.setup("fit")
    return data


def shown(batches, stream=0):
    return [int(batch["frame"][stream].float().mean()) for batch in batches]


ORDER = [40 + 5 * i for i in range(7)] + [80 + 5 * i for i in range(4)] + [5 * i for i in range(5)]


def test_files_are_read_in_natural_order_for_ever(folder, read):
    batches = read(make(folder), 40)
    assert shown(batches) == (ORDER * 3)[:40]
    assert [int(b["source"]) for b in batches[:16]] == [0] * 7 + [1] * 4 + [2] * 5
    assert [int(b["frame_index"]) for b in batches[:9]] == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert [i for i, b in enumerate(batches) if b["episode_start"]] == [
        0,
        7,
        11,
        16,
        23,
        27,
        32,
        39,
    ]
    assert batches[3]["seconds"].item() == pytest.approx(3 / 20)
    assert {int(b["action"]) for b in batches} == {-1}


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_equals_uninterrupted(workers, folder, read, equal, stored):
    whole = read(make(folder, streams=2), 45)
    for cut in (1, 5, 6, 7, 8, 16, 30):
        resumed = make(folder, streams=2, num_workers=workers)
        resumed.resume_from(stored(whole[cut - 1]["position"]))
        assert equal(read(resumed, 12), whole[cut : cut + 12]), cut


def test_streams_and_ranks_begin_with_different_files(folder, read):
    ranks = [make(folder, streams=2) for _ in range(2)]
    for rank, data in enumerate(ranks):
        data.trainer = SimpleNamespace(global_rank=rank, training=False)
    assert ranks[0].game_names == ["2.avi", "10.avi"]
    assert ranks[1].game_names == ["below/a.gif", "2.avi"]
    assert shown(read(ranks[1], 3)) == [0, 5, 10]
    whole = read(make(folder, streams=4), 20)
    assert shown(read(ranks[0], 20), 1) == shown(whole, 1)


def test_bad_files_are_left_out_with_one_warning_each(folder, read):
    (folder / "0_empty.avi").touch()
    (folder / "1_text.avi").write_text("no video")
    (folder / "1_folder.avi").mkdir()
    os.mkfifo(folder / "3_pipe.mkv")
    (folder / "notes.txt").write_text("not even meant to be one")
    with pytest.warns(UserWarning, match="left out") as caught:
        data = make(folder, num_workers=1)
        assert shown(read(data, 16)) == ORDER
    reasons = sorted(str(warning.message) for warning in caught if "left" in str(warning.message))
    assert len(reasons) == 4
    assert all(name in " ".join(reasons) for name in ("it is empty", "regular file", "1_text.avi"))


def test_file_cut_short_ends_where_the_damage_is(folder, read, caplog):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (24, 32, 3)).astype(np.uint8) for _ in range(20)]
    write_video(folder / "1.avi", noise, fps=20)
    whole = (folder / "1.avi").read_bytes()
    (folder / "1.avi").write_bytes(whole[: len(whole) // 2])
    batches = read(make(folder), 60)
    length = next(i for i, batch in enumerate(batches) if batch["source"] == 1)
    assert 5 <= length <= 11
    for batch, frame in zip(batches[: length - 1], noise, strict=False):
        assert np.array_equal(batch["frame"][0].permute(1, 2, 0), frame)
    assert shown(batches[length : length + 16]) == ORDER
    assert sum("1.avi" in line and "next file" in line for line in caplog.messages) == 1


def test_folder_without_a_video_is_named(tmp_path):
    (tmp_path / "bad.avi").touch()
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=str(tmp_path)) as caught:
        make(tmp_path)
    assert "data.data_dir" in str(caught.value)
    with pytest.raises(ValueError, match="nowhere"):
        make(tmp_path / "nowhere")


def test_files_that_vanish_during_a_run_end_it_in_one_line(folder, read):
    data = make(folder)
    for path in [*folder.glob("*.avi"), *folder.glob("below/*")]:
        path.unlink()
    with pytest.raises(StreamError, match="no readable video"):
        read(data, 1)


def test_position_in_a_file_that_is_gone_is_refused(folder, read):
    position = read(make(folder), 3)[-1]["position"]
    (folder / "2.avi").unlink()
    data = make(folder)
    data.resume_from(position)
    with pytest.raises(StreamError, match=r"was at 2.avi"):
        read(data, 1)


def test_a_single_file_is_a_stream_too(folder, read):
    assert shown(read(make(folder / "10.avi"), 6)) == [80, 85, 90, 95, 80, 85]
