"""What the player really did, by the emulator's memory: effective actions and their boundaries.

An effective action is what a press came to, not the press: a paddle that is pushed against a wall
stands still, and a jump goes on after its button is let go.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ram = NDArray[np.uint8]
Labels = NDArray[np.int64]
Seconds = NDArray[np.float64]

UNKNOWN = -1
"""No effective action: the agent was put somewhere else, as after a death."""

PAUSE = 2
"""Steps (0.1 s) between two movements to one side that are no pause: slow agents move by a pixel
every few frames."""

SIDES, HEIGHTS, JUMP = ("left", "", "right"), ("up", "", "down"), 3
ACTIONS: tuple[str, ...] = tuple(
    " ".join(filter(None, (height, side))) or "still"
    for height in (*HEIGHTS, "jump")
    for side in SIDES
)
"""Name of each effective action; `ACTIONS[3 * height + side]`, both counted from 0."""
STILL = ACTIONS.index("still")


class Agent(NamedTuple):
    """Where a game's memory tells of the agent. Addresses were held against pixels."""

    x: int | None = None
    y: int | None = None
    x_high: int | None = None
    """Address of the byte above `x`."""
    y_up: bool = False
    """Whether `y` grows upwards."""
    jump: tuple[int, int, int] | None = None
    """Address, and the first and last value that mean a jump."""
    furthest: int = 40
    """Most units in a step; what is more is no movement but a new place."""


AGENTS = {
    "Breakout": Agent(x=72),
    "Pong": Agent(y=51, furthest=60),
    "Freeway": Agent(y=14, y_up=True),
    "Skiing": Agent(x=25),
    # 86 counts down from 19 while he is in the air.
    "MontezumaRevenge": Agent(x=42, y=43, y_up=True, jump=(86, 0, 19), furthest=15),
    # 0x1D is 1 while he jumps or swims, 2 while he falls from a ledge.
    "mario": Agent(x=0x86, x_high=0x6D, jump=(0x1D, 1, 1)),
}
"""Agents by the game's name, as recordings and their files are called."""


def find_game(name: str, ram_bytes: int) -> str | None:
    """The game of a recording by its file's name (`000_Breakout_random_s0`) and memory.

    Args:
        name: of the file or of the game.
        ram_bytes: size of the memory; 2048 is Super Mario Bros., the only console game.

    Returns:
        A key of `AGENTS`, None for a game without.
    """
    if ram_bytes == 2048:
        return "mario"
    known = {game.casefold(): game for game in AGENTS}
    parts = name.removeprefix("ALE/").removesuffix("-v5").casefold().split("_")
    return next((known[part] for part in parts if part in known and part != "mario"), None)


def effective_actions(ram: Ram, frame_seconds: Seconds, step_seconds: Seconds, game: str) -> Labels:
    """What the agent did in each step: the signs of its movement, or that it jumps.

    Args:
        ram: memory after each frame `(n, bytes)`.
        frame_seconds: time of each frame `(n,)`, rising.
        step_seconds: beginnings of the steps and the end of the last one `(k + 1,)`; each is
            read at the frame nearest in time.
        game: a key of `AGENTS`.

    Returns:
        `(k,)`, indices of `ACTIONS`, or `UNKNOWN`.

    Raises:
        ValueError: for a game that is not known.
    """
    if game not in AGENTS:
        raise ValueError(f"no agent of {game} is known; there are {', '.join(AGENTS)}")
    agent = AGENTS[game]
    at = nearest(frame_seconds, step_seconds)
    memory = ram[at].astype(np.int64)
    x, y = position(memory, agent)
    moved_x, moved_y = np.diff(x), np.diff(y)
    side, height = 1 + bridged(np.sign(moved_x)), 1 + bridged(np.sign(moved_y))
    if agent.jump is not None:
        address, first, last = agent.jump
        # In the air at the end of a step is in the air in it: a jump begins with its press.
        in_air = (memory[1:, address] >= first) & (memory[1:, address] <= last)
        height = np.where(in_air, JUMP, height)
    elsewhere = np.maximum(np.abs(moved_x), np.abs(moved_y)) > agent.furthest
    return np.where(elsewhere, UNKNOWN, 3 * height + side)


def nearest(times: Seconds, wanted: Seconds) -> NDArray[np.int64]:
    """Index of the time nearest to each wanted one; the earlier of two that are as near."""
    after = np.clip(np.searchsorted(times, wanted), 1, max(1, len(times) - 1))
    after = np.minimum(after, len(times) - 1)
    before = np.maximum(after - 1, 0)
    later = times[after] - wanted < wanted - times[before] - 1e-9
    return np.where(later, after, before).astype(np.int64)


def position(memory: Labels, agent: Agent) -> tuple[Labels, Labels]:
    """Pixels to the right and downwards `(n,)`, 0 where the game has but one way to move."""
    nowhere = np.zeros(len(memory), np.int64)
    x = nowhere if agent.x is None else memory[:, agent.x]
    if agent.x_high is not None:
        x = x + 256 * memory[:, agent.x_high]
    y = nowhere if agent.y is None else memory[:, agent.y]
    return x, -y if agent.y_up else y


def bridged(signs: Labels, pause: int = PAUSE) -> Labels:
    """Signs `(k,)` with stops of at most `pause` steps between movements to one side filled in."""
    filled = signs.copy()
    moving = np.flatnonzero(signs)
    for left, right in pairwise(moving):
        if right - left <= pause + 1 and signs[left] == signs[right]:
            filled[left:right] = signs[left]
    return filled


def boundaries(actions: Labels, step_seconds: Seconds) -> Seconds:
    """Times at which one effective action follows another; unknown steps go on with the last.

    Args:
        actions: of each step `(k,)`.
        step_seconds: beginnings of the steps `(k,)` or with the end of the last one `(k + 1,)`.
    """
    known = np.flatnonzero(actions != UNKNOWN)
    changes = known[1:][np.diff(actions[known]) != 0]
    return np.asarray(step_seconds[changes], np.float64)


def segment_actions(
    actions: Labels, step_seconds: Seconds, starts: Seconds, ends: Seconds
) -> Labels:
    """The effective action that takes most of each segment, `UNKNOWN` where none is known.

    Args:
        actions: of each step `(k,)`.
        step_seconds: beginnings of the steps and the end of the last one `(k + 1,)`.
        starts: of the segments in seconds `(s,)`.
        ends: likewise.
    """
    middles = (step_seconds[1:] + step_seconds[:-1]) / 2
    found = np.full(len(starts), UNKNOWN, np.int64)
    for segment, (start, end) in enumerate(zip(starts, ends, strict=True)):
        inside = actions[(middles >= start) & (middles < end) & (actions != UNKNOWN)]
        if len(inside):
            found[segment] = np.bincount(inside).argmax()
    return found
