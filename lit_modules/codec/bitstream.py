"""The container `.lav`: groups of packets that survive damage, written and read as a stream.

    header | group 0 | group 1 | … | index | header | 8 bytes: length of index and header, magic
    group: head | packet 0 | packet 1 | … | tail, which repeats the head

Head, packets, tail and index are records (`records.py`), the header stands twice. What is whole is
found wherever it lies; what is not is named. A file without index, cut off or never closed, is
searched through.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lit_modules.codec.fields import BitstreamError
from lit_modules.codec.groups import Head, Index, pack_head, pack_index, unpack_head
from lit_modules.codec.header import (
    LONGEST_HEADER,
    MAGIC,
    Header,
    cut_header,
    pack_header,
    unpack_header,
)
from lit_modules.codec.records import (
    MOST_BYTES,
    MOST_PARTS,
    Catalogue,
    Kind,
    Record,
    Records,
    pack_record,
)

__all__ = ["BitstreamError", "Group", "GroupRate", "Header", "LavReader", "LavWriter"]

END = b"LAVE"
LONGEST_END = 8
SEARCHED_FOR_HEADER = 1 << 24  # bytes at either end of the file


class Group(NamedTuple):
    """Some frames that are decoded together, and need no others."""

    number: int
    first_frame: int
    """Its place in the video; frames of lost groups are counted."""
    seconds: NDArray[np.float64]
    """Time of each frame, `(n,)`; nominal where head and tail are both lost."""
    packets: list[bytes | None]
    """None where a packet is damaged or lost."""
    shared: bytes | None
    """What every packet needs; None where head and tail are both lost."""
    damaged: list[str]
    """What is missing of it, a line each; a lost tail does no harm and is named all the same."""


class GroupRate(NamedTuple):
    """What a group costs."""

    number: int
    first_frame: int
    frames: int
    seconds: float
    """How long it lasts."""
    packet_bytes: int
    shared_bytes: int
    """Both times that it is stored."""
    container_bytes: int
    """Marks, lengths, times, CRCs."""
    damaged: list[str]

    @property
    def kbps(self) -> float:
        """Thousands of bits a second, all bytes counted."""
        total = self.packet_bytes + self.shared_bytes + self.container_bytes
        return 8e-3 * total / self.seconds


class LavWriter:
    """Writes a `.lav` file from front to back, without seeking.

    Leaving the `with` block closes the container unless an error is on its way; the file stays the
    caller's to close.

    Args:
        file: open for writing bytes.
        header: what is the same for all groups.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self.header, self._file = header, file
        self._packed = pack_header(header)
        self._seed = zlib.crc32(self._packed)
        self._index: list[tuple[int, int, int]] = []  # bytes, frames, packets of each group
        self._frames = 0
        self.bytes_written = file.write(self._packed)
        """Up to now."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def add_group(
        self, seconds: NDArray[np.float64], packets: Sequence[bytes], shared: bytes = b""
    ) -> None:
        """Appends a group of frames that follow those of the group before.

        Args:
            seconds: time of each frame, finite float64 `(n,)`, n from 1 to `group_frames`.
            packets: what is lost or kept as a whole, 4096 at most.
            shared: what every packet needs, stored twice; with the packets 256 MiB at most.

        Raises:
            BitstreamError: a value is out of range; nothing of the group is written then.
        """
        number = len(self._index)
        if seconds.ndim != 1 or not 1 <= len(seconds) <= self.header.group_frames:
            most = self.header.group_frames
            raise BitstreamError(f"{seconds.shape} times of a group must be (n,), n of 1 to {most}")
        if seconds.dtype != np.float64 or not np.isfinite(seconds).all():
            raise BitstreamError(f"times of group {number} must be finite float64")
        if len(packets) > MOST_PARTS:
            raise BitstreamError(f"{len(packets)} packets of a group exceed {MOST_PARTS}")
        total = 2 * len(shared) + sum(map(len, packets))
        if total > MOST_BYTES:
            raise BitstreamError(f"a group of {total} bytes exceeds {MOST_BYTES}; make it shorter")
        head = pack_head(number, Head(len(packets), self._frames, seconds, shared), self.header)
        records = [
            pack_record(Kind.HEAD, number, 0, head, self._seed),
            *(
                pack_record(Kind.PACKET, number, part, packet, self._seed)
                for part, packet in enumerate(packets)
            ),
            pack_record(Kind.TAIL, number, 0, head, self._seed),
        ]
        for record in records:
            self._file.write(record)
        size = sum(map(len, records))
        self._index.append((size, len(seconds), len(packets)))
        self._frames += len(seconds)
        self.bytes_written += size

    def close(self) -> None:
        """Writes index, header and end; nothing can be added after it."""
        index = pack_record(Kind.INDEX, 0, 0, pack_index(self._index), self._seed)
        trailer = index + self._packed
        trailer += len(trailer).to_bytes(4, "little") + END
        self.bytes_written += self._file.write(trailer)


class LavReader:
    """Reads a `.lav` file, whole or damaged, a group at a time.

    Not to be used by two threads at once; a file can have several readers.

    Args:
        file: seekable, buffered, open for reading bytes.

    Raises:
        BitstreamError: it is another kind of file, of a newer version, or has lost its header.
    """

    header: Header
    damage: list[str]
    """What is wrong with the file, a line each; lost groups once `groups` has come past them.
    What is missing of a group that is not lost, the group says."""

    def __init__(self, file: BinaryIO) -> None:
        self.damage = []
        self._records = Records(file, seed=0)
        packed = self._find_header()
        self.header = unpack_header(packed)
        self._records.seed = zlib.crc32(packed)
        self._index = self._find_index(packed)
        self._catalogue: Catalogue | None = None
        if self._index is None:
            self._search()

    @property
    def frames(self) -> int | None:
        """Frames of the video, lost ones too; None if the index is lost."""
        return None if self._index is None else self._index.first_frames[-1]

    def groups(self) -> Iterator[Group]:
        """All groups of which something is left, in order, one at a time in memory."""
        expected = 0
        for number in self._numbers():
            try:
                group = self.group(number)
            except BitstreamError:
                continue
            self._note_lost(expected, number)
            expected = number + 1
            yield group
        if self._index is not None:
            self._note_lost(expected, len(self._index.frames))

    def group(self, number: int) -> Group:
        """One group, where the index says or, if it is not whole there, by searching the file.

        Raises:
            BitstreamError: nothing is left of it, or there is none of that number.
        """
        records = self._of_group(number)
        size = sum(record.end - record.data for record in records)
        if not records or size > 2 * MOST_BYTES:
            raise BitstreamError(f"group {number} is lost" if records else self._no_group(number))
        damaged = []
        head = None
        for kind in (Kind.HEAD, Kind.TAIL):
            try:
                data = next(self._records.data(r) for r in records if r.kind == kind)
                head = head or unpack_head(number, data, self.header)
            except (StopIteration, BitstreamError):
                damaged.append(f"group {number}: {kind.name.lower()} is damaged or lost")
        stored = {record.part: record for record in records if record.kind == Kind.PACKET}
        shared = None if head is None else head.shared
        if head is None:
            head = self._nominal_head(number, max(stored, default=-1) + 1)
            damaged.append(f"group {number}: times are nominal, what its packets share is lost")
        packets = [
            self._records.data(stored[part]) if part in stored else None
            for part in range(head.packets)
        ]
        damaged += [
            f"group {number}: packet {part} of {head.packets} is damaged or lost"
            for part, packet in enumerate(packets)
            if packet is None
        ]
        return Group(number, head.first_frame, head.seconds, packets, shared, damaged)

    def rates(self) -> list[GroupRate]:
        """What each group costs; reads the whole file."""
        rates = []
        for group in self.groups():
            stored = sum(record.end - record.start for record in self._of_group(group.number))
            packets = sum(len(packet or b"") for packet in group.packets)
            heads = 2 - sum("head is" in line or "tail is" in line for line in group.damaged)
            shared = heads * len(group.shared or b"")
            count = len(group.seconds)
            span = float(group.seconds[-1] - group.seconds[0])
            lasts = span * count / (count - 1) if span > 0 else count / self.header.fps
            sizes = (packets, shared, stored - packets - shared)
            rates.append(
                GroupRate(group.number, group.first_frame, count, lasts, *sizes, group.damaged)
            )
        return rates

    def _find_header(self) -> bytes:
        """The packed header at the front, else a copy of it near either end."""
        records = self._records
        front = records.read(0, LONGEST_HEADER)
        if packed := cut_header(front):
            return packed
        for start in (0, max(0, records.size - SEARCHED_FOR_HEADER)):
            data = records.read(start, SEARCHED_FOR_HEADER)
            for match in islice(re.finditer(re.escape(MAGIC), data), 100):
                if packed := cut_header(data[match.start() : match.start() + LONGEST_HEADER]):
                    self.damage.append("the header is damaged; its second copy was read")
                    return packed
        if not front:
            raise BitstreamError("the file is empty; a .lav file begins with a header")
        if not front.startswith(MAGIC):
            raise BitstreamError(
                f"no .lav file: it begins with {front[:8]!r}, not with {MAGIC!r}; "
                "`generate.py compress` makes one"
            )
        raise BitstreamError("the header is damaged and no copy is left; the file is unreadable")

    def _find_index(self, packed: bytes) -> Index | None:
        """The index that the end of the file leads to, if all from there on is whole."""
        records = self._records
        end = records.size - LONGEST_END
        distance, mark = records.read(end, 4), records.read(end + 4, 4)
        record = records.at(end - int.from_bytes(distance, "little"))
        if mark != END or record is None or record.kind != Kind.INDEX:
            return None
        if end - record.end != len(packed) or records.read(record.end, len(packed)) != packed:
            self.damage.append("the second copy of the header is damaged")
        return self._unpack_index(record, len(packed))

    def _unpack_index(self, record: Record, first: int) -> Index | None:
        try:
            return Index.unpack(self._records.data(record), first, self.header)
        except BitstreamError:
            return None

    def _search(self) -> None:
        """Looks through the whole file for records, and for the index among them."""
        self._catalogue = Catalogue(self._records.search())
        if self._records.given_up_at is not None:
            self.damage.append(f"nothing was read from byte {self._records.given_up_at} on")
        if self._index is None:
            found = (self._unpack_index(record, 0) for record in self._catalogue.indices())
            self._index = next((index for index in found if index), None)
            self.damage.append(
                "the index is missing, the file was cut off or not closed; groups were searched for"
                if self._index is None
                else "the end of the file is damaged; groups were searched for"
            )

    def _of_group(self, number: int) -> list[Record]:
        """The sound records of a group."""
        if self._catalogue is None and self._index is not None:
            if not 0 <= number < len(self._index.frames):
                return []
            start, end = self._index.starts[number : number + 2]
            records = list(self._records.row(start, end))
            packets = range(self._index.packets[number])
            expected = [(Kind.HEAD, 0), *((Kind.PACKET, part) for part in packets), (Kind.TAIL, 0)]
            whole = [(kind, number, part) for kind, part in expected]
            if [record[:3] for record in records] == whole:
                return records
            self.damage.append(
                f"bytes {start} to {end - 1} are not whole; groups were searched for"
            )
            self._search()
        assert self._catalogue is not None
        return self._catalogue.group(number)

    def _numbers(self) -> Sequence[int]:
        """Numbers of the groups that may be there."""
        if self._index is not None:
            return range(len(self._index.frames))
        assert self._catalogue is not None
        return self._catalogue.groups

    def _nominal_head(self, number: int, packets: int) -> Head:
        """What head and tail of a group would most likely have said."""
        frames, first = self.header.group_frames, number * self.header.group_frames
        if self._index is not None and number < len(self._index.frames):
            frames, packets = self._index.frames[number], self._index.packets[number]
            first = self._index.first_frames[number]
        return Head(packets, first, (first + np.arange(frames)) / self.header.fps, b"")

    def _no_group(self, number: int) -> str:
        """Why there is nothing to give."""
        numbers = self._numbers()
        if number in numbers:
            return f"group {number} is lost"
        last = max(numbers, default=-1)
        return f"group {number} is not in the file, whose groups are 0 to {last}"

    def _note_lost(self, start: int, end: int) -> None:
        """Names groups `start` to `end - 1`."""
        if start < end:
            line = f"group {start} is lost"
            if end - start > 1:
                line = f"groups {start} to {end - 1} are lost"
            if line not in self.damage:
                self.damage.append(line)
