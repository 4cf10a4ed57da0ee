"""Plays a level to its end by trial and error from save states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from datamodules.recording.mario import Mario
from datamodules.recording.policies import EXPLORE, SWIM, bursts
from datamodules.smb_format import FAIL, WIN

GAIN = (90, 220)  # pixels to be gained before a state is saved
# Emulated frames of a burst; those do not count in which the game leads the player, up to three
# times as many.
PATIENCE = 240
EASIER = 12  # pixels that a burst in vain takes off the most that is asked for
TRIES = 12  # bursts from a state before it counts as a dead end
LOST_CHILD = 4  # tries that a dead end costs the state before it
BUDGET = 60  # emulated frames of search for each frame of the longest recording


@dataclass
class Save:
    """A state that the search goes on from."""

    state: NDArray[np.uint8]
    x: int
    held: list[int] = field(default_factory=list)
    """Buttons since the save before."""
    tries: int = 0


def search(
    mario: Mario,
    rng: np.random.Generator,
    longest: int,
    watch: Callable[[int], None] = lambda x: None,
) -> list[int]:
    """Buttons that finish the level from the state that the game is in.

    From the last save random bursts are played until one gains 90 to 220 pixels, or has gone
    through a pipe or up a vine, and stands; there the next state is saved. A save from which
    nothing works is a dead end: the search goes on from the one before it.

    Args:
        mario: the game at the start of a level.
        rng: what is drawn.
        longest: emulated frames after which the play need not go on.
        watch: told the place of each new save.

    Returns:
        Buttons of each emulated frame. Played from the same start they lead to the same end: the
        level's, or as far as was got by `longest` frames or by 60 times as many of search.
    """
    saves = [Save(mario.save(), mario.place.x)]
    best: list[int] = []
    budget = BUDGET * longest
    while budget > 0 and len(best) < longest:
        held, outcome = burst(mario, saves[-1], rng)
        budget -= len(held)
        if outcome == FAIL:
            saves[-1].tries += 1
            while saves[-1].tries >= TRIES and len(saves) > 1:
                saves.pop()
                saves[-1].tries += LOST_CHILD
            continue
        x = mario.place.x
        saves.append(Save(mario.save(), x, held))
        watch(x)
        path = [byte for save in saves for byte in save.held]
        if outcome == WIN:
            return path
        best = max(best, path, key=len)
    return best


def burst(mario: Mario, save: Save, rng: np.random.Generator) -> tuple[list[int], int]:
    """One try from a save: its buttons, and `WIN`, 0 for a gain or `FAIL`."""
    mario.load(save.state)
    least, most = GAIN
    # Where nothing has worked yet less will do: there may be small islands ahead.
    goal = save.x + int(rng.integers(least, max(least + 1, most - EASIER * save.tries)))
    presses = bursts(SWIM if mario.swims else EXPLORE, rng)
    held: list[int] = []
    patience, passed = PATIENCE, False
    for byte in islice(presses, 3 * PATIENCE):
        mario.step(byte)
        held.append(byte)
        place = mario.place
        if place.outcome:
            return held, place.outcome
        passed |= place.passes
        if place.stands and (passed or place.x >= goal):
            return held, 0
        patience -= not place.led
        if patience == 0:
            break
    return held, FAIL
