"""Plays a level to its end by trial and error from save states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from datamodules.recording.mario import Mario
from datamodules.recording.policies import EXPLORE, bursts
from datamodules.smb_format import FAIL, WIN

GAIN = (90, 220)  # pixels to be gained before a state is saved
PATIENCE = 240  # emulated frames of a burst
TRIES = 12  # bursts from a state before it counts as a dead end
LOST_CHILD = 4  # tries that a dead end costs the state before it
BUDGET = 60  # emulated frames of search for each frame of the longest recording


@dataclass
class Save:
    """A state that the search goes on from."""

    state: NDArray[np.uint8]
    x: int
    area: int
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

    From the last save sticky random bursts are played until one gains 90 to 220 pixels (or gets to
    another area) and stands; there the next state is saved. A save from which nothing works is a
    dead end: the search goes on from the one before it.

    Args:
        mario: the game at the start of a level.
        rng: what is drawn.
        longest: emulated frames after which the play need not go on.
        watch: told the place of each new save.

    Returns:
        Buttons of each emulated frame. Played from the same start they lead to the same end: the
        level's, or as far as was got by `longest` frames or by 60 times as many of search.
    """
    start = mario.place
    saves = [Save(mario.save(), start.x, start.area)]
    best, best_length = [], 0
    budget = BUDGET * longest
    while budget > 0:
        save = saves[-1]
        held, outcome = burst(mario, save, rng)
        budget -= len(held)
        place = mario.place
        if outcome == FAIL:
            save.tries += 1
            if save.tries >= TRIES and len(saves) > 1:
                saves.pop()
                saves[-1].tries += LOST_CHILD
                mario.load(saves[-1].state)
            continue
        saves.append(Save(mario.save(), place.x, place.area, held))
        watch(place.x)
        length = sum(len(save.held) for save in saves)
        if length > best_length:
            best, best_length = [b for save in saves for b in save.held], length
        if outcome == WIN or length >= longest:
            return [b for save in saves for b in save.held]
    return best


def burst(mario: Mario, save: Save, rng: np.random.Generator) -> tuple[list[int], int]:
    """One try from a save: its buttons, and `WIN`, 0 for a gain or `FAIL`."""
    mario.load(save.state)
    goal = save.x + int(rng.integers(*GAIN))
    held: list[int] = []
    for byte in bursts(EXPLORE, rng):
        mario.step(byte)
        held.append(byte)
        place = mario.place
        if place.outcome:
            return held, place.outcome
        if place.stands and (place.area != save.area or place.x >= goal):
            return held, 0
        if len(held) == PATIENCE:
            break
    return held, FAIL
