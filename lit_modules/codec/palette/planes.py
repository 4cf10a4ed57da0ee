"""What is known of each pixel's place before the pixel is: frames as they moved, ages, misses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lit_modules.codec.palette.bits import Bytes, Coder, code_adaptive, code_number
from lit_modules.codec.palette.compiled import Array, compiled, inlined

MARGIN = 4
"""Pixels of NONE around each plane, so that neighbours need no check."""
NONE = 256
"""A pixel that is not known."""
BAND = 8
"""Rows that move together: score lines stay where they are."""
DOWN, RIGHT = 8, 16
"""How far a frame may move, either way."""
BLOCK = 4
"""Pixels: what moves on its own comes no nearer than this from one frame to the next."""
OLDEST = 15
"""Frames up to which ages are counted."""

Plane = Array


class Planes(NamedTuple):
    """Planes `(h + 2 MARGIN, w + 2 MARGIN)` that a frame is coded by."""

    now: Plane
    """The frame itself, as far as it is coded."""
    still: Plane
    """The frame before."""
    moved: Plane
    """The same, moved along."""
    older: Plane
    """What was there before the last change, moved along."""
    age: Plane
    """Frames since that change, moved along."""
    next_older: Plane
    next_age: Plane
    steady: Plane
    """Least age near each block, `(⌈h / BLOCK⌉ + 2, ⌈w / BLOCK⌉ + 2)` with a border of zeros."""
    missed: Plane
    """1 where the moved frame was wrong, or the first guess where it is not known."""


class Motion(NamedTuple):
    """How frames move."""

    vector: Array
    """Pixels down and to the right from which a pixel comes."""
    moves: Array
    """Whether each band follows it, `(bands,)`."""
    moved_before: Array
    """The same when last asked."""
    travelled: Array
    """Pixels to the right since the group's first frame, by band."""
    chances: Array
    """Probabilities of the flags."""


def new_planes(height: int, width: int) -> Planes:
    """Of a group's first frame."""
    shape = height + 2 * MARGIN, width + 2 * MARGIN
    colours = ("now", "still", "moved", "older", "next_older")
    planes = {name: np.full(shape, NONE, np.int16) for name in colours}
    planes |= {name: np.zeros(shape, np.int16) for name in ("age", "next_age", "missed")}
    blocks = -(-height // BLOCK) + 2, -(-width // BLOCK) + 2
    return Planes(**planes, steady=np.zeros(blocks, np.int16))


def new_motion(height: int) -> Motion:
    """Of a group's first frame."""
    bands = -(-height // BAND)
    moves, before, travelled = (np.zeros(bands, np.int64) for _ in range(3))
    chances = np.full(5, 1 << 15, np.int64)
    return Motion(np.zeros(2, np.int64), moves, before, travelled, chances)


@compiled
def move_on(coder: Coder, data: Bytes, planes: Planes, motion: Motion, decoding: bool) -> None:
    """Codes how the frame moved, and moves along what is known of the frame before."""
    down, right = motion.vector
    if not decoding:
        down, right = best_vector(planes.now, planes.still, motion.vector)
    same = down == motion.vector[0] and right == motion.vector[1]
    if not code_adaptive(coder, data, 1 if same else 0, motion.chances, 0, decoding):
        motion.vector[0] = code_number(coder, data, down + DOWN, 5, decoding) - DOWN
        motion.vector[1] = code_number(coder, data, right + RIGHT, 6, decoding) - RIGHT
    down, right = motion.vector
    height = planes.now.shape[0] - 2 * MARGIN
    for band in range(len(motion.moves)):
        motion.moves[band] = 0
        if down != 0 or right != 0:
            bit = 0
            rows = (band * BAND, min(height, band * BAND + BAND))
            if not decoding:
                gain = fit(planes, rows, down, right) - fit(planes, rows, 0, 0)
                bit = 1 if gain > 0 or (gain == 0 and motion.moved_before[band]) else 0
            above = motion.moves[band - 1] if band else 0
            which = 1 + 2 * motion.moved_before[band] + above
            bit = code_adaptive(coder, data, bit, motion.chances, which, decoding)
            motion.moves[band] = motion.moved_before[band] = bit
            motion.travelled[band] += right * bit
    shift(planes.still, planes.moved, motion, NONE)
    shift(planes.next_older, planes.older, motion, NONE)
    shift(planes.next_age, planes.age, motion, 0)
    find_steady(planes)


@compiled
def best_vector(now: Plane, before: Plane, last: Array) -> tuple[int, int]:
    """The vector by which most pixels of every eighth row are found in the frame before."""
    best, best_count = (
        (0, 0),
        count_same(now, before, 0, 0, -1) + 2,
    )  # what is still is cheaper
    count = count_same(now, before, last[0], last[1], best_count)
    if count > best_count:
        best, best_count = (last[0], last[1]), count
    for down in range(-DOWN, DOWN + 1):
        for right in range(-RIGHT, RIGHT + 1):
            count = count_same(now, before, down, right, best_count)
            if count > best_count:
                best, best_count = (down, right), count
    return best


@compiled
def count_same(now: Plane, before: Plane, down: int, right: int, least: int) -> int:
    """Pixels that are the same, or a count up to `least` if there are no more than that."""
    height, width = now.shape
    first, last = MARGIN + max(0, -right), width - MARGIN - max(0, right)
    total = max(0, last - first)
    left = total * ((height - 2 * MARGIN) // BAND)
    count = 0
    for y in range(MARGIN + BAND // 2, height - MARGIN, BAND):
        if count + left <= least:
            break
        if MARGIN <= y + down < height - MARGIN:
            for x in range(first, last):
                count += now[y, x] == before[y + down, x + right]
        left -= total
    return count


@compiled
def fit(planes: Planes, rows: tuple[int, int], down: int, right: int) -> int:
    """Pixels of these rows that the frame before has where the vector points."""
    height, width = planes.now.shape
    count = 0
    for y in range(rows[0] + MARGIN, rows[1] + MARGIN):
        if MARGIN <= y + down < height - MARGIN:
            for x in range(MARGIN + max(0, -right), width - MARGIN - max(0, right)):
                count += planes.now[y, x] == planes.still[y + down, x + right]
    return count


@compiled
def shift(source: Plane, target: Plane, motion: Motion, outside: int) -> None:
    """Copies a plane as the frame moves; what comes from outside it is `outside`."""
    height, width = source.shape
    target[:] = outside
    for y in range(MARGIN, height - MARGIN):
        moves = motion.moves[(y - MARGIN) // BAND]
        down, right = motion.vector[0] * moves, motion.vector[1] * moves
        if MARGIN <= y + down < height - MARGIN:
            for x in range(MARGIN + max(0, -right), width - MARGIN - max(0, right)):
                target[y, x] = source[y + down, x + right]


@compiled
def find_steady(planes: Planes) -> None:
    """Fills `planes.steady`: the least age in a block of pixels and the eight around it."""
    height, width = planes.age.shape[0] - 2 * MARGIN, planes.age.shape[1] - 2 * MARGIN
    rows, columns = planes.steady.shape
    least = np.full((rows, columns), OLDEST, np.int16)
    for y in range(height):
        for x in range(width):
            age = planes.age[y + MARGIN, x + MARGIN]
            least[1 + y // BLOCK, 1 + x // BLOCK] = min(least[1 + y // BLOCK, 1 + x // BLOCK], age)
    for row in range(1, rows - 1):
        for column in range(1, columns - 1):
            planes.steady[row, column] = least[row - 1 : row + 2, column - 1 : column + 2].min()


@inlined
def settle(planes: Planes, y: int, x: int, colour: int, guessed: bool) -> None:
    """Writes down the colour of a pixel and what follows from it.

    Args:
        planes: of the frame.
        y: row in the planes.
        x: column in the planes.
        colour: of the pixel.
        guessed: whether it was the first guess.
    """
    planes.now[y, x] = colour
    if planes.moved[y, x] == colour:
        planes.next_age[y, x] = min(planes.age[y, x] + 1, OLDEST)
        planes.next_older[y, x] = planes.older[y, x]
        planes.missed[y, x] = 0
        return
    new = planes.moved[y, x] == NONE
    planes.next_age[y, x] = 0
    planes.next_older[y, x] = planes.older[y, x] if new else planes.moved[y, x]
    planes.missed[y, x] = 0 if new and guessed else 1
