"""Super Mario Bros. in an emulator: any level from its start, the state of play, save states."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules import buttons
from datamodules.smb_format import FAIL, RAM_BYTES, WIN

EMULATED_FPS = 60  # 60.0988 Hz in truth; files of 60 or 30 FPS are what players expect
LEVELS = tuple(f"{world}-{level}" for world in range(1, 9) for level in range(1, 5))
INSTALL = "install the emulator and a ROM by: pip install -e .[mario]"
ROM = "_roms/super-mario-bros.nes"
PAD = ("RIGHT", "LEFT", "DOWN", "UP", "START", "SELECT", "RUN", "JUMP")  # the emulator's bits
BOOT_FRAMES = 1200  # the start takes 200; a ROM that has not begun by then is another game

# Addresses; see `ram_map`.
MODE, TASK, PLAYER_STATE, FLOAT_STATE, SWIMS = 0x770, 0x772, 0x0E, 0x1D, 0x704
WORLD, LEVEL, AREA = 0x75F, 0x75C, 0x760
PAGE, X, HEIGHT = 0x6D, 0x86, 0xB5
TITLE, PLAYING, VICTORY = 0, 1, 2  # values of MODE
IN_LEVEL = 3  # value of TASK while playing; the others load the level
# Values of PLAYER_STATE.
IN_PLAY, FLAG_POLE = 8, 4
PASSAGES = (1, 2, 3)  # on a vine, into a pipe from the side, from above
DEATHS = (6, 11)


class Place(NamedTuple):
    """Where the player stands."""

    x: int
    """Pixels from the start of the area."""
    stands: bool
    """On the ground or swimming, and moved by the pad."""
    led: bool
    """Moved by the game: through pipes, up vines, into areas."""
    passes: bool
    """In a pipe or on a vine, so that another area follows."""
    outcome: int
    """`FAIL` if the player is lost, `WIN` if the level is, 0 in play."""


class Mario:
    """An emulator that holds the game.

    Args:
        rom: file of the game; None takes that of an installed gym-super-mario-bros.

    Raises:
        ImportError: if there is no emulator, or no ROM is given or installed.
        ValueError: if the file is no ROM that the emulator can play.
    """

    def __init__(self, rom: str | Path | None = None) -> None:
        try:
            emulator = importlib.import_module("cynes")
        except ImportError as error:
            raise ImportError(f"recording mario needs the emulator cynes; {INSTALL}") from error
        path = find_rom() if rom is None else Path(rom)
        if not path.is_file():
            raise ValueError(f"there is no ROM {path}; give --rom the file of the game")
        try:
            self.console: Any = emulator.NES(str(path))
        except RuntimeError as error:
            raise ValueError(f"the emulator cannot play {path.name} ({error})") from error
        self.level = (0, 0)
        self._pad = np.array([pad_bits(byte) for byte in range(256)])
        self._power_on = self._switch_on()
        self._begun: dict[str, NDArray[np.uint8]] = {}
        self._ram_at = self._find_ram()

    def _switch_on(self) -> NDArray[np.uint8]:
        """The state at power-on, each time the same.

        The emulator (cynes 0.1.2) leaves to chance whether it holds a frame ready. Where it does
        the first step plays nothing and only takes the frame, one byte of the state.
        """
        before = self.save()
        self.console.step()
        after = self.save()
        return after if np.count_nonzero(after != before) <= 1 else before

    def _find_ram(self) -> int:
        """Place of the RAM in a save state, which is copied 600 times faster than byte by byte."""
        self.console.step(30)
        ram = bytes(self.console[address] for address in range(RAM_BYTES))
        return bytes(self.console.save()).index(ram)

    def begin(self, level: str) -> None:
        """Starts a level with a small player and three lives.

        Raises:
            ValueError: if the ROM never comes to it.
        """
        world, number = (int(part) - 1 for part in level.split("-"))
        self.level = (world, number)
        if level not in self._begun:
            self._begun[level] = self._start(world, number)
        self.load(self._begun[level])

    def _start(self, world: int, number: int) -> NDArray[np.uint8]:
        """From the title screen to the first frame of play; both counted from 0."""
        console = self.console
        console.load(self._power_on)  # a reset would keep the RAM
        for frame in range(BOOT_FRAMES):
            title = console[MODE] == TITLE and frame > 40  # earlier the game clears its RAM
            if title:
                console[WORLD], console[LEVEL] = world, number
                # In these worlds the walk into the second level is an area of its own.
                console[AREA] = number + (world + 1 in (1, 2, 4, 7) and number >= 1)
            # Pressed and let go, because only the change counts.
            console.controller = self._pad[buttons.START] if title and frame % 4 < 2 else 0
            console.step()
            begun = console[MODE] == PLAYING and console[TASK] == IN_LEVEL
            if begun and console[PLAYER_STATE] == IN_PLAY:
                return self.save()
        raise ValueError(
            f"level {world + 1}-{number + 1} does not begin; is the ROM that of Super Mario Bros.?"
        )

    def step(self, held: int) -> NDArray[np.uint8]:
        """Plays one emulated frame with these buttons; its picture `(240, 256, 3)`."""
        self.console.controller = self._pad[held]
        picture: NDArray[np.uint8] = self.console.step()
        return picture

    @property
    def ram(self) -> NDArray[np.uint8]:
        """What the game remembers, `(2048,)`."""
        state: NDArray[np.uint8] = self.console.save()
        return state[self._ram_at : self._ram_at + RAM_BYTES]

    @property
    def place(self) -> Place:
        """Where the player stands now."""
        console = self.console
        state, outcome = console[PLAYER_STATE], 0
        if state in DEATHS or console[HEIGHT] > 1:
            outcome = FAIL
        elif (
            state == FLAG_POLE
            or console[MODE] == VICTORY
            or (console[WORLD], console[LEVEL]) != self.level
        ):
            outcome = WIN
        return Place(
            console[PAGE] * 256 + console[X],
            state == IN_PLAY and (console[FLOAT_STATE] == 0 or self.swims),
            state != IN_PLAY,
            state in PASSAGES,
            outcome,
        )

    @property
    def swims(self) -> bool:
        """Whether the area is under water."""
        return bool(self.console[SWIMS])

    @property
    def gone(self) -> bool:
        """Whether the level has left the screen."""
        console = self.console
        mode, task = console[MODE], console[TASK]
        there = mode == VICTORY or (mode == PLAYING and task == IN_LEVEL)
        return not there or (console[WORLD], console[LEVEL]) != self.level

    def save(self) -> NDArray[np.uint8]:
        """Everything that what follows depends on, the picture excepted."""
        state: NDArray[np.uint8] = self.console.save()
        return state

    def load(self, state: NDArray[np.uint8]) -> None:
        """Goes back to a saved state."""
        self.console.load(state)


def pad_bits(byte: int) -> int:
    """Our button byte in the bits of the emulator."""
    return sum(1 << bit for bit, name in enumerate(PAD) if byte & getattr(buttons, name))


def find_rom() -> Path:
    """The ROM of an installed gym-super-mario-bros, which need not be importable."""
    spec = importlib.util.find_spec("gym_super_mario_bros")
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder, ROM)).is_file():
            return path
    raise ImportError(f"no ROM of Super Mario Bros. is found; give --rom FILE, or {INSTALL}")
