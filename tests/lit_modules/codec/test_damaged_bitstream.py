"""A damaged file loses what is damaged and says so; it never crashes, hangs or fills memory."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from made_lav import HEADER, Made, made, read, sealed

from lit_modules.codec import BitstreamError, LavReader
from lit_modules.codec.container.fields import signed, unsigned
from lit_modules.codec.container.header import pack_header
from lit_modules.codec.container.records import CHUNK, WINDOW, Records

Damage = Callable[[np.random.Generator, bytes], bytes]


def flip(rng: np.random.Generator, data: bytes) -> bytes:
    broken = bytearray(data)
    for place in rng.integers(0, len(data), rng.choice([1, 1, 1, 2, 5])):
        broken[place] ^= rng.integers(1, 256)
    return bytes(broken)


def cut_end(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: rng.integers(0, len(data))]


def cut_front(rng: np.random.Generator, data: bytes) -> bytes:
    return data[rng.integers(1, len(data)) :]


def cut_out(rng: np.random.Generator, data: bytes) -> bytes:
    start, end = np.sort(rng.integers(0, len(data), 2))
    return data[:start] + data[end:]


def swap(rng: np.random.Generator, data: bytes) -> bytes:
    size = int(rng.integers(1, len(data) // 2))
    one = int(rng.integers(0, len(data) - 2 * size + 1))
    two = int(rng.integers(one + size, len(data) - size + 1))
    middle = data[one + size : two]
    return (
        data[:one] + data[two : two + size] + middle + data[one : one + size] + data[two + size :]
    )


def copy_over(rng: np.random.Generator, data: bytes) -> bytes:
    size = int(rng.integers(1, len(data) // 2))
    source, place = rng.integers(0, len(data) - size, 2)
    return data[:place] + data[source : source + size] + data[place + size :]


def noise(rng: np.random.Generator, data: bytes) -> bytes:
    size = int(rng.integers(1, len(data) // 2))
    place = rng.integers(0, len(data) - size)
    return data[:place] + rng.bytes(size) + data[place + size :]


def put_in(rng: np.random.Generator, data: bytes) -> bytes:
    place = rng.integers(0, len(data) + 1)
    return data[:place] + rng.bytes(int(rng.integers(1, 50))) + data[place:]


DAMAGES: list[Damage] = [flip, flip, cut_end, cut_front, cut_out, swap, copy_over, noise, put_in]


def judge(file: Made, broken: bytes) -> None:
    """What holds of any damage: what is whole in the bytes comes back, the rest is named."""
    if file.front not in broken:
        with pytest.raises(BitstreamError):
            read(broken)
        return
    reader, groups = read(broken)
    assert reader.header == file.header
    assert reader.damage or broken == file.data
    found = {group.number: group for group in groups}
    for number, (seconds, packets, shared) in enumerate(file.groups):
        whole = {part for (group, part), piece in file.pieces.items() if group == number}
        whole = {part for part in whole if file.pieces[number, part] in broken}
        group = found.pop(number, None)
        if group is None:
            assert not whole
            continue
        headed = bool(whole & {"head", "tail"})
        assert group.shared == (shared if headed else None)
        if headed:
            assert group.first_frame == number * file.header.group_frames
            assert group.seconds.tobytes() == seconds.tobytes()
        told = group.packets + [None] * (len(packets) - len(group.packets))
        expected = [packet if part in whole else None for part, packet in enumerate(packets)]
        assert told == expected
        lost = sum(packet is None for packet in group.packets)
        assert sum("packet " in line for line in group.damaged) == lost
        assert sum("head" in line or "tail" in line for line in group.damaged) == 2 - len(
            whole & {"head", "tail"}
        )
    assert not found


def fuzz(cases: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    files = [made(seed=k, groups=3 + k, packets=1 + k, size=20 + 40 * k) for k in range(4)]
    for case in range(cases):
        file = files[case % len(files)]
        judge(file, DAMAGES[rng.integers(len(DAMAGES))](rng, file.data))


def test_whatever_is_whole_comes_back_and_the_rest_is_named() -> None:
    fuzz(300, seed=0)


@pytest.mark.slow
def test_whatever_is_whole_comes_back_in_10_000_cases() -> None:
    tracemalloc.start()
    fuzz(10_000, seed=1)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_any_single_flipped_byte_is_reported_and_costs_one_packet_at_most() -> None:
    file = made(groups=2, packets=2, size=8)
    for place in range(len(file.data)):
        broken = bytearray(file.data)
        broken[place] ^= 1 << place % 8
        reader, groups = read(bytes(broken))
        assert reader.damage
        lost = sum(packet is None for group in groups for packet in group.packets)
        assert lost <= 1
        assert [group.shared for group in groups] == [shared for _, _, shared in file.groups]


def test_lost_groups_are_named() -> None:
    file = made(groups=8)
    gone = b"".join(file.data.partition(file.pieces[2, "head"])[1:])
    start = len(file.data) - len(gone)
    end = file.data.index(file.pieces[5, "head"])
    broken = file.data[:start] + file.data[end:]
    for data in (broken, broken[:-1], broken[:-200]):  # with an index, one found, none
        reader, groups = read(data)
        assert "groups 2 to 4 are lost" in reader.damage
        assert [group.number for group in groups[:3]] == [0, 1, 5]
        assert groups[2].first_frame == 5 * HEADER.group_frames
        with pytest.raises(BitstreamError, match="3"):
            reader.group(3)
    first = file.data[len(file.front) :].partition(file.pieces[6, "head"])
    reader, groups = read(file.front + first[1] + first[2])
    assert "groups 0 to 5 are lost" in reader.damage


def test_packets_without_head_keep_place_and_nominal_times() -> None:
    file = made(groups=4)
    broken = file.data
    for piece in ("head", "tail"):
        broken = broken.replace(file.pieces[3, piece], bytes(len(file.pieces[3, piece])))
    for data in (broken, broken[:-1]):  # the index knows of four frames and packets
        group = LavReader(io.BytesIO(data)).group(3)
        assert (group.first_frame, group.shared) == (24, None)
        assert group.seconds == pytest.approx(file.groups[3][0])
        assert group.packets == file.groups[3][1]
        assert len(group.damaged) == 3


def test_record_of_another_file_is_not_taken_for_one_of_this() -> None:
    file, other = made(seed=0), made(seed=1, header=replace(HEADER, width=65))
    broken = file.data.replace(file.pieces[2, 1], other.pieces[2, 1])
    _, groups = read(broken)
    assert groups[2].packets == [*file.groups[2][1][:1], None, *file.groups[2][1][2:]]


def test_newer_version_is_refused_in_one_line() -> None:
    file = made()
    newer = pack_header(HEADER)
    newer = newer[:4] + bytes([2]) + newer[5:-4]
    newer += zlib.crc32(newer).to_bytes(4, "little")
    with pytest.raises(BitstreamError, match=r"version 2 .*update") as error:
        read(newer + file.data[len(file.front) :])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "empty"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "RIFF"),
        (b"LAV\0", "header is damaged"),
        (b"LAV\0\x01" + b"\xff" * 400, "header is damaged"),
        (bytes(100_000), "begins with"),
    ],
)
def test_other_files_are_refused_in_one_line(data: bytes, named: str) -> None:
    with pytest.raises(BitstreamError, match=named) as error:
        read(data)
    assert "\n" not in str(error.value)


def header_of(text: bytes) -> bytes:
    packed = b"LAV\0\x01" + len(text).to_bytes(4, "little") + text
    return packed + zlib.crc32(packed).to_bytes(4, "little")


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 60_000,
        b"{}",
        b"3",
        b"\xff\xfe",
        b'{"about":{},"fps":30,"group_frames":8,"height":1e99,"mode":"palette","width":8}',
        b'{"about":{},"fps":30,"group_frames":8,"height":' + b"9" * 5000 + b',"mode":"palette"}',
        b'{"about":{},"fps":30,"group_frames":8,"height":8,"mode":["palette"],"width":8}',
        b'{"about":{},"fps":NaN,"group_frames":8,"height":8,"mode":"palette","width":8}',
        b'{"about":{},"fps":30,"group_frames":8,"height":99999,"mode":"palette","width":99999}',
    ],
)
def test_sealed_header_of_anything_is_refused(text: bytes) -> None:
    with pytest.raises(BitstreamError):
        read(header_of(text))


def head_of(*numbers: bytes) -> bytes:
    data = b"".join(numbers)
    return b"\xab\xc1" + unsigned(3, 0, len(data)) + data


@pytest.mark.parametrize(
    "record",
    [
        b"\xab\xe5" + unsigned(0, 0, 1 << 60),
        b"\xab\xe5" + unsigned(0, 0) + b"\xff" * 30,
        b"\xab\xe5" + unsigned(1 << 60, 0, 0),
        b"\xab\xe5" + unsigned(0, 1 << 60, 0),
        b"\xab\xf7" + unsigned(0, 0, 0) + unsigned(1 << 60) * 3,
        head_of(),
        head_of(unsigned(1 << 60, 1, 0, 0)),
        head_of(unsigned(8, 1 << 60, 0, 0)),
        head_of(unsigned(8, 1), signed(1 << 60), unsigned(0)),
        head_of(unsigned(8, 1), signed(-25), unsigned(0)),
        head_of(unsigned(8, 1, 0, 1 << 60)),
        head_of(unsigned(8, 1, 0, 3, 1), signed(1 << 61, 0)),
        head_of(unsigned(8, 4096, 0, 3, 1), signed(1, 0)),
    ],
)
def test_announced_amounts_allocate_nothing(record: bytes) -> None:
    file = made()
    tracemalloc.start()
    for data in (
        file.front + sealed(record, file.front) + file.data[len(file.front) :],
        file.front + sealed(record, file.front),
    ):
        reader, groups = read(data)
        assert reader.damage
        assert len(groups) <= len(file.groups)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_search_through_false_marks_ends() -> None:
    """Each of 150,000 marks announces half a megabyte: 75 GB, were all of it looked at."""
    data = (b"\xab\xe5" + unsigned(0, 0, 500_000)) * (CHUNK // 7)
    records = Records(io.BytesIO(data), seed=0)
    assert list(islice(records.search(), 3)) == []
    assert records.given_up_at is not None
    assert records.checked < 65 * 2 * CHUNK


def test_records_are_found_wherever_the_search_looks_next() -> None:
    file = made(groups=3, packets=2, size=2 * WINDOW)
    for pad in range(WINDOW - len(file.front) - 4, WINDOW - len(file.front) + 4):
        judge(file, file.front + bytes(pad) + file.data[len(file.front) :])
