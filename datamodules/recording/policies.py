"""What a player without eyes presses, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from datamodules.buttons import DOWN, JUMP, LEFT, RIGHT, RUN, UP

PAD = (
    *(0, JUMP, UP, DOWN),
    *(side | more for side in (RIGHT, LEFT) for more in (0, JUMP, RUN, RUN | JUMP)),
)
"""What one presses in a platform game, to draw from alike."""


class Habit(NamedTuple):
    """Buttons that are held together, how often, and for how many frames at most."""

    held: int
    weight: float
    longest: int


EXPLORE = (
    Habit(RIGHT | RUN, 0.30, 40),
    Habit(RIGHT | RUN | JUMP, 0.30, 36),
    Habit(RIGHT | JUMP, 0.12, 36),
    Habit(RIGHT, 0.10, 30),
    Habit(LEFT, 0.04, 24),
    Habit(LEFT | JUMP, 0.03, 24),
    Habit(JUMP, 0.04, 30),
    Habit(0, 0.04, 24),
    Habit(DOWN, 0.03, 16),
)
SWIM = (  # each new press of jump is a stroke upwards
    Habit(RIGHT | JUMP, 0.40, 10),
    Habit(RIGHT, 0.30, 16),
    Habit(RIGHT, 0.10, 80),  # down to the ground and on, into the pipe at the end
    Habit(JUMP, 0.06, 10),
    Habit(0, 0.06, 16),
    Habit(LEFT, 0.04, 16),
    Habit(LEFT | JUMP, 0.04, 10),
)
HURRY = (Habit(RIGHT | RUN, 0.5, 40), Habit(RIGHT | RUN | JUMP, 0.45, 36), Habit(RIGHT, 0.05, 20))


def sticky(choices: Sequence[int], stick: float, rng: np.random.Generator) -> Iterator[int]:
    """Each choice alike; in each frame the last one stays with probability `stick`."""
    while True:
        choice = choices[int(rng.random() * len(choices))]
        yield choice
        while rng.random() < stick:
            yield choice


def bursts(habits: Sequence[Habit], rng: np.random.Generator) -> Iterator[int]:
    """Habits drawn by their weights, each held for two frames or more."""
    weights = np.cumsum([habit.weight for habit in habits])
    while True:
        habit = habits[int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))]
        yield from [habit.held] * int(rng.integers(2, habit.longest + 1))
