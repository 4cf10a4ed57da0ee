"""The game state as numbers: what the console's RAM says, scaled to [-1, 1].

Addresses are those of the RAM map of Super Mario Bros. that players have worked out
(datacrystal.tcrf.net).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SMB_BYTES = 2048
LEVEL_WIDTH = 6144  # pixels: 24 screens of 256
ENEMIES = 5

Numbers = NDArray[np.float32]


class Entry(NamedTuple):
    """A number of the game state and the range of it that becomes [-1, 1]."""

    low: int
    """Address of its byte, or of its lower byte."""
    lowest: float
    highest: float
    high: int | None = None
    """Address of its higher byte."""
    signed: bool = False


PLAYER = {
    # Pixels from the start of the area.
    "player_x": Entry(0x86, 0, LEVEL_WIDTH, high=0x6D),
    # Pixels downwards; 256 is the top of the screen, 512 its bottom.
    "player_y": Entry(0xCE, 256, 512, high=0xB5),
    # In 1/16 pixel a frame; to the right is positive.
    "player_speed_x": Entry(0x57, -48, 48, signed=True),
    # In pixels a frame; down is positive.
    "player_speed_y": Entry(0x9F, -8, 8, signed=True),
    # 8 in play, 2 and 3 in a pipe, 4 at the flag pole, 6 dead, 9 and 12 grows, 10 shrinks, 11 dies.
    "player_state": Entry(0x0E, 0, 12),
    # 0 on the ground, 1 jumps or swims, 2 falls, 3 slides down the flag pole.
    "float_state": Entry(0x1D, 0, 3),
    # 0 small, 1 big, 2 throws fire.
    "power_up": Entry(0x756, 0, 2),
    # Pixels from the start of the area to the left edge of the screen, as the picture shows it.
    "camera_x": Entry(0x71C, 0, LEVEL_WIDTH, high=0x71A),
    # Counted from 0.
    "world": Entry(0x75F, 0, 7),
    "level": Entry(0x75C, 0, 3),
}
SCREEN_X = (0.0, 256.0)  # `player_screen_x`: player_x - camera_x
# `camera_y`: pixels from the top of the screen to that of the picture, which differ where a window
# is cut out; the game itself never moves its camera up or down.
CAMERA_Y = (0.0, 256.0)
# Pixels by which the frame scrolls. The console shows a frame while it reckons the next, so memory
# is that much ahead of the picture.
SCROLL = 0x775
TIMER, TIME = (0x7F8, 0x7F9, 0x7FA), (0.0, 400.0)  # hundreds, tens and ones that are left

# Of each enemy; addresses are those of the first, the other four follow byte by byte.
ENEMY_ON = 0x0F  # 0 where there is none; all its numbers are 0 then
ENEMY = {
    # 0 to 4 and 17 Koopas, 6 Goomba, 7 and 20 fly or swim, 13 piranha plant, 45 Bowser, ...
    "type": Entry(0x16, 0, 64),
    # Pixels from the left edge of the screen.
    "x": Entry(0x87, -64, 320, high=0x6E),
    # As `player_y`.
    "y": Entry(0xCF, 256, 512, high=0xB6),
}

STATE_NAMES: tuple[str, ...] = (
    *PLAYER,
    "player_screen_x",
    "camera_y",
    "timer",
    *(f"enemy{i}_{name}" for i in range(ENEMIES) for name in ("on", *ENEMY)),
)


def mario_state(ram: NDArray[np.uint8]) -> Numbers:
    """State of Super Mario Bros. in each frame.

    Args:
        ram: `(n, 2048)`.

    Returns:
        `(n, d)`, a column for each of `STATE_NAMES`. What lies outside its range is clipped.

    Raises:
        ValueError: if a RAM is not that of the console.
    """
    if ram.ndim != 2 or ram.shape[1] != SMB_BYTES:
        raise ValueError(
            f"ram {ram.shape} is not that of Super Mario Bros., (frames, {SMB_BYTES}); "
            "use plain_state for other games"
        )
    bytes_of = ram.astype(np.int32)
    camera = raw(bytes_of, PLAYER["camera_x"])
    numbers = {name: raw(bytes_of, entry) for name, entry in PLAYER.items()}
    numbers["camera_x"] = camera - bytes_of[:, SCROLL]
    columns = [scaled(numbers[name], entry.lowest, entry.highest) for name, entry in PLAYER.items()]
    columns.append(scaled(raw(bytes_of, PLAYER["player_x"]) - camera, *SCREEN_X))
    columns.append(scaled(np.zeros(len(ram), np.int32), *CAMERA_Y))
    columns.append(scaled(bytes_of[:, TIMER] @ (100, 10, 1), *TIME))
    for enemy in range(ENEMIES):
        on = bytes_of[:, ENEMY_ON + enemy] != 0
        columns.append(on.astype(np.float32))
        for name, entry in ENEMY.items():
            value = raw(bytes_of, entry, enemy) - (camera if name == "x" else 0)
            columns.append(on * scaled(value, entry.lowest, entry.highest))
    return np.stack(columns, axis=1)


def raw(ram: NDArray[np.int32], entry: Entry, offset: int = 0) -> NDArray[np.int32]:
    """The number `(n,)` as the game counts it."""
    value: NDArray[np.int32] = ram[:, entry.low + offset]
    if entry.signed:
        value = (value + 128) % 256 - 128
    return value if entry.high is None else value + 256 * ram[:, entry.high + offset]


def scaled(value: NDArray[np.int32], lowest: float, highest: float) -> Numbers:
    """The range to [-1, 1]."""
    share = (value - lowest) / (highest - lowest)
    return np.asarray(np.clip(2 * share - 1, -1, 1), np.float32)


def plain_state(ram: NDArray[np.uint8]) -> Numbers:
    """Any game's RAM `(n, bytes)` as it is, each byte in [0, 1]."""
    return np.divide(ram, 255, dtype=np.float32)
