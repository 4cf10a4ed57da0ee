"""What came last in each context, and how steadily: hash tables of small counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lit_modules.codec.palette.compiled import Array, inlined
from lit_modules.codec.palette.contexts import CONTEXTS

SLOTS = 1 << 16
"""Of each context's table."""
STATES = 64
"""Of a slot: fifteen steps of how often its colour came in a row, by how often another did."""
MOST = 63
"""Counts end here."""
STEPS = np.searchsorted([1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48, 63], range(64), "right")

# Bits of a slot: check (8), second colour (8), first colour (8), misses (2), count (6).


class Memory(NamedTuple):
    """Tables of all contexts, and what was recalled for the pixel at hand."""

    slots: Array
    """`(CONTEXTS, SLOTS)`."""
    place: Array
    """Slot of each context, `(CONTEXTS,)`."""
    check: Array
    first: Array
    """Colour that came last or most, -1 if the context is new."""
    second: Array
    """Colour that came before it, -1 if there was none."""
    state: Array
    """How sure that is, 0 if the context is new."""


def new_memory() -> Memory:
    """Nothing has been seen."""
    each = (np.zeros(CONTEXTS, np.int64) for _ in range(5))
    return Memory(np.zeros((CONTEXTS, SLOTS), np.uint32), *each)


@inlined
def recall(memory: Memory, keys: Array, steps: Array) -> None:
    """Looks up each context."""
    for i in range(CONTEXTS):
        key = keys[i] ^ (keys[i] >> 29)
        place, check = key >> 8 & SLOTS - 1, key >> 48 & 0xFF
        slot = int(memory.slots[i, place])
        memory.place[i], memory.check[i] = place, check
        count, misses = slot & 63, slot >> 6 & 3
        if count == 0 or slot >> 24 != check:
            memory.state[i], memory.first[i], memory.second[i] = 0, -1, -1
        else:
            memory.state[i] = 4 * steps[count] + misses
            memory.first[i] = slot >> 8 & 0xFF
            memory.second[i] = slot >> 16 & 0xFF if misses else -1


@inlined
def memorise(memory: Memory, colour: int) -> None:
    """Tells each context what came."""
    for i in range(CONTEXTS):
        first, second = memory.first[i], memory.second[i]
        slot = int(memory.slots[i, memory.place[i]])
        count, misses = slot & 63, slot >> 6 & 3
        if first < 0:
            first, second, count, misses = colour, 0, 1, 0
        elif first == colour:
            count = min(count + 1, MOST)
            if misses > 1 and count >= 12 and count & 3 == 0:
                misses -= 1
        else:
            misses = min(misses + 1, 3)
            if count >= 8:  # one exception does not make a new rule
                count, second = count >> 2, colour
            else:
                first, second, count = colour, first, 1
        checked = memory.check[i] << 24 | max(second, 0) << 16
        memory.slots[i, memory.place[i]] = checked | first << 8 | misses << 6 | count
