"""Binary range coding: a bit and how likely it is, to bytes and back (Martin 1979)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lit_modules.codec.palette.compiled import Array, compiled, inlined

LOW, HIGH, CODE, PLACE = range(4)
"""Of a coder's state: the interval that is left, the bytes read into it, and the next byte."""
Coder = Array
Bytes = NDArray[np.uint8]


@compiled
def new_coder(data: Bytes, decoding: bool) -> Coder:
    """A coder at the beginning of `data`, which is read or written."""
    coder = np.zeros(4, np.int64)
    coder[HIGH] = 0xFFFFFFFF
    if decoding:
        for place in range(4):
            byte = int(data[place]) if place < len(data) else 0
            coder[CODE] = coder[CODE] << 8 | byte
        coder[PLACE] = 4
    return coder


@inlined
def code_bit(coder: Coder, data: Bytes, bit: int, p: int, decoding: bool) -> int:
    """Codes a bit.

    What is behind the end of `data` reads as 0 and is not written; `coder[PLACE]` goes on.

    Args:
        coder: state.
        data: read or written.
        bit: 0 or 1; of no meaning when decoding.
        p: probability of a 1 in 1/65536, 1 to 65535.
        decoding: which of both.

    Returns:
        The bit.
    """
    low, high = coder[LOW], coder[HIGH]
    span = high - low
    middle = low + (span >> 16) * p + ((span & 0xFFFF) * p >> 16)
    if decoding:
        bit = 1 if coder[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) & 0xFF000000 == 0:
        place = coder[PLACE]
        if decoding:
            byte = int(data[place]) if place < len(data) else 0
            coder[CODE] = (coder[CODE] << 8 & 0xFFFFFFFF) | byte
        elif place < len(data):
            data[place] = high >> 24
        coder[PLACE] = place + 1
        low = low << 8 & 0xFFFFFFFF
        high = (high << 8 & 0xFFFFFFFF) | 0xFF
    coder[LOW], coder[HIGH] = low, high
    return bit


@compiled
def finish(coder: Coder, data: Bytes) -> int:
    """Ends encoding; returns how many bytes it took, more than `data` has if they did not fit."""
    if coder[PLACE] < len(data):
        # The first bytes of both ends differ, so this one, zeros behind it, lies between them.
        data[coder[PLACE]] = (coder[LOW] >> 24) + 1
    return int(coder[PLACE] + 1)


@compiled
def code_adaptive(
    coder: Coder, data: Bytes, bit: int, chances: Array, which: int, decoding: bool
) -> int:
    """Codes a bit by `chances[which]` in 1/65536, which follows what comes at a rate of 1/16."""
    p = min(max(chances[which], 64), 65536 - 64)
    bit = code_bit(coder, data, bit, p, decoding)
    chances[which] += ((bit << 16) - chances[which]) >> 4
    return bit


@compiled
def code_number(coder: Coder, data: Bytes, value: int, bits: int, decoding: bool) -> int:
    """Codes a number below 2^bits, all of them alike likely."""
    coded = 0
    for place in range(bits - 1, -1, -1):
        coded = coded << 1 | code_bit(coder, data, value >> place & 1, 1 << 15, decoding)
    return coded
