"""Numbers of few bytes: unsigned and signed integers of variable length, and what reads them."""

from __future__ import annotations

LONGEST = 9  # bytes of an integer: 63 bits


class BitstreamError(ValueError):
    """What is read is no `.lav` file, or not one that can be read; the message says why."""


def unsigned(*values: int) -> bytes:
    """Integers from 0 to 2^63 - 1, seven bits a byte, the lowest first (LEB128)."""
    packed = bytearray()
    for value in values:
        if not 0 <= value < 1 << 63:
            raise BitstreamError(f"{value} cannot be stored; it must lie in [0, 2^63)")
        while value > 0x7F:
            packed.append(value & 0x7F | 0x80)
            value >>= 7
        packed.append(value)
    return bytes(packed)


def signed(*values: int) -> bytes:
    """Integers from -2^62 to 2^62 - 1, small ones in few bytes: 0, -1, 1, -2 as 0, 1, 2, 3."""
    return unsigned(*(2 * value if value >= 0 else -2 * value - 1 for value in values))


class Fields:
    """Reads bytes from front to back; BitstreamError where they end too soon or are out of range.

    Args:
        data: what to read.
        at: byte to begin with.
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def unsigned(self, least: int = 0, most: int = (1 << 63) - 1) -> int:
        """The next integer, within `[least, most]`."""
        value = 0
        for place, byte in enumerate(self.data[self.at : self.at + LONGEST]):
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                self.at += place + 1
                break
        else:
            raise BitstreamError("an integer is cut off or too long")
        if not least <= value <= most:
            raise BitstreamError(f"{value} is not within {least} to {most}")
        return value

    def signed(self) -> int:
        """The next integer with a sign."""
        value = self.unsigned()
        return -(value + 1 >> 1) if value & 1 else value >> 1

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > len(self.data) - self.at:
            raise BitstreamError(f"{count} bytes are announced and fewer are there")
        self.at += count
        return self.data[self.at - count : self.at]

    @property
    def rest(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.at
