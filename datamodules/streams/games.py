"""Names of games and which of them a stream plays when."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from ale_py import ALEInterface, LoggerMode, roms

DEFAULT_GAMES = ("Breakout", "Assault", "SpaceInvaders", "Pacman", "Asteroids")
EXAMPLE = "name an Atari game such as Breakout, or the id of a gymnasium environment"

# What numbers are drawn for. (Without it keys that differ by trailing zeros would draw alike.)
PLAY, DRAW, EMULATOR = 1, 2, 3


class Game(NamedTuple):
    """A game by the name that is shown, and where it comes from."""

    name: str
    rom: str | None
    """Name of the ROM; None where `name` is the id of another gymnasium environment."""


class Playlist(NamedTuple):
    """Which game a stream plays at its n-th turn.

    Args:
        games: the games to play in turn, or to draw from.
        random: draw each turn from (seed, stream, turn) instead.
        seed: seed of the draw.
    """

    games: tuple[Game, ...]
    random: bool
    seed: int

    def game(self, stream: int, turn: int) -> Game:
        """Stream i begins with the i-th game; each turn moves on by one."""
        if self.random:
            return self.games[generator(self.seed, DRAW, stream, turn).integers(len(self.games))]
        return self.games[(stream + turn) % len(self.games)]


def playlist(games: str | Sequence[str], seed: int) -> Playlist:
    """Reads `data.games`: a name, several names, or `random` for draws among the default five.

    Raises:
        ValueError: if a game is not known, with names that come close.
    """
    if games == "random":
        return Playlist(tuple(find_game(name) for name in DEFAULT_GAMES), True, seed)
    names = [games] if isinstance(games, str) else list(games)
    if not names:
        raise ValueError("no game is named; set data.games to a name such as Breakout")
    return Playlist(tuple(find_game(name) for name in names), False, seed)


def find_game(name: str) -> Game:
    """`Breakout`, `ALE/Breakout-v5`, `breakout`, or the id of any gymnasium environment.

    Raises:
        ValueError: if nothing of that name can be played.
    """
    known = ale_games()
    folded = {name.casefold(): name for name in known} | {rom: name for name, rom in known.items()}
    bare = re.sub(r"^ALE/|(NoFrameskip|Deterministic)?-v\d+$", "", name).casefold()
    spec = gym.registry.get(name)
    if spec is not None and "ale_py" not in str(spec.entry_point):
        return Game(name, None)
    if bare in folded:
        return supported(folded[bare], known[folded[bare]])
    if ":" in name:  # `package:Id-v0`: gymnasium imports the package, which registers the id
        return Game(name, None)
    folded |= {known_id.casefold(): known_id for known_id in gym.registry if "/" not in known_id}
    close = [folded[match] for match in difflib.get_close_matches(bare, folded, n=3)]
    hint = f"did you mean {' or '.join(dict.fromkeys(close))}?" if close else EXAMPLE
    raise ValueError(f"unknown game {name}; {hint}")


def supported(name: str, rom: str) -> Game:
    """The game, if its ROM can be played alone: loading any other ends the whole process."""
    path = roms.get_rom_path(rom)
    if path is None or ALEInterface.isSupportedROM(str(path)) is None:
        raise ValueError(f"ale-py cannot play {name}; choose another game in data.games")
    return Game(name, rom)


@cache
def ale_games() -> dict[str, str]:
    """CamelCase name of each ROM that comes with ale-py."""
    ALEInterface.setLoggerMode(LoggerMode.Error)
    return {"".join(map(str.title, rom.split("_"))): rom for rom in roms.get_all_rom_ids()}


def generator(seed: int, purpose: int, *key: int) -> np.random.Generator:
    """A generator of its own for each purpose and key."""
    return np.random.default_rng([seed, purpose, *key])


def rng_state(rng: np.random.Generator) -> dict[str, Any]:
    """State as plain strings and integers."""
    return dict(rng.bit_generator.state)
