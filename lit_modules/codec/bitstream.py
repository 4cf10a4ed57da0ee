"""The container `.lav`: groups of packets that survive damage, written and read as a stream.

    header | group 0 | group 1 | … | index | header | 8 bytes: length of index and header, magic
    group: head | packet 0 | packet 1 | … | tail, which repeats the head

Head, packets, tail and index are records (`records.py`), the header stands twice. What is whole is
found wherever it lies; what is not is named. A file without index, cut off or never closed, is
searched through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lit_modules.codec.container.fields import BitstreamError
from lit_modules.codec.container.groups import Head, pack_head, pack_index, unpack_head
from lit_modules.codec.container.header import Header, pack_header, seed_of
from lit_modules.codec.container.layout import Layout, pack_end
from lit_modules.codec.container.records import (
    MOST_BYTES,
    MOST_PARTS,
    Kind,
    Record,
    pack_record,
)

__all__ = ["BitstreamError", "Group", "GroupRate", "Header", "LavReader", "LavWriter"]

SLACK = 1 << 20  # bytes of a group beside what it holds


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
        self._seed = seed_of(self._packed)
        self._index: list[tuple[int, int, int]] = []  # bytes, frames, packets of each group
        self._frames = 0
        self._closed = False
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
            BitstreamError: a value is out of range, or the container is closed; nothing of the
                group is written then.
        """
        if self._closed:
            raise BitstreamError("a group comes after the end; add groups before close")
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
        """Writes index, header and end, once; nothing can be added after it."""
        if self._closed:
            return
        self._closed = True
        index = pack_record(Kind.INDEX, 0, 0, pack_index(self._index), self._seed)
        trailer = index + self._packed
        self.bytes_written += self._file.write(trailer + pack_end(trailer))


class LavReader:
    """Reads a `.lav` file, whole or damaged, a group at a time.

    Not to be used by two threads at once; a file can have several readers.

    Args:
        file: seekable, buffered, open for reading bytes.

    Raises:
        BitstreamError: it is another kind of file, of a newer version, or has lost its header.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._layout = Layout(file)
        self.header = self._layout.header
        self.damage = self._layout.damage
        """What is wrong with the file, a line each; lost groups once `groups` has come past them.
        What is missing of a group that is not lost, the group says."""

    @property
    def frames(self) -> int | None:
        """Frames of the video, lost ones too; None if the index is lost."""
        return None if self._layout.index is None else self._layout.index.first_frames[-1]

    def groups(self) -> Iterator[Group]:
        """All groups of which something is left, in order, one at a time in memory.

        Lost ones are left out and named in `damage`; `first_frame` tells how many frames they had.
        """
        expected = 0
        for number in self._layout.numbers():
            try:
                group = self.group(number)
            except BitstreamError:
                continue
            self._note_lost(expected, number)
            expected = number + 1
            yield group
        if self._layout.index is not None:
            self._note_lost(expected, len(self._layout.index.frames))

    def group(self, number: int) -> Group:
        """One group, from where the index says or, if it is not whole there, from anywhere.

        Raises:
            BitstreamError: nothing is left of it, or there is none of that number.
        """
        records = self._layout.group(number)
        if not records and number not in self._layout.numbers():
            last = max(self._layout.numbers(), default=-1)
            raise BitstreamError(f"group {number} is not among the groups 0 to {last} of the file")
        if not records or sum(record.end - record.data for record in records) > MOST_BYTES + SLACK:
            raise BitstreamError(f"group {number} is lost")
        head = self._head(number, records)
        known = head or self._nominal_head(number, records)
        stored = {record.part: record for record in records if record.kind == Kind.PACKET}
        packets = [
            self._layout.data(stored[part]) if part in stored else None
            for part in range(known.packets)
        ]
        kinds = {record.kind for record in records}
        damaged = [kind.name.lower() for kind in (Kind.HEAD, Kind.TAIL) if kind not in kinds]
        damaged += ["times (now nominal) and what packets share"] if head is None else []
        damaged += [
            f"packet {part} of {known.packets}"
            for part in range(known.packets)
            if part not in stored
        ]
        damaged = [f"group {number}: {what} damaged or lost" for what in damaged]
        shared = None if head is None else head.shared
        return Group(number, known.first_frame, known.seconds, packets, shared, damaged)

    def rates(self) -> list[GroupRate]:
        """What each group costs; reads the whole file."""
        rates = []
        for group in self.groups():
            records = self._layout.group(group.number)
            stored = sum(record.end - record.start for record in records)
            heads = sum(record.kind != Kind.PACKET for record in records)
            shared = heads * len(group.shared or b"")
            packets = sum(len(packet or b"") for packet in group.packets)
            sizes = (packets, shared, stored - packets - shared)
            frames, lasts = len(group.seconds), self._duration(group.seconds)
            rates.append(
                GroupRate(group.number, group.first_frame, frames, lasts, *sizes, group.damaged)
            )
        return rates

    def _head(self, number: int, records: list[Record]) -> Head | None:
        """What the head of a group says, else its tail."""
        for record in records:
            if record.kind in (Kind.HEAD, Kind.TAIL):
                with suppress(BitstreamError):
                    return unpack_head(number, self._layout.data(record), self.header)
        return None

    def _nominal_head(self, number: int, records: list[Record]) -> Head:
        """What head and tail of a group most likely said."""
        frames, first = self.header.group_frames, number * self.header.group_frames
        packets = 1 + max((r.part for r in records if r.kind == Kind.PACKET), default=-1)
        if (index := self._layout.index) is not None:
            frames, packets = index.frames[number], index.packets[number]
            first = index.first_frames[number]
        return Head(packets, first, (first + np.arange(frames)) / self.header.fps, b"")

    def _duration(self, seconds: NDArray[np.float64]) -> float:
        """How long frames are shown, the last as long as the others in the mean."""
        frames, span = len(seconds), float(seconds[-1] - seconds[0])
        return span * frames / (frames - 1) if span > 0 else frames / self.header.fps

    def _note_lost(self, start: int, end: int) -> None:
        """Names groups `start` to `end - 1`."""
        line = f"group {start} is lost"
        if end - start > 1:
            line = f"groups {start} to {end - 1} are lost"
        if start < end and line not in self.damage:
            self.damage.append(line)
