"""What head and tail of a group hold, and what the index says of all groups."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lit_modules.codec.container.fields import BitstreamError, Fields, signed, unsigned
from lit_modules.codec.container.header import Header
from lit_modules.codec.container.records import MOST_GROUPS, MOST_PARTS
from lit_modules.codec.container.timestamps import pack_seconds, unpack_seconds


class Head(NamedTuple):
    """What head and tail of a group say."""

    packets: int
    first_frame: int
    seconds: NDArray[np.float64]
    shared: bytes


def pack_head(number: int, head: Head, header: Header) -> bytes:
    """A head; costs least for the times and places that full groups at the nominal rate have."""
    seconds = pack_seconds(head.seconds, head.first_frame, header.fps)
    late = head.first_frame - number * header.group_frames
    counts = unsigned(len(head.seconds), head.packets) + signed(late) + unsigned(len(seconds))
    return counts + seconds + head.shared


def unpack_head(number: int, data: bytes, header: Header) -> Head:
    """The head that `pack_head` packed; BitstreamError if it is none."""
    fields = Fields(data)
    frames = fields.unsigned(1, header.group_frames)
    packets = fields.unsigned(0, MOST_PARTS)
    first = fields.signed() + number * header.group_frames
    if not 0 <= first <= number * header.group_frames:
        raise BitstreamError(f"group {number} cannot begin at frame {first}")
    seconds = unpack_seconds(fields.take(fields.unsigned()), frames, first, header.fps)
    return Head(packets, first, seconds, fields.take(fields.rest))


class Index(NamedTuple):
    """Where each group lies and what is in it."""

    starts: list[int]
    """First byte of each group, and the byte after the last."""
    first_frames: list[int]
    """First frame of each group, and the number of all frames."""
    frames: list[int]
    packets: list[int]

    @classmethod
    def unpack(cls, data: bytes, first: int, header: Header) -> Self:
        """Reads what `pack_index` packed, for groups that begin at byte `first`.

        Raises:
            BitstreamError: a value is out of range, or there are too many.
        """
        fields = Fields(data)
        sizes, frames, packets = [], [], []
        while fields.rest:
            sizes.append(fields.unsigned(most=1 << 40))
            frames.append(fields.unsigned(1, header.group_frames))
            packets.append(fields.unsigned(most=MOST_PARTS))
            if len(sizes) > MOST_GROUPS:
                raise BitstreamError(f"the index tells of more than {MOST_GROUPS} groups")
        starts = list(accumulate(sizes, initial=first))
        return cls(starts, list(accumulate(frames, initial=0)), frames, packets)


def pack_index(groups: Iterable[tuple[int, int, int]]) -> bytes:
    """Bytes, frames and packets of each group."""
    return b"".join(unsigned(*group) for group in groups)
