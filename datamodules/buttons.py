"""The button byte: which buttons of a game pad are held down in a frame.

One bit a button, from the most significant: A, up, left, B, start, right, down, select (the order
of the smbdataset). Atari's joystick goes into the same byte, its fire button being A.
"""

from __future__ import annotations

import difflib
import re

JUMP, UP, LEFT, RUN, START, RIGHT, DOWN, SELECT = (128 >> bit for bit in range(8))

BITS = {
    "up": UP,
    "down": DOWN,
    "left": LEFT,
    "right": RIGHT,
    "run": RUN,
    "jump": JUMP,
    "start": START,
    "select": SELECT,
}
OTHER_NAMES = {"a": JUMP, "fire": JUMP, "b": RUN, "none": 0, "noop": 0}
EXAMPLE = "write for example right:30,right+jump:10"
MAX_FRAMES = 1 << 20  # nine hours at 30 FPS; a longer list is a slip of the keyboard


def parse(text: str) -> list[int]:
    """Reads a sequence of held buttons, such as `right:30,right+jump:10`.

    Args:
        text: items separated by commas. An item is a combination of names joined by `+`, or an
            integer 0 to 255 that is the byte itself, and after `:` for how many frames (1 if it
            is left out). Names: jump/a/fire, run/b, up, down, left, right, start, select,
            none/noop.

    Returns:
        One byte a frame.

    Raises:
        ValueError: for an unknown name, with names that come close, and for what is no number.
    """
    frames: list[int] = []
    for item in text.split(","):
        held, colon, count = (part.strip() for part in item.partition(":"))
        if colon and not (count.isdecimal() and 0 < int(count) <= MAX_FRAMES):
            raise ValueError(f"'{item.strip()}' is not held for a number of frames; {EXAMPLE}")
        byte = combination(held)
        frames += [byte] * int(count or 1)
        if len(frames) > MAX_FRAMES:
            raise ValueError(f"actions of more than {MAX_FRAMES} frames; {EXAMPLE}")
    return frames


def combination(held: str) -> int:
    """The byte of names joined by `+`, or of an integer."""
    if held.isdecimal():
        if int(held) > 255:
            raise ValueError(f"buttons {held} are no byte; give 0 to 255, or {EXAMPLE}")
        return int(held)
    known, byte = BITS | OTHER_NAMES, 0
    for name in held.split("+"):
        folded = name.strip().casefold()
        if folded not in known:
            close = difflib.get_close_matches(folded, known, n=2)
            hint = (
                f"did you mean {' or '.join(close)}?" if close else f"there are {' '.join(known)}"
            )
            raise ValueError(f"unknown button '{name.strip()}'; {hint}")
        byte |= known[folded]
    return byte


def names(byte: int) -> str:
    """What is held down, such as `right+run+jump`; `parse` reads it back."""
    return "+".join(name for name, bit in BITS.items() if byte & bit) or "none"


def from_ale(meaning: str) -> int:
    """The byte of an Atari action by its name, such as `UPRIGHTFIRE`.

    Raises:
        ValueError: if the name is none of the emulator's 18.
    """
    if meaning == "NOOP":
        return 0
    match = re.fullmatch(r"(UP|DOWN)?(LEFT|RIGHT)?(FIRE)?", meaning)
    if not meaning or match is None:
        raise ValueError(f"unknown Atari action '{meaning}'; there are NOOP, FIRE, UPFIRE, ...")
    return combination("+".join(filter(None, match.groups())))
