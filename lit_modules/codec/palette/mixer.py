"""One prediction out of those of all contexts: weights that learn in the domain of log odds.

Each context says of a guessed colour that it agrees, that this colour came second, or that another
came. How far that is to be trusted is learned by what is said and how steadily (`chances`), what
all of them together come to by gradient descent on the code's length (Mahoney 2005). Three sets of
weights are chosen by what is around; the mean of their log odds is corrected by what came of such
predictions (`corrections`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lit_modules.codec.palette.compiled import Array, inlined
from lit_modules.codec.palette.contexts import CONTEXTS
from lit_modules.codec.palette.logistic import LIMIT, ONE, Logistic
from lit_modules.codec.palette.memory import STATES, Memory

RANKS = 3
"""Guesses before a colour is spelled out."""
WITNESSES = 3 * STATES
SETS = 256
SITUATIONS = 32
STEPS = 32
"""Of log odds, between which corrections are interpolated."""
PRECISE = (1 << 22) - 1
"""The probability 1 of a chance."""
SLOWEST = 250
"""A chance is the mean of what came up to here, then follows at one in so many."""
FASTEST = np.array([(1 << 16) // (n + 2) for n in range(SLOWEST + 1)], np.int64)
RATE = 10
"""Of the weights."""


class Mixer(NamedTuple):
    """What is learned, and the prediction at hand."""

    chances: Array
    """Probability that a guess is right, by what a context says, `(RANKS, CONTEXTS, WITNESSES)`."""
    seen: Array
    """How often each of them was tried."""
    weights: Array
    """65536 is 1, `(RANKS, SETS, CONTEXTS)`."""
    corrections: Array
    """Probabilities, `(RANKS, SITUATIONS, STEPS + 1)`."""
    says: Array
    """What each context says, 0 if nothing."""
    inputs: Array
    """Its log odds."""
    chosen: Array
    """The three sets of weights."""
    odds: Array
    """What comes out of them."""


@inlined
def predict(
    mixer: Mixer,
    logistic: Logistic,
    memory: Memory,
    rank: int,
    guess: int,
    known: int,
    row: int,
) -> int:
    """Log odds that a guess is right.

    Args:
        mixer: state; keeps what `learn` needs.
        logistic: tables.
        memory: what the contexts recall.
        rank: how many guesses were wrong before.
        guess: the colour.
        known: 0 to 191, what else is to choose weights: see `frames.py`.
        row: 0 to 63, where in the frame.
    """
    agreeing = 0
    for i in range(CONTEXTS):
        state = memory.state[i]
        if state == 0:
            mixer.says[i], mixer.inputs[i] = 0, 0
            continue
        if memory.first[i] == guess:
            agreeing += 1
        elif memory.second[i] == guess:
            state += STATES
        else:
            state += 2 * STATES
        mixer.says[i] = state
        mixer.inputs[i] = logistic.stretch[mixer.chances[rank, i, state] >> 6]
    mixer.chosen[0] = 3 * agreeing + known % 3
    mixer.chosen[1] = 64 + known // 3
    mixer.chosen[2] = 128 + row
    mixer.odds[:] = 0
    for k in range(3):
        total = 0
        for i in range(CONTEXTS):
            total += mixer.weights[rank, mixer.chosen[k], i] * mixer.inputs[i]
        mixer.odds[k] = min(max(total >> 16, -LIMIT), LIMIT)
    return int(mixer.odds[0] + mixer.odds[1] + mixer.odds[2]) // 3


@inlined
def corrected(mixer: Mixer, logistic: Logistic, rank: int, situation: int, odds: int) -> int:
    """Probability in 1/65536 of log odds in a situation."""
    step = (odds + LIMIT) * STEPS // (2 * LIMIT + 1)
    part = (odds + LIMIT) * STEPS - step * (2 * LIMIT + 1)
    low, high = (
        mixer.corrections[rank, situation, step],
        mixer.corrections[rank, situation, step + 1],
    )
    met = (low * (2 * LIMIT + 1 - part) + high * part) // (2 * LIMIT + 1)
    return int(min(max((int(logistic.squash[odds + LIMIT]) + met) >> 1, 1), ONE - 1))


@inlined
def learn(
    mixer: Mixer,
    logistic: Logistic,
    fastest: Array,
    rank: int,
    situation: int,
    odds: int,
    right: int,
) -> None:
    """Takes in whether the guess that `predict` was asked of was right, 0 or 1."""
    for k in range(3):
        error = ((right << 16) - int(logistic.squash[mixer.odds[k] + LIMIT])) * RATE
        for i in range(CONTEXTS):
            change = (mixer.inputs[i] * error + (1 << 17)) >> 18
            mixer.weights[rank, mixer.chosen[k], i] += change
    for i in range(CONTEXTS):
        says = mixer.says[i]
        if says:
            chance, seen = int(mixer.chances[rank, i, says]), mixer.seen[rank, i, says]
            chance += (right * PRECISE - chance) * fastest[seen] >> 16
            mixer.chances[rank, i, says] = min(max(chance, 64), PRECISE - 64)
            mixer.seen[rank, i, says] = min(seen + 1, SLOWEST)
    nearest = ((odds + LIMIT) * STEPS + LIMIT) // (2 * LIMIT + 1)
    met = int(mixer.corrections[rank, situation, nearest])
    mixer.corrections[rank, situation, nearest] += ((right << 16) - 32 * right - met) >> 6


def new_mixer(squash: Array) -> Mixer:
    """A mixer that has seen nothing: counts are trusted as far as counts go."""
    chances = np.zeros((RANKS, CONTEXTS, WITNESSES), np.int32)
    often = [0, 1, 2, 3, 4, 5, 6, 7, 9, 13, 18, 27, 38, 52, 63]
    for step, count in enumerate(often):
        for misses in range(4):
            # In whole numbers: (count + 0.4) / (count + 0.8), or less after exceptions.
            parts = (
                (10 * count + 4, 10 * count + 8)
                if not misses
                else (10 * count + 3, 10 * count + 10)
            )
            first = PRECISE * parts[0] // parts[1]
            chances[..., 4 * step + misses] = first
            chances[..., STATES + 4 * step + misses] = PRECISE * 3 // 20
            chances[..., 2 * STATES + 4 * step + misses] = (PRECISE - first) * 3 // 10
    weights = np.full((RANKS, SETS, CONTEXTS), ONE * 3 // 10, np.int32)
    steps = [step * (2 * LIMIT + 1) // STEPS - LIMIT for step in range(STEPS + 1)]
    corrections = np.empty((RANKS, SITUATIONS, STEPS + 1), np.int32)
    corrections[:] = squash[np.clip(np.array(steps) + LIMIT, 0, 2 * LIMIT)]
    each = (np.zeros(size, np.int64) for size in (CONTEXTS, CONTEXTS, 3, 3))
    return Mixer(chances, np.zeros_like(chances), weights, corrections, *each)
