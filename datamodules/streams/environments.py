"""One environment each: an Atari game by its emulator, or any other by gymnasium."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from ale_py import ALEInterface, ALEState, LoggerMode, roms
from numpy.typing import NDArray

from datamodules.streams.chunks import Snapshot
from datamodules.streams.games import Game, rng_state

Policy = Callable[[NDArray[np.uint8], int, np.random.Generator], int]
"""Chooses an action from the native frame, the number of actions and the stream's generator."""

NOOP, RESET = 0, -1
EMULATED_FPS = 60.0
MAX_EPISODE_FRAMES = 108_000  # as gymnasium registers the v5 games: half an hour of play


def random_policy(frame: NDArray[np.uint8], actions: int, rng: np.random.Generator) -> int:
    """Each action alike."""
    return int(rng.random() * actions)  # `integers` takes four times as long


class Environment(ABC):
    """A game in play. Each method may raise whatever the game's own code raises."""

    actions: int
    """Number of actions."""
    screen: NDArray[np.uint8]
    """The last frame: palette indices `(h, w)` or RGB `(h, w, 3)`."""
    seconds: float
    """Time of the last frame in its episode."""
    palette: NDArray[np.int32] | None = None

    @abstractmethod
    def reset(self, rng: np.random.Generator, remember: bool = False) -> None:
        """Begins an episode; `remember` that a snapshot is asked for next."""

    @abstractmethod
    def step(self, action: int, rng: np.random.Generator, remember: bool = False) -> bool:
        """Plays one frame; True if the episode is over with it."""

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """The state after the last frame."""

    @abstractmethod
    def restore(self, snapshot: Snapshot, policy: Policy) -> None:
        """Goes back to a snapshot of the same game and seed."""

    def close(self) -> None:
        """Frees the game."""
        return


class AtariGame(Environment):
    """An emulator that hands out palette indices.

    Defaults of gymnasium's v5: minimal action set, and before each emulated frame the previous
    action sticks with probability 0.25 (Machado et al. 2018, section 5.2). The emulator's own
    sticky actions are off: they are not part of its saved state, so they could not be resumed.

    Args:
        rom: name of a supported ROM.
        seed: seed of the emulator.
        frame_skip: emulated frames a frame.
        sticky: probability that the previous action is repeated.
        colours: table `(256, 4)` of RGBX to fill in as colours are met.
    """

    def __init__(
        self, rom: str, seed: int, frame_skip: int, sticky: float, colours: NDArray[np.uint8]
    ) -> None:
        ALEInterface.setLoggerMode(LoggerMode.Error)
        self.ale = ALEInterface()
        self.ale.setInt("random_seed", seed)
        self.ale.setFloat("repeat_action_probability", 0.0)
        self.ale.setInt("max_num_frames_per_episode", MAX_EPISODE_FRAMES)
        self.ale.loadROM(str(roms.get_rom_path(rom)))
        self.frame_skip, self.sticky = frame_skip, sticky
        self._action_set = [action.value for action in self.ale.getMinimalActionSet()]
        self.actions = len(self._action_set)
        self.screen = np.empty(self.ale.getScreenDims(), np.uint8)
        self._colours = colours
        self.palette = colours.view(np.int32)[:, 0]
        self._unseen = np.ones(256, np.bool_)
        self._known = np.full_like(self.screen, 255)  # no pixel of a screen is odd
        self._executed, self._frames = NOOP, 0
        self._replay: int | None = None
        self._before: ALEState | None = None

    def reset(self, rng: np.random.Generator, remember: bool = False) -> None:
        """Begins an episode; the emulator's own state decides how."""
        if remember and self._replay is not None:
            self._before = self.ale.cloneState(include_rng=True)
        self._play(RESET)
        self._look()

    def step(self, action: int, rng: np.random.Generator, remember: bool = False) -> bool:
        """Plays `frame_skip` emulated frames, fewer where the episode ends; shows the last."""
        chosen = self._action_set[action]
        for _ in range(self.frame_skip):
            if remember:
                self._before = self.ale.cloneState(include_rng=True)
            self._play(self._executed if rng.random() < self.sticky else chosen)
            over = self.ale.game_over()
            if over:
                break
        self._look()
        return bool(over)

    def _play(self, action: int) -> None:
        self._replay = action
        if action == RESET:
            self.ale.reset_game()
            self._executed, self._frames = NOOP, 0
        else:
            self.ale.act(action)
            self._executed, self._frames = action, self._frames + 1

    def _look(self) -> None:
        """Takes the screen; learns from its RGB picture what a colour met first looks like."""
        self.ale.getScreen(self.screen)
        self.seconds = self._frames / EMULATED_FPS
        # Eight pixels at once, and only what has changed: 5 µs instead of 12 for a whole lookup.
        words, known = self.screen.view(np.int64), self._known.view(np.int64)
        if self._unseen[words[words != known].view(np.uint8)].any():
            self._colours[self.screen, :3] = self.ale.getScreenRGB()
            self._unseen[self.screen] = False
        np.copyto(self._known, self.screen)

    def snapshot(self) -> Snapshot:
        """The state one emulated frame ago and the action since; a fresh game has no state."""
        own = {"replay": self._replay, "frames": self._frames}
        if self._before is None:
            return own
        return {**own, "state": np.frombuffer(self._before.serialize(), np.uint8)}

    def restore(self, snapshot: Snapshot, policy: Policy) -> None:
        """Plays the last emulated frame again, because the screen is not in the state (ALE #417).

        Twice, because in a fresh emulator some games (Tetris, Qbert) go on correctly only where
        they have been running before. So all 104 ROMs are exact from the next frame on.
        """
        state = snapshot.get("state")
        for _ in range(1 if state is None else 2):
            if state is not None:
                self._before = ALEState(np.asarray(state).tobytes())
                self.ale.restoreState(self._before)
            self._play(snapshot["replay"])
        self._frames = snapshot["frames"]
        self._look()


class GymGame(Environment):
    """Any gymnasium environment that renders `rgb_array`.

    A discrete action is an index. For any other space the index, which counts to 2^31, is the seed
    of a sample. Resuming plays the episode again from its beginning.

    Args:
        env_id: id for `gymnasium.make`.
        frame_skip: steps a frame, with the same action.
    """

    def __init__(self, env_id: str, frame_skip: int) -> None:
        self.env = gym.make(env_id, render_mode="rgb_array", disable_env_checker=True)
        self.frame_skip = frame_skip
        space: Any = self.env.action_space
        discrete = isinstance(space, gym.spaces.Discrete)
        self.actions = int(space.n) if discrete else 2**31
        self._first = int(space.start) if discrete else None
        self.space = space
        self._fps = float(self.env.metadata.get("render_fps") or EMULATED_FPS)

    def reset(self, rng: np.random.Generator, remember: bool = False) -> None:
        """Begins an episode by a seed that the stream's generator draws."""
        self._begin(int(rng.integers(2**31)), rng_state(rng))

    def _begin(self, seed: int, state: dict[str, Any]) -> None:
        self._seed, self._state, self._frames, self._steps = seed, state, 0, 0
        self.env.reset(seed=seed)
        self._look()

    def step(self, action: int, rng: np.random.Generator, remember: bool = False) -> bool:
        """Takes `frame_skip` steps, fewer where the episode ends."""
        for _ in range(self.frame_skip):
            _, _, terminated, truncated, _ = self.env.step(self._choose(action))
            self._steps += 1
            over = terminated or truncated
            if over:
                break
        self._frames += 1
        self._look()
        return bool(over)

    def _choose(self, action: int) -> Any:
        if self._first is not None:
            return self._first + action
        self.space.seed(action)
        return self.space.sample()

    def _look(self) -> None:
        screen = np.asarray(self.env.render())
        if screen.dtype != np.uint8 or screen.ndim != 3 or screen.shape[2] != 3:
            raise TypeError(f"rendered {screen.dtype} {screen.shape}, not uint8 (h, w, 3)")
        self.screen = np.array(screen)  # a copy: an environment may draw into the same array again
        self.seconds = self._steps / self._fps

    def snapshot(self) -> Snapshot:
        """How the episode began and how many frames ago."""
        return {"seed": self._seed, "rng": self._state, "frames": self._frames}

    def restore(self, snapshot: Snapshot, policy: Policy) -> None:
        """Plays the episode again."""
        self._begin(snapshot["seed"], snapshot["rng"])
        rng = np.random.default_rng()
        rng.bit_generator.state = snapshot["rng"]
        for _ in range(snapshot["frames"]):
            self.step(policy(self.screen, self.actions, rng), rng)

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()


def open_game(
    game: Game, seed: int, frame_skip: int, sticky: float, colours: NDArray[np.uint8]
) -> Environment:
    """The game, not yet reset."""
    if game.rom is None:
        return GymGame(game.name, frame_skip)
    return AtariGame(game.rom, seed, frame_skip, sticky, colours)
