"""The lossless coder of groups: by palette where the colours are few, else by a general codec.

Each packet says which of them it is by its first byte, so a video may change from one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lit_modules.codec import general, palette
from lit_modules.codec.container.fields import BitstreamError

Frames = NDArray[np.uint8]
Kind = Literal["palette", "general"]
KINDS: tuple[Kind, ...] = ("palette", "general")


def encode_group(frames: Frames) -> tuple[bytes, list[bytes]]:
    """Codes a group so that it is decoded bit for bit, and without any other.

    Args:
        frames: RGB `(t, h, w, 3)` uint8.

    Returns:
        What packets share (nothing), and one packet: whatever is cut out of a group would cost all
        that comes after it the contexts.
    """
    packed = palette.pack(frames)
    if packed is not None:
        return b"", [bytes([KINDS.index("palette")]) + packed]
    return b"", [bytes([KINDS.index("general")]) + general.pack(frames)]


def decode_group(
    packets: Sequence[bytes | None], count: int, height: int, width: int
) -> Frames | None:
    """The frames `(t, h, w, 3)` of a group, None if its packet is lost.

    Raises:
        BitstreamError: the packet was not made by `encode_group`.
    """
    if len(packets) != 1:
        raise BitstreamError(f"a lossless group has one packet, not {len(packets)}")
    packet = packets[0]
    if packet is None:
        return None
    decoders = {"palette": palette.unpack, "general": general.unpack}
    return decoders[kind_of(packet)](packet[1:], count, height, width)


def kind_of(packet: bytes) -> Kind:
    """How a packet is coded.

    Raises:
        BitstreamError: in no way that is known here.
    """
    if not packet or packet[0] >= len(KINDS):
        raise BitstreamError(f"{packet[:1]!r} names no way of lossless coding")
    return KINDS[packet[0]]
