"""Times of frames in few bytes, exact to the last bit of a float64.

Times of a video are whole ticks of some clock. Where a clock is found that gives them exactly,
its ticks are stored by how their steps change, which is not at all in most videos.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from lit_modules.codec.container.fields import BitstreamError, Fields, signed

CLOCKS = (  # ticks a second; a file stores a clock's place in this list, after the frame rate's
    *(Fraction(rate) for rate in (1_000, 90_000, 1_000_000, 60, 1_000_000_000)),
    *(Fraction(rate, 1001) for rate in (24_000, 30_000, 60_000)),
)
PLAIN = 0  # instead of a clock: eight bytes a frame
MOST_TICKS = 1 << 42


def clocks(fps: float) -> list[Fraction]:
    """The clocks that are tried, that of the frame rate first (29.97… is 30000/1001)."""
    return [Fraction(fps).limit_denominator(1001), *CLOCKS]


def pack_seconds(seconds: NDArray[np.float64], first_frame: int, fps: float) -> bytes:
    """The times of a group's frames.

    Args:
        seconds: finite float64 `(n,)`, n at least 1.
        first_frame: number of the first frame in the video; times that begin with it cost least.
        fps: nominal frames a second.

    Returns:
        Three bytes where the frames come at the nominal rate, more the less regular they are.
    """
    packed = [bytes([PLAIN]) + seconds.astype("<f8").tobytes()]
    for place, clock in enumerate(clocks(fps), 1):
        with np.errstate(over="ignore"):
            ticks = np.rint(seconds * (clock.numerator / clock.denominator))
        if np.abs(ticks).max() < MOST_TICKS:
            whole = [int(tick) for tick in ticks]
            if on_clock(whole, clock).tobytes() == seconds.tobytes():
                packed.append(bytes([place]) + pack_ticks(whole, first_frame))
    return min(packed, key=len)


def unpack_seconds(data: bytes, count: int, first_frame: int, fps: float) -> NDArray[np.float64]:
    """The times `(count,)` that `pack_seconds` packed.

    Raises:
        BitstreamError: the bytes hold no finite times of `count` frames.
    """
    fields = Fields(data)
    kind = fields.unsigned(most=len(CLOCKS) + 1)
    if kind != PLAIN:
        ticks = unpack_ticks(fields, count, first_frame)
        return on_clock(ticks, clocks(fps)[kind - 1])
    seconds = np.frombuffer(fields.take(8 * count), "<f8").astype(np.float64)
    if fields.rest or not np.isfinite(seconds).all():
        raise BitstreamError(f"the times of {count} frames are not finite or too many")
    return seconds


def on_clock(ticks: list[int], clock: Fraction) -> NDArray[np.float64]:
    """Ticks in seconds; integers divide to the nearest float64, so every machine gets the same."""
    return np.array([tick * clock.denominator / clock.numerator for tick in ticks])


def pack_ticks(ticks: list[int], first_frame: int) -> bytes:
    """First step, how far the first tick is from where such steps lead, changes of the step."""
    steps = [after - before for before, after in pairwise(ticks)]
    step = steps[0] if steps else 1
    changes = [after - before for before, after in pairwise(steps)]
    while changes and changes[-1] == 0:
        changes.pop()
    return signed(step, ticks[0] - first_frame * step, *changes)


def unpack_ticks(fields: Fields, count: int, first_frame: int) -> list[int]:
    """The `count` ticks that `pack_ticks` packed."""

    def changes() -> Iterator[int]:
        for _ in range(count - 2):
            yield fields.signed() if fields.rest else 0

    step = fields.signed()
    first = fields.signed() + first_frame * step
    ticks = list(accumulate(accumulate(changes(), initial=step), initial=first))[:count]
    if fields.rest or max(map(abs, ticks)) >= MOST_TICKS:
        raise BitstreamError(f"the ticks of {count} frames are out of range or too many")
    return ticks
