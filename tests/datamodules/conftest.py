"""Streams read without a trainer, and small environments to play."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import islice
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from datamodules import AleStreamDataModule, IterableDataModule

FIVE = ["Breakout", "Assault", "SpaceInvaders", "Pacman", "Asteroids"]
Batch = dict[str, Any]


def read_stream(data: IterableDataModule, count: int) -> list[Batch]:
    """The next training batches as the model gets them, on the CPU."""
    return [data.on_after_batch_transfer(b, 0) for b in islice(data.train_dataloader(), count)]


@pytest.fixture
def read() -> Callable[[IterableDataModule, int], list[Batch]]:
    return read_stream


@pytest.fixture
def five_games() -> Callable[..., AleStreamDataModule]:
    """One stream of each default game, small."""

    def make(**options: Any) -> AleStreamDataModule:
        return AleStreamDataModule(**{"games": FIVE, "streams": 5, "size": (42, 36)} | options)

    return make


@pytest.fixture
def equal() -> Callable[[list[Batch], list[Batch]], bool]:
    """Whether two stretches of streams are alike bit for bit."""

    def compare(ones: list[Batch], others: list[Batch]) -> bool:
        names = ("frame", "action", "episode_start", "source", "frame_index", "seconds")
        return len(ones) == len(others) and all(
            torch.equal(one[name], other[name])
            for one, other in zip(ones, others, strict=True)
            for name in names
        )

    return compare


@pytest.fixture
def stored() -> Callable[[Any], Any]:
    """What comes back of a position that went through a checkpoint file."""

    def through_file(position: Any) -> Any:
        file = io.BytesIO()
        torch.save(position, file)
        file.seek(0)
        return torch.load(file, weights_only=True)

    return through_file


class Walker(gym.Env):
    """A white square walks at random, drawn afresh; an episode lasts 9 steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, continuous: bool = False) -> None:
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(0, 1, (2,))
        self.action_space = (
            gym.spaces.Box(-1, 1, (2,)) if continuous else gym.spaces.Discrete(4, start=-1)
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.steps = self.np_random.random(2), 0
        return self.place, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        move = 0.05 * np.resize(action, 2) + 0.1 * self.np_random.standard_normal(2)
        self.place = np.clip(self.place + move, 0, 1)
        self.steps += 1
        return self.place, 0.0, self.steps == 9, False, {}

    def render(self) -> Any:
        picture = np.zeros((24, 32, 3), np.uint8)
        row, column = (self.place * (20, 28)).astype(int)
        picture[row : row + 4, column : column + 4] = 255
        return picture


class Mortal(Walker):
    """Dies in the third step of each episode."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.steps == 2:
            raise RuntimeError("the game crashed\nat address 0")
        return super().step(action)


@pytest.fixture(scope="session", autouse=True)
def environments() -> None:
    gym.register("Walker-v0", entry_point=Walker)
    gym.register("FreeWalker-v0", entry_point=Walker, kwargs={"continuous": True})
    gym.register("Mortal-v0", entry_point=Mortal)
