"""Where the records of a file lie: as its index says, or found by searching."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lit_modules.codec.container.fields import BitstreamError
from lit_modules.codec.container.groups import Index
from lit_modules.codec.container.header import (
    LONGEST_HEADER,
    MAGIC,
    cut_header,
    seed_of,
    unpack_header,
)
from lit_modules.codec.container.records import Kind, Record, Records

END = b"LAVE"
END_BYTES = 8
SEARCHED_FOR_HEADER = 1 << 24  # bytes at either end of the file


def pack_end(trailer: bytes) -> bytes:
    """The last bytes of a file: how long the trailer before them is, and a mark."""
    return len(trailer).to_bytes(END_BYTES - len(END), "little") + END


class Layout:
    """Finds header, index and records of a `.lav` file.

    Args:
        file: seekable, buffered, open for reading bytes.

    Raises:
        BitstreamError: it is another kind of file, of a newer version, or has lost its header.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.damage: list[str] = []
        """What is wrong with the file as a whole, a line each."""
        self._records = Records(file, seed=0)
        packed = self._find_header()
        self.header = unpack_header(packed)
        self._records.seed = seed_of(packed)
        self._catalogue: Catalogue | None = None
        self.index = self._index_at_end(packed)
        """None if it is lost."""
        if self.index is None:
            self._catalogue = self._search()
            self.index = self._index_found(self._catalogue)

    def numbers(self) -> Sequence[int]:
        """Numbers of the groups of which something may be there, rising."""
        if self.index is not None:
            return range(len(self.index.frames))
        return [] if self._catalogue is None else self._catalogue.groups

    def group(self, number: int) -> list[Record]:
        """The sound records of a group, none of them twice."""
        if self.index is not None and not 0 <= number < len(self.index.frames):
            return []
        if self._catalogue is None:
            if records := self._as_indexed(number):
                return records
            self._catalogue = self._search()
        return self._catalogue.group(number)

    def data(self, record: Record) -> bytes:
        """What a record holds."""
        return self._records.data(record)

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

    def _index_at_end(self, packed: bytes) -> Index | None:
        """The index that the end of the file leads to."""
        records = self._records
        end = records.size - END_BYTES
        last = records.read(max(0, end), END_BYTES)
        record = records.at(end - int.from_bytes(last[: -len(END)], "little"))
        if not last.endswith(END) or record is None or record.kind != Kind.INDEX:
            return None
        index = self._unpack(record, len(packed))
        if index and index.starts[-1] != record.start:
            self.damage.append("bytes were lost or put in between")
        if end - record.end != len(packed) or records.read(record.end, len(packed)) != packed:
            self.damage.append("the second copy of the header is damaged")
        return index

    def _index_found(self, catalogue: Catalogue) -> Index | None:
        """The index where a search has found it."""
        found = (self._unpack(record, 0) for record in catalogue.indices())
        index = next(filter(None, found), None)
        self.damage.append(
            "the index is missing: the file was cut off, or never closed"
            if index is None
            else "the end of the file is damaged; its index was found by searching"
        )
        return index

    def _unpack(self, record: Record, first: int) -> Index | None:
        try:
            return Index.unpack(self.data(record), first, self.header)
        except BitstreamError:
            return None

    def _as_indexed(self, number: int) -> list[Record] | None:
        """The records of a group where the index says, if they are all there and whole."""
        assert self.index is not None
        start, end = self.index.starts[number : number + 2]
        records = list(self._records.row(start, end))
        packets = [(Kind.PACKET, number, part) for part in range(self.index.packets[number])]
        whole = [(Kind.HEAD, number, 0), *packets, (Kind.TAIL, number, 0)]
        if [record[:3] for record in records] == whole:
            return records
        self.damage.append(
            f"not all of bytes {start} to {end - 1} is whole; groups were found by searching"
        )
        return None

    def _search(self) -> Catalogue:
        """Looks through the whole file."""
        catalogue = Catalogue(self._records.search())
        if self._records.given_up_at is not None:
            self.damage.append(f"nothing was read from byte {self._records.given_up_at} on")
        return catalogue


class Catalogue:
    """Where each record of a file lies, the first of those that say they are the same.

    Args:
        records: in the order of the file.
    """

    def __init__(self, records: Iterator[Record]) -> None:
        rows = array("q")
        for record in records:
            rows.extend(record)
        table = np.array(rows, np.int64).reshape(-1, 6)
        table = table[
            np.lexsort(table[:, [2, 0, 1]].T)
        ]  # by group, kind, part, then as in the file
        again = (np.diff(table[:, :3], axis=0) == 0).all(1)
        self.table: NDArray[np.int64] = table[~np.append(np.zeros(min(1, len(table)), bool), again)]
        of_groups = self.table[self.table[:, 0] != Kind.INDEX, 1]
        self.groups: list[int] = np.unique(of_groups).tolist()
        """Numbers of the groups of which something is there, rising."""

    def group(self, number: int) -> list[Record]:
        """The records of a group."""
        start, end = np.searchsorted(self.table[:, 1], (number, number + 1))
        return [record for record in rows_of(self.table[start:end]) if record.kind != Kind.INDEX]

    def indices(self) -> list[Record]:
        """The records that hold an index."""
        return rows_of(self.table[self.table[:, 0] == Kind.INDEX])


def rows_of(table: NDArray[np.int64]) -> list[Record]:
    """A row `(kind, group, part, start, data, end)` each."""
    return [Record(Kind(row[0]), *row[1:]) for row in table.tolist()]
