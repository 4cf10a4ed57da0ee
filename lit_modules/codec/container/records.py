"""Marked and checked pieces of a file, which are found again wherever they lie in it.

A record is a mark of two bytes, of which the second tells its kind, the numbers of its group and
of its part, its length, that many bytes, and a CRC32 of all of it. The CRC starts from that of the
file's header, so that a record of another file never passes for one of this.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import BinaryIO, NamedTuple

from lit_modules.codec.container.fields import LONGEST, BitstreamError, Fields, unsigned

MARK = 0xAB
MOST_GROUPS = 1 << 20  # ten days of groups of 32 frames
MOST_PARTS = 1 << 12
MOST_BYTES = 1 << 28  # of a record
MOST_RECORDS = 1 << 22  # of a file that has to be searched: 128 MiB of places
CHUNK = 1 << 20
WINDOW = 1 << 12
CRC = 4


class Kind(IntEnum):
    """What a record holds; the second byte of its mark."""

    HEAD = 0xC1  # what a whole group needs
    TAIL = 0xD3  # the same again, after the packets
    PACKET = 0xE5
    INDEX = 0xF7


class Record(NamedTuple):
    """Where a record lies whose CRC is right."""

    kind: Kind
    group: int
    part: int
    start: int  # its first byte, the mark
    data: int  # the first byte of what it holds
    end: int  # the byte after it


def pack_record(kind: Kind, group: int, part: int, data: bytes, seed: int) -> bytes:
    """A record as it stands in a file.

    Raises:
        BitstreamError: a number or the length is over its bound.
    """
    bounds = (("group", group, MOST_GROUPS), ("part", part, MOST_PARTS))
    for name, value, most in (*bounds, ("length", len(data), MOST_BYTES + 1)):
        if not 0 <= value < most:
            raise BitstreamError(f"{name} {value} of a record must be under {most}")
    record = bytes([MARK, kind]) + unsigned(group, part, len(data)) + data
    return record + zlib.crc32(record, seed).to_bytes(CRC, "little")


class Records:
    """The records of a file; nothing is allocated by a length before its CRC is known to be right.

    Args:
        file: seekable and buffered.
        seed: of their CRCs.
    """

    MARKS = re.compile(b"\\xab[" + b"".join(rb"\x%02x" % kind for kind in Kind) + b"]")

    def __init__(self, file: BinaryIO, seed: int) -> None:
        self.file, self.seed = file, seed
        self.size = file.seek(0, 2)
        self.checked = 0  # bytes looked at in what then was no record
        self.given_up_at: int | None = None
        """Byte at which a search ended before the file did."""

    def read(self, start: int, count: int) -> bytes:
        """`count` bytes from `start` on, or as many as there are."""
        self.file.seek(start)
        return self.file.read(max(0, min(count, self.size - start)))

    def data(self, record: Record) -> bytes:
        """What a record holds."""
        return self.read(record.data, record.end - CRC - record.data)

    def at(self, start: int) -> Record | None:
        """The record that begins at a byte, if a sound one does."""
        if not 0 <= start < self.size:
            return None
        head = self.read(start, 2 + 3 * LONGEST)
        if not self.MARKS.match(head):
            return None
        fields = Fields(head, 2)
        try:
            group = fields.unsigned(most=MOST_GROUPS - 1)
            part = fields.unsigned(most=MOST_PARTS - 1)
            length = fields.unsigned(most=min(MOST_BYTES, self.size - start - fields.at - CRC))
        except BitstreamError:
            return None
        data, end = start + fields.at, start + fields.at + length + CRC
        crc = self.seed
        for place in range(start, end - CRC, CHUNK):
            crc = zlib.crc32(self.read(place, min(CHUNK, end - CRC - place)), crc)
        if crc != int.from_bytes(self.read(end - CRC, CRC), "little"):
            self.checked += end - start
            return None
        return Record(Kind(head[1]), group, part, start, data, end)

    def row(self, start: int, end: int) -> Iterator[Record]:
        """Records that follow one another from `start` on, up to `end` or where one is damaged."""
        while start < end and (record := self.at(start)):
            yield record
            start = record.end

    def search(self) -> Iterator[Record]:
        """All sound records of the file, whatever lies between them.

        A file made to mislead, full of marks that announce much, is given up after a while, and so
        is one of more than `MOST_RECORDS`.
        """
        start = count = self.checked = 0
        patience = 64 * (self.size + CHUNK)
        while start < self.size and self.checked < patience and count < MOST_RECORDS:
            window = self.read(start, WINDOW)
            found = self.MARKS.search(window)
            if found is None:
                start += max(1, len(window) - 1)  # a mark may lie across two windows
            elif record := self.at(start + found.start()):
                yield record
                start, count = record.end, count + 1
            else:
                start += found.start() + 1
                self.checked += len(window)
        self.given_up_at = start if start < self.size else None
