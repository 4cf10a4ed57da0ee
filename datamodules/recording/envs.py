"""Environments to record: an episode becomes a row of frames with labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import gymnasium as gym
import numpy as np
from ale_py import Action
from numpy.typing import NDArray

from datamodules import buttons
from datamodules.recording.policies import sticky
from datamodules.streams.environments import EMULATED_FPS, AtariGame, GymGame
from datamodules.streams.games import EMULATOR, PLAY, Game, generator
from datamodules.video.decoder import Rgb

USUAL_FPS = 30.0

Report = Callable[[int, str], None]
"""Told how many frames of a recording are there and what is being done; may raise to end it."""


class Shot(NamedTuple):
    """One frame of a recording."""

    pixels: Rgb
    """Valid until the next one."""
    action: int | None
    """The byte of what was pressed while the frame was played; None where that is no byte."""
    ram: NDArray[np.uint8] | None


@dataclass
class Take:
    """One episode."""

    shots: Iterator[Shot]
    held: list[int] | None = None
    """Buttons of every emulated frame, also of those between the shots."""
    outcome: int | None = None
    """1 if the player failed, 2 if the level was won, 0 if it was cut; None where none is known."""


class Studio(ABC):
    """Where episodes are played."""

    fps: float
    """Frames a second of the recordings."""
    note = ""
    """What the user should know about them."""

    @abstractmethod
    def take(self, seed: int, level: str, frames: int, report: Report) -> Take:
        """One episode of at most so many frames."""


class AtariStudio(Studio):
    """An Atari game at its native size; buttons go into the byte by their names.

    Args:
        rom: name of a supported ROM.
        fps: frames a second; None is 30.
        stick: probability that an action stays for another emulated frame.
    """

    def __init__(self, rom: str, fps: float | None, stick: float) -> None:
        self.rom, self.stick = rom, stick
        self.skip, self.fps = stride(EMULATED_FPS, fps)

    def take(self, seed: int, level: str, frames: int, report: Report) -> Take:
        """Plays at random until the game is over."""
        return Take(self._play(seed))

    def _play(self, seed: int) -> Iterator[Shot]:
        emulator_seed = int(generator(seed, EMULATOR).integers(2**31))
        env = LoggedAtari(self.rom, emulator_seed, self.skip, 0.0, np.zeros((256, 4), np.uint8))
        rng = generator(seed, PLAY)
        env.reset(rng)
        yield env.shot(0)
        over = False
        for action in sticky(range(env.actions), self.stick**self.skip, rng):
            if over:
                return
            over = env.step(action, rng)
            yield env.shot(env.byte_of[action])


class LoggedAtari(AtariGame):
    """The emulator with its RAM and the names of its actions."""

    @property
    def byte_of(self) -> list[int]:
        """Button byte of each action."""
        return [buttons.from_ale(Action(value).name) for value in self._action_set]

    def shot(self, action: int) -> Shot:
        """The frame as it is."""
        return Shot(self.ale.getScreenRGB(), action, self.ale.getRAM())


class GymStudio(Studio):
    """Any gymnasium environment that renders `rgb_array`; the byte is the index of the action.

    Args:
        env_id: id for `gymnasium.make`.
        fps: frames a second; None is the whole fraction of the environment's own next to 30.
        stick: probability that an action stays for another frame.
    """

    def __init__(self, env_id: str, fps: float | None, stick: float) -> None:
        self.env, self.stick = GymGame(env_id, frame_skip=1), stick
        own = float(self.env.env.metadata.get("render_fps") or EMULATED_FPS)
        self.env.frame_skip, self.fps = stride(own, fps)
        self.labelled = isinstance(self.env.space, gym.spaces.Discrete) and self.env.actions <= 256
        if not self.labelled:
            self.note = f"actions of {env_id} are no bytes; so there are no labels"

    def take(self, seed: int, level: str, frames: int, report: Report) -> Take:
        """Plays at random until the episode is over."""
        return Take(self._play(seed))

    def _play(self, seed: int) -> Iterator[Shot]:
        env, rng = self.env, generator(seed, PLAY)
        env.reset(rng)
        yield Shot(env.screen, 0 if self.labelled else None, None)
        over = False
        for action in sticky(range(env.actions), self.stick, rng):
            if over:
                return
            over = env.step(action, rng)
            yield Shot(env.screen, action if self.labelled else None, None)


def open_studio(game: Game, fps: float | None, stick: float) -> Studio:
    """Where the game is recorded."""
    if game.rom is None:
        return GymStudio(game.name, fps, stick)
    return AtariStudio(game.rom, fps, stick)


def stride(own: float, fps: float | None) -> tuple[int, float]:
    """Every how many-th frame is kept, and the rate that comes of it.

    Raises:
        ValueError: if the environment's rate is no multiple of what is asked for.
    """
    every = max(1, round(own / (fps or USUAL_FPS)))
    rate = own / every
    if fps is not None and abs(rate - fps) > 0.01 * fps:
        rates = ", ".join(f"{own / n:g}" for n in range(1, 5))
        raise ValueError(f"fps {fps:g} is no whole fraction of {own:g}; choose one of {rates}, ...")
    return every, rate
