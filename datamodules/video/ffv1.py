"""Checksums of FFV1 (RFC 9043): FFmpeg's decoder mends what they find without saying so."""

from __future__ import annotations

import zlib

MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
TRAILER = 8  # of a slice: size (3 bytes), error status (1), CRC (4)
NO_REMAINDER = 0xFFFFFFFF


def intact(packet: bytes) -> bool:
    """Whether all slices of a frame of version 3 have checksums (RFC 9043, 4.6) and they agree.

    The CRC counts bits from the left and begins with 0, zlib's from the right and with ones.
    """
    end = len(packet)
    while end >= TRAILER:
        size = int.from_bytes(packet[end - TRAILER : end - TRAILER + 3], "big") + TRAILER
        begin = end - size
        if begin < 0:
            return False
        if zlib.crc32(packet[begin:end].translate(MIRRORED), NO_REMAINDER) != NO_REMAINDER:
            return False
        end = begin
    return end == 0
