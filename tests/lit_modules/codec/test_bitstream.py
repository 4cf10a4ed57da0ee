"""The container: what is written comes back, at little cost, as a stream, for all time."""

from __future__ import annotations

import io
import json
import tracemalloc
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from made_lav import HEADER, made, read, record_cuts

from lit_modules.codec import BitstreamError, Header, LavReader, LavWriter

GOLDEN = Path(__file__).parents[2] / "golden/codec"


class Pipe(io.RawIOBase):
    """Takes bytes and counts them; cannot seek."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, data: bytes) -> int:
        self.count += len(data)
        return len(data)


def test_reading_inverts_writing() -> None:
    file = made()
    reader, groups = read(file.data)
    assert reader.header == file.header
    assert reader.damage == []
    assert reader.frames == sum(len(group.seconds) for group in groups)
    for number, (group, (seconds, packets, shared)) in enumerate(
        zip(groups, file.groups, strict=True)
    ):
        assert (group.number, group.first_frame) == (number, number * HEADER.group_frames)
        assert group.seconds.tobytes() == seconds.tobytes()
        assert (group.packets, group.shared, group.damaged) == (packets, shared, [])


@pytest.mark.parametrize("groups", [0, 1])
def test_files_of_no_group_and_of_one_are_files(groups: int) -> None:
    file = made(groups)
    reader, found = read(file.data)
    assert len(found) == groups
    assert reader.damage == []
    assert reader.frames == 4 * groups


def test_groups_are_read_in_any_order() -> None:
    file = made()
    for data in (file.data, file.data[:-1]):  # by the index, by searching
        reader = LavReader(io.BytesIO(data))
        for number in (3, 0, 4, 3):
            assert reader.group(number).packets == file.groups[number][1]
        for number in (-1, 5, 1 << 70):
            with pytest.raises(BitstreamError, match=str(number)):
                reader.group(number)


def test_container_costs_at_most_40_bytes_a_group_and_12_a_packet() -> None:
    rng = np.random.default_rng(0)
    header = replace(HEADER, group_frames=32)
    file = io.BytesIO()
    held, groups, packets = 0, 300, 6
    with LavWriter(file, header) as writer:
        fixed = 2 * writer.bytes_written + 8 + 10  # headers, end, frame of the index
        for number in range(groups):
            parts = [rng.bytes(int(rng.integers(100, 1000))) for _ in range(packets)]
            writer.add_group((32 * number + np.arange(32)) / 30, parts, bytes(150))
            held += sum(map(len, parts)) + 2 * 150
    over = len(file.getvalue()) - held - fixed
    assert over <= groups * (40 + 12 * packets)
    reader = LavReader(file)
    assert sum(rate.container_bytes for rate in reader.rates()) < over


def test_rates_add_up_to_the_file() -> None:
    file = made()
    rates = LavReader(io.BytesIO(file.data)).rates()
    for rate, (seconds, packets, shared) in zip(rates, file.groups, strict=True):
        assert rate.frames == len(seconds)
        assert rate.seconds == pytest.approx(len(seconds) / HEADER.fps)
        assert rate.packet_bytes == sum(map(len, packets))
        assert rate.shared_bytes == 2 * len(shared)
        stored = sum(
            len(piece) for (group, _), piece in file.pieces.items() if group == rate.number
        )
        assert rate.packet_bytes + rate.shared_bytes + rate.container_bytes == stored
        assert rate.kbps == pytest.approx(8e-3 * stored / (len(seconds) / 30))


def test_writer_never_seeks_and_reader_holds_one_group() -> None:
    group = [bytes(100_000)] * 4

    def peak(groups: int) -> tuple[int, int]:
        pipe, file = Pipe(), io.BytesIO()
        tracemalloc.start()
        with LavWriter(pipe, HEADER) as writer:
            for number in range(groups):
                writer.add_group((8 * number + np.arange(8)) / 30, group)
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        with LavWriter(file, HEADER) as writer:
            for number in range(groups):
                writer.add_group((8 * number + np.arange(8)) / 30, group)
        assert pipe.count == writer.bytes_written == len(file.getvalue())
        tracemalloc.start()
        for _ in LavReader(file).groups():
            pass
        read = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return written, read

    short, long = peak(4), peak(40)
    assert long[0] <= 1.2 * short[0]
    assert long[1] <= 1.2 * short[1]


def test_file_that_was_never_closed_is_read() -> None:
    file = io.BytesIO()
    writer = LavWriter(file, HEADER)
    writer.add_group(np.arange(3) / 30, [b"one"], b"all")
    with pytest.raises(RuntimeError), writer:
        raise RuntimeError("no more")
    reader, groups = read(file.getvalue())
    assert groups[0].packets == [b"one"]
    assert "never closed" in reader.damage[0]
    assert reader.frames is None


def test_closing_twice_ends_the_file_once_and_nothing_follows() -> None:
    file = io.BytesIO()
    with LavWriter(file, HEADER) as writer:
        writer.close()
        with pytest.raises(BitstreamError, match="before close"):
            writer.add_group(np.zeros(1), [])
    reader, groups = read(file.getvalue())
    assert (reader.damage, groups) == ([], [])


def test_golden_file_is_written_and_read_alike() -> None:
    """Synthetic tiles; what is in it was laid down once and holds for version 1 for ever."""
    header = Header("palette", 16, 16, 60000 / 1001, 4, {"palette": "tiles", "ä": [1, None, 0.5]})
    tiles = [bytes((x ^ y) * k & 255 for y in range(8) for x in range(8)) for k in range(1, 5)]
    times = [np.arange(4) * 1001 / 60000, np.array([0.07, 0.1, 0.25]), np.array([np.pi])]
    file = io.BytesIO()
    with LavWriter(file, header) as writer:
        writer.add_group(times[0], tiles[:2], b"shared")
        writer.add_group(times[1], tiles[2:])
        writer.add_group(times[2], [])
    golden = (GOLDEN / "container.lav").read_bytes()
    assert file.getvalue() == golden
    reader, groups = read(golden)
    assert reader.header == header
    assert [group.packets for group in groups] == [tiles[:2], tiles[2:], []]
    assert [group.shared for group in groups] == [b"shared", b"", b""]
    assert [group.first_frame for group in groups] == [0, 4, 7]
    for group, seconds in zip(groups, times, strict=True):
        assert group.seconds.tobytes() == seconds.tobytes()


def test_golden_file_is_as_the_description_says() -> None:
    """Read by hand: layout, CRCs and numbers without any of the code that is tested."""
    data = (GOLDEN / "container.lav").read_bytes()
    assert data[:5] == b"LAV\0\x01"
    length = int.from_bytes(data[5:9], "little")
    front = data[: 13 + length]
    assert zlib.crc32(front[:-4]) == int.from_bytes(front[-4:], "little")
    assert json.loads(front[9:-4])["group_frames"] == 4
    assert data[-4:] == b"LAVE"
    index = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    assert data.endswith(front, 0, -8)
    cuts = record_cuts(data, len(front), len(data) - 8 - len(front))
    assert index == cuts[-2]
    records = [data[start:end] for start, end in pairwise(cuts)]
    for record in records:
        crc = zlib.crc32(record[:-4], int.from_bytes(front[-4:], "little"))
        assert crc == int.from_bytes(record[-4:], "little")
    head, packet, tail = 0xC1, 0xE5, 0xD3
    kinds = [head, packet, packet, tail] * 2 + [head, tail, 0xF7]
    assert [record[1] for record in records] == kinds
    # 4 frames, 2 packets, not late, 3 bytes of times: own clock, a tick a frame, none off; shared
    assert records[0][5:-4] == bytes([4, 2, 0, 3, 1, 2, 0]) + b"shared"
    # a group of three begins where it should; milliseconds: steps of 30, 50 less than in 4 of
    # them, the next step 120 more
    assert records[4][5:-4] == bytes([3, 2, 0, 5, 2, 60, 99, 240, 1])
    sizes = [sum(map(len, group)) for group in (records[:4], records[4:8], records[8:10])]
    assert sizes == [cuts[4] - cuts[0], cuts[8] - cuts[4], cuts[10] - cuts[8]]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"mode": "zip"}, "zip"),
        ({"height": 0}, "height 0"),
        ({"width": 2.5}, "width 2.5"),
        ({"height": 1 << 13, "width": 1 << 12}, "height x width"),
        ({"group_frames": 4097}, "4097"),
        ({"height": 4096, "width": 4096, "group_frames": 32}, "group_frames x height x width"),
        ({"fps": float("nan")}, "nan"),
        ({"fps": 0.0}, "fps 0"),
        ({"fps": True}, "fps True"),
        ({"about": [1]}, r"\[1\]"),
    ],
)
def test_header_out_of_range_is_refused(changed: dict[str, object], named: str) -> None:
    with pytest.raises(BitstreamError, match=named):
        replace(HEADER, **changed)


@pytest.mark.parametrize("about", [{"a": object()}, {"a": float("inf")}, {"a": "x" * 70_000}])
def test_header_that_cannot_be_stored_is_refused(about: dict[str, object]) -> None:
    with pytest.raises(BitstreamError):
        LavWriter(io.BytesIO(), replace(HEADER, about=about))


@pytest.mark.parametrize(
    ("seconds", "packets"),
    [
        (np.zeros(0), []),
        (np.zeros(9), []),
        (np.zeros((2, 2)), []),
        (np.zeros(2, np.float32), []),
        (np.array([0, np.inf]), []),
        (np.zeros(2), [b""] * 4097),
    ],
)
def test_group_out_of_range_is_refused_and_nothing_written(
    seconds: np.ndarray, packets: list[bytes]
) -> None:
    pipe = Pipe()
    writer = LavWriter(pipe, HEADER)
    before = pipe.count
    with pytest.raises(BitstreamError):
        writer.add_group(seconds, packets)
    assert pipe.count == before
