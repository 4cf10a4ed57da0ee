"""Small `.lav` files of random packets, and what must come out of them."""

from __future__ import annotations

import io
import zlib
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lit_modules.codec import Group, Header, LavReader, LavWriter

HEADER = Header("palette", 48, 64, 30.0, 8, {"quality": "lossless"})


class Made(NamedTuple):
    data: bytes
    header: Header
    groups: list[tuple[np.ndarray, list[bytes], bytes]]  # seconds, packets, shared of each
    pieces: dict[tuple[int, int | str], bytes]  # (group, packet number or "head") -> its bytes
    front: bytes


def made(
    groups: int = 5, packets: int = 4, size: int = 60, seed: int = 0, header: Header = HEADER
) -> Made:
    """A file whose groups are full, but the last; packets differ in size, one is empty."""
    rng = np.random.default_rng(seed)
    file = io.BytesIO()
    contents, ends = [], []
    with LavWriter(file, header) as writer:
        front = file.getvalue()
        first = 0
        for number in range(groups):
            count = header.group_frames if number < groups - 1 else header.group_frames // 2
            seconds = np.arange(first, first + count) / header.fps
            first += count
            parts = [rng.bytes(int(rng.integers(size // 2, 2 * size))) for _ in range(packets)]
            if number == 1:
                parts[0] = b""
            contents.append((seconds, parts, rng.bytes(20)))
            begin = writer.bytes_written
            writer.add_group(*contents[-1])
            ends.append((begin, writer.bytes_written))
    data = file.getvalue()
    pieces = {}
    for number, (begin, end) in enumerate(ends):
        cuts = record_cuts(data, begin, end)
        bounds = list(pairwise(cuts))
        assert len(bounds) == packets + 2
        pieces[number, "head"] = data[slice(*bounds[0])]
        pieces[number, "tail"] = data[slice(*bounds[-1])]
        for part, bound in enumerate(bounds[1:-1]):
            pieces[number, part] = data[slice(*bound)]
    return Made(data, header, contents, pieces, front)


def record_cuts(data: bytes, at: int, end: int) -> list[int]:
    """Where records begin and end, told by the description of the format alone."""
    cuts = [at]
    while at < end:
        assert data[at] == 0xAB
        at += 2
        for _ in range(3):
            value = place = 0
            while True:
                value |= (data[at] & 127) << place
                place, at = place + 7, at + 1
                if data[at - 1] < 128:
                    break
        at += value + 4
        cuts.append(at)
    return cuts


def sealed(record: bytes, front: bytes) -> bytes:
    """A record that a hostile writer could make: any content, the right CRC."""
    seed = int.from_bytes(front[-4:], "little")
    return record + zlib.crc32(record, seed).to_bytes(4, "little")


def read(data: bytes) -> tuple[LavReader, list[Group]]:
    reader = LavReader(io.BytesIO(data))
    return reader, list(reader.groups())
