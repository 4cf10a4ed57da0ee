"""Codes the frames of a group, pixel by pixel, by one loop for encoder and decoder.

Where a frame lies still or scrolls, a pixel whose surroundings have been steady is asked one cheap
question: is it what it was? What moves on its own is seen coming: a sprite in the frame before
unsettles all that it may reach. There all contexts are heard, and the colours that they name are
tried in the order of their weight; what none of them names is spelled out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lit_modules.codec.palette.bits import (
    PLACE,
    Bytes,
    Coder,
    code_adaptive,
    code_bit,
    finish,
    new_coder,
)
from lit_modules.codec.palette.compiled import Array, compiled, inlined
from lit_modules.codec.palette.contexts import CONTEXTS, look_around
from lit_modules.codec.palette.logistic import Logistic
from lit_modules.codec.palette.memory import Memory, memorise, recall
from lit_modules.codec.palette.mixer import (
    PRECISE,
    RANKS,
    SLOWEST,
    Mixer,
    corrected,
    learn,
    predict,
)
from lit_modules.codec.palette.planes import (
    BAND,
    BLOCK,
    MARGIN,
    NONE,
    OLDEST,
    Motion,
    Planes,
    move_on,
    settle,
)

STEADY = 2
"""Frames for which all that is around a pixel must have stayed as it was."""
SCORE_OF_NAMED = 2900
"""Beside its log odds: being named counts."""


class Model(NamedTuple):
    """All that is learned within a group."""

    logistic: Logistic
    fastest: Array
    steps: Array
    memory: Memory
    mixer: Mixer
    calm: Array
    """Probability that a steady pixel stays, and how often it was asked for, `(256, 2)`."""
    spelling: Array
    """Probabilities of the bits of a colour that nothing named, `(256,)`."""
    keys: Array
    score: Array
    """Of each colour, `(256,)`; 0 between pixels."""
    named: Array
    """Colours that contexts name, `(CONTEXTS,)`."""


@compiled
def code_frames(
    frames: NDArray[np.uint8],
    data: Bytes,
    colours: int,
    model: Model,
    planes: Planes,
    motion: Motion,
    decoding: bool,
) -> int:
    """Encodes `frames` to `data` or decodes them from it.

    Args:
        frames: palette indices `(t, h, w)`, read or written.
        data: bytes, written or read.
        colours: of the palette, 1 to 256.
        model: of a group that begins.
        planes: likewise.
        motion: likewise.
        decoding: which of both.

    Returns:
        Bytes of the code; more than `data` has if it is too small.
    """
    count, height, width = frames.shape
    coder = new_coder(data, decoding)
    inner = planes.now[MARGIN : MARGIN + height, MARGIN : MARGIN + width]
    for t in range(count):
        if not decoding:
            inner[:] = frames[t]
        if t > 0:
            move_on(coder, data, planes, motion, decoding)
        for y in range(height):
            travelled = motion.travelled[y // BAND]
            code_row(coder, data, colours, model, planes, y, travelled, decoding)
            if coder[PLACE] > len(data) and not decoding:
                return int(coder[PLACE])
        if decoding:
            frames[t] = inner
        planes.still[:] = planes.now
        planes.now[:] = NONE
    return len(data) if decoding else finish(coder, data)


@compiled
def code_row(
    coder: Coder,
    data: Bytes,
    colours: int,
    model: Model,
    planes: Planes,
    row: int,
    travelled: int,
    decoding: bool,
) -> None:
    """Codes a row of pixels; those that stay what they were take the short way, here."""
    now, moved, still, older = planes.now, planes.moved, planes.still, planes.older
    age, missed, steady, calm = planes.age, planes.missed, planes.steady, model.calm
    next_age, next_older, fastest = planes.next_age, planes.next_older, model.fastest
    y = row + MARGIN
    for x in range(MARGIN, now.shape[1] - MARGIN):
        misses = missed[y, x - 1] + 2 * missed[y - 1, x]
        misses += 4 * missed[y - 1, x - 1] + 8 * missed[y - 1, x + 1]
        before = int(moved[y, x])
        least = int(steady[1 + row // BLOCK, 1 + (x - MARGIN) // BLOCK])
        asked = misses == 0 and before < NONE and least >= STEADY
        if asked:
            stands = 128 if still[y, x] == before else 0
            which = least + 16 * min(int(age[y, x]) >> 1, 7) + stands
            chance, seen = calm[which, 0], calm[which, 1]
            bit = 1 if not decoding and now[y, x] == before else 0
            bit = code_bit(coder, data, bit, min(max(chance >> 6, 1), 65535), decoding)
            calm[which, 0] = chance + ((bit * PRECISE - chance) * fastest[seen] >> 16)
            calm[which, 1] = min(seen + 1, SLOWEST)
            if bit:
                now[y, x], missed[y, x] = before, 0
                next_age[y, x] = min(age[y, x] + 1, OLDEST)
                next_older[y, x] = older[y, x]
                continue
        code_pixel(
            coder,
            data,
            colours,
            model,
            planes,
            y,
            x,
            travelled,
            int(misses),
            asked,
            decoding,
        )


@inlined
def code_pixel(
    coder: Coder,
    data: Bytes,
    colours: int,
    model: Model,
    planes: Planes,
    y: int,
    x: int,
    travelled: int,
    misses: int,
    asked: bool,
    decoding: bool,
) -> None:
    """Codes one pixel by all that is around it, and learns from it.

    Args:
        coder: state.
        data: of the coder.
        colours: of the palette.
        model: all that is learned.
        planes: of the frame.
        y: row in the planes.
        x: column in the planes.
        travelled: pixels to the right that the row has moved.
        misses: which neighbours to the left and above were wrong guesses, 0 to 15.
        asked: whether it is known that the pixel is not what it was.
        decoding: whether it is read.
    """
    before = int(planes.moved[y, x])
    true = -1 if decoding else int(planes.now[y, x])
    planes.now[y, x] = NONE  # as the decoder has it
    mixer, memory = model.mixer, model.memory
    look_around(model.keys, planes, y, x, travelled, misses)
    recall(memory, model.keys, model.steps)
    named = vote(model)
    if asked:
        model.score[before] = 0
    left, above, old = planes.now[y, x - 1], planes.now[y - 1, x], planes.older[y, x]
    around = 3 * (4 * misses + min(int(planes.age[y, x]), 3))
    row = min((y - MARGIN) // BAND, 63)
    colour, rank = -1, 0
    while rank < RANKS:
        guess, best = -1, 0
        for k in range(named):
            if model.score[model.named[k]] > best:
                guess, best = model.named[k], model.score[model.named[k]]
        if guess < 0:
            break
        model.score[guess] = 0
        known = around + (2 if before == guess else 1 if before < NONE else 0)
        odds = predict(mixer, model.logistic, memory, rank, guess, known, row)
        situation = (
            (1 if before == guess else 0)
            + (2 if left == guess else 0)
            + (4 if above == guess else 0)
            + (8 if old == guess else 0)
            + (16 if misses else 0)
        )
        p = corrected(mixer, model.logistic, rank, situation, odds)
        right = code_bit(coder, data, 1 if true == guess else 0, p, decoding)
        learn(mixer, model.logistic, model.fastest, rank, situation, odds, right)
        if right:
            colour = guess
            break
        rank += 1
    for k in range(named):
        model.score[model.named[k]] = 0
    if colour < 0:
        colour, rank = (
            spell(coder, data, model.spelling, colours, true, decoding),
            RANKS,
        )
    memorise(memory, colour)
    settle(planes, y, x, colour, rank == 0)


@inlined
def vote(model: Model) -> int:
    """Adds up how far each colour is trusted; returns how many colours contexts name."""
    memory, named = model.memory, 0
    for i in range(CONTEXTS):
        state = memory.state[i]
        if state:
            colour = memory.first[i]
            if model.score[colour] == 0:
                model.named[named] = colour
                named += 1
            odds = model.logistic.stretch[model.mixer.chances[0, i, state] >> 6]
            model.score[colour] += odds + SCORE_OF_NAMED
    return named


@compiled
def spell(
    coder: Coder, data: Bytes, chances: Array, colours: int, true: int, decoding: bool
) -> int:
    """Codes a colour that nothing names, bit by bit."""
    bits = 0
    while 1 << bits < colours:
        bits += 1
    node = 1
    for place in range(bits - 1, -1, -1):
        node = node << 1 | code_adaptive(coder, data, true >> place & 1, chances, node, decoding)
    return min(node - (1 << bits), colours - 1)
