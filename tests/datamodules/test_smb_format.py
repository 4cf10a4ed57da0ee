"""Frames with game state: what is written comes back, also through the text mode of Windows."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from datamodules.smb_format import (
    WIN,
    Episode,
    SmbFrame,
    episodes,
    picture_end,
    read_frame,
    to_palette,
    write_frame,
)
from datamodules.video.decoding import VideoError

RNG = np.random.default_rng(0)
LINE_ENDS = np.array([0x0A, 0x0D], np.uint8)


def frame(ram: np.ndarray, buttons: int = 148, outcome: int = WIN, colours: int = 11) -> SmbFrame:
    palette = np.zeros((256, 3), np.uint8)
    palette[:colours] = RNG.integers(0, 256, (colours, 3))
    indices = RNG.integers(0, colours, (24, 32)).astype(np.uint8)
    indices[0, 0] = colours - 1
    return SmbFrame(indices, palette, ram, buttons, outcome)


def rams() -> list[np.ndarray]:
    """Random ones, and ones in which line ends are common, alone or all there is."""
    return [
        *(RNG.integers(0, 256, 2048).astype(np.uint8) for _ in range(20)),
        *(RNG.choice(LINE_ENDS, 2048) for _ in range(20)),
        *(RNG.choice([0x0A, 0x0D, 0, 9, 11], 2048).astype(np.uint8) for _ in range(20)),
        *(np.full(2048, value, np.uint8) for value in LINE_ENDS),
        np.tile(LINE_ENDS, 1024),
        np.tile(LINE_ENDS[::-1], 1024),
    ]


def in_text_mode(path: Path) -> None:
    """What the collector of the dataset did to all that stands behind the picture."""
    data = path.read_bytes()
    end = picture_end(data)
    path.write_bytes(data[:end] + data[end:].replace(b"\n", b"\r\n"))


def test_reading_inverts_writing_with_and_without_the_damage_of_text_mode(tmp_path):
    path = tmp_path / "a.png"
    for ram in rams():
        for buttons in (0x0A, 0x0D, 148):
            written = frame(ram, buttons)
            write_frame(path, written)
            for damage in (lambda _: None, in_text_mode):
                damage(path)
                read = read_frame(path)
                assert read.ram.shape == (2048,)
                assert all(np.array_equal(a, b) for a, b in zip(read, written, strict=True))


def test_a_picture_of_few_colours_is_indexed_without_loss(tmp_path):
    rgb = RNG.integers(0, 256, (17, 3))[RNG.integers(0, 17, (24, 32))].astype(np.uint8)
    indices, palette = to_palette(rgb)
    assert np.array_equal(palette[indices], rgb)
    with pytest.raises(ValueError, match="colours; indexed pictures hold 256"):
        to_palette(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8))


def spoil(kind: str, path: Path) -> None:
    data = path.read_bytes()
    end = picture_end(data)
    if kind == "missing":
        path.unlink()
    elif kind == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif kind == "text":
        path.write_text("this is no picture\n" * 10)
    elif kind == "cut picture":
        path.write_bytes(data[: end // 2])
    elif kind == "rotten picture":
        path.write_bytes(data[:45] + bytes(9) + data[54:])
    elif kind == "no state":
        path.write_bytes(data[:end])
    elif kind == "cut state":
        path.write_bytes(data[: end + 1000])
    elif kind == "huge length":
        path.write_bytes(data[:end] + b"\xff\xff\xff\xff" + data[end + 4 :])
    elif kind == "short ram":
        write_frame(path, frame(np.zeros(2047, np.uint8)))
    elif kind == "no buttons":
        path.write_bytes(data[:end] + data[end:].replace(b"BP1", b"BP2"))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "No such file"),
        ("pipe", "no regular file"),
        ("text", "no PNG"),
        ("cut picture", "picture is cut off"),
        ("rotten picture", "picture is damaged"),
        ("no state", "no game state"),
        ("cut state", "beyond what text mode does"),
        ("huge length", "beyond what text mode does"),
        ("short ram", "RAM has 2047 bytes, not 2048"),
        ("no buttons", "BP1 is not one byte"),
    ],
)
def test_what_cannot_be_repaired_is_refused_with_its_reason(kind, reason, tmp_path):
    path = tmp_path / "a.png"
    write_frame(path, frame(RNG.integers(0, 256, 2048).astype(np.uint8)))
    spoil(kind, path)
    with pytest.raises(VideoError, match=reason):
        read_frame(path)


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    episode = Episode("Player", "s1", 4, "1-3", WIN)
    assert episode.folder == "Player_s1_e4_1-3_win"
    name = episode.file(9, 148, datetime(2026, 1, 2, 3, 4, 5))
    assert name == "Player_s1_e4_1-3_f9_a148_2026-01-02_03-04-05.win.png"
    numbers = [100, 9, 1, 20, 11]
    for number in numbers:
        (tmp_path / episode.file(number, 0, datetime(2026, 1, 2))).touch()
    (tmp_path / "cover.png").touch()
    in_order = [path.name.split("_")[4] for path in episodes(tmp_path)]
    assert in_order == [f"f{number}" for number in sorted(numbers)]


DATASET = Path(os.environ.get("LITARCADE_SMBDATASET", "data/smbdataset"))


@pytest.mark.skipif(not DATASET.is_dir(), reason="set LITARCADE_SMBDATASET to the dataset")
def test_every_frame_of_the_public_dataset_is_repaired():
    for folder in DATASET.iterdir():
        frames = [read_frame(path) for path in episodes(folder)]
        clock = np.array([frame.ram[9] for frame in frames])
        assert (np.diff(clock) == 1).all()  # the console's frame counter
