"""Segments of codes as sequences: each token once, videos apart, classes in balance."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.codes import CodesDataModule, in_time, read_segments


def write(path: Path, codes: list[list[int]], video: str, **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"video": video, "codes": codes, "stride": 4, "horizon": 16, **more}
    path.write_text(json.dumps(record))


def windows_of(sequence: list[int], tokens: int, stride: int) -> list[list[int]]:
    """Windows of `tokens` tokens, a new one every `stride` tokens."""
    return [sequence[i : i + tokens] for i in range(0, len(sequence) - tokens + 1, stride)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six videos in two classes, the first with five times as many segments."""
    for video in range(6):
        group = "walk" if video < 3 else "jump"
        for segment in range(10 if group == "walk" else 2):
            first = 1 + segment % 3
            length = 16 + 4 * first
            codes = windows_of([(video + segment + i) % 15 for i in range(length)], 16, 4)
            name = f"{group}/v{video}/code_indices/v{video}_seg{segment:03d}.codes.json"
            write(tmp_path / name, codes, f"v{video}")
    return tmp_path


@pytest.mark.parametrize("span", [1, 2, 4])
def test_each_token_of_overlapping_windows_is_taken_once(span: int) -> None:
    sequence = list(range(40 // span))
    codes = windows_of(sequence, 16 // span, 4 // span)
    assert in_time({"codes": codes, "stride": 4, "horizon": 16}).tolist() == sequence


def test_windows_that_were_left_out_leave_no_doubles() -> None:
    codes = windows_of(list(range(40)), 16, 4)
    kept = [0, 2, 6]  # after the first 8 and then 16 new tokens
    record = {"codes": [codes[i] for i in kept], "windows": kept, "stride": 4, "horizon": 16}
    assert in_time(record).tolist() == [*range(24), *range(24, 40)]
    assert in_time({"codes": [], "stride": 4}).tolist() == []


def test_batches_hold_sequences_and_nothing_behind_their_ends(folder: Path) -> None:
    data = CodesDataModule(str(folder), batch_size=5, max_length=100)
    data.setup("fit")
    whole = {segment.name: segment.codes.tolist() for segment in data.segments}
    assert len(whole) == 36
    batches = list(data.predict_dataloader())
    assert [name for batch in batches for name in batch["name"]] == sorted(whole)
    for batch in batches:
        for name, codes in zip(batch["name"], batch["codes"].tolist(), strict=True):
            length = len(whole[name])
            assert codes[:length] == whole[name]
            assert set(codes[length:]) <= {-1}


def test_segments_of_a_video_stay_on_one_side(folder: Path) -> None:
    data = CodesDataModule(str(folder), val_fraction=0.3)
    data.setup("fit")
    sides = [
        {segment.video for segment in side.segments}
        for side in (data.train_samples, data.held_out_samples)
    ]
    assert sides[0] | sides[1] == {f"v{i}" for i in range(6)}
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 2


def test_balanced_training_shows_each_class_equally_often(folder: Path) -> None:
    counts = {}
    for balanced in (False, True):
        data = CodesDataModule(str(folder), batch_size=4, val_fraction=0, balanced=balanced)
        data.setup("fit")
        names = [name for batch in data.train_dataloader() for name in batch["name"]]
        counts[balanced] = Counter(name.partition("/")[0] for name in names)
    assert counts[False]["walk"] > 4 * counts[False]["jump"]
    assert counts[True]["walk"] == counts[True]["jump"]


def test_length_adapts_to_the_sequences_and_longer_ones_are_cut_not_lost(folder: Path) -> None:
    write(folder / "long.codes.json", windows_of(list(range(200)), 16, 4), "v0")
    data = CodesDataModule(str(folder), batch_size=4, val_fraction=0)
    data.setup("fit")
    lengths = [len(segment.codes) for segment in data.train_samples.segments]
    assert max(lengths) == 28  # the usual one
    assert sum(lengths) == sum(len(segment.codes) for segment in data.segments)


def test_training_order_is_the_same_again_and_goes_on_after_what_was_consumed(folder: Path) -> None:
    def batches(position: Any = None) -> list[Any]:
        data = CodesDataModule(str(folder), batch_size=4, seed=3)
        data.resume_from(position)
        data.setup("fit")
        return list(data.train_dataloader())

    one, other = batches(), batches()
    assert [b["name"] for b in one] == [b["name"] for b in other]
    resumed = batches(one[2]["position"])
    assert [b["name"] for b in one[3:]] == [b["name"] for b in resumed[: len(one) - 3]]
    assert torch.equal(resumed[0]["sample"], one[3]["sample"])


def test_a_file_without_codes_is_left_out_by_name(folder: Path) -> None:
    (folder / "cut.codes.json").write_text('{"codes": [[1, 2')
    with pytest.warns(UserWarning, match=r"cut\.codes\.json"):
        assert len(read_segments(folder)) == 36
    with pytest.raises(ValueError, match="no segment"):
        (folder / "empty").mkdir()
        CodesDataModule(str(folder / "empty")).setup("fit")
    with pytest.raises(FileNotFoundError, match=r"data\.data_dir"):
        CodesDataModule(str(folder / "nowhere")).setup("fit")
