"""Times of frames come back to the last bit, and cost little where they are regular."""

from __future__ import annotations

import numpy as np
import pytest

from lit_modules.codec.container.fields import BitstreamError, signed, unsigned
from lit_modules.codec.container.timestamps import pack_seconds, unpack_seconds

RNG = np.random.default_rng(0)
FRAMES = np.arange(32, 64)
VIDEOS = {
    "30": (FRAMES / 30, 30.0),
    "29.97": (FRAMES * 1001 / 30000, 30000 / 1001),
    "23.976": (FRAMES * 1001 / 24000, 24000 / 1001),
    "12.5": (FRAMES / 12.5, 12.5),
    "60 told as 30": (FRAMES / 60, 30.0),
    "every second of 60": (2 * FRAMES / 60, 30.0),
}
ODD = {
    "milliseconds": (np.rint(FRAMES / 30 * 1000) / 1000, 30.0),
    "dropped": (np.delete(np.arange(32, 70), [3, 4, 20, 21, 22, 30]) / 30, 30.0),
    "late": (100.0 + FRAMES / 30, 30.0),
    "backwards": (FRAMES[::-1] / 30, 30.0),
    "before zero": (FRAMES / 30 - 2, 30.0),
    "jitter": (FRAMES / 30 + RNG.normal(size=32) * 1e-3, 30.0),
    "wild": (RNG.normal(size=32) * 10.0 ** RNG.integers(-300, 300, 32), 30.0),
    "minus zero": (np.array([-0.0, 0.0, -0.0]), 30.0),
    "greatest": (np.array([1.7e308, -1.7e308, 5e-324]), 30.0),
    "still": (np.zeros(32), 30.0),
    "NES": (FRAMES / 60.0988, 60.0988),
}


@pytest.mark.parametrize("name", VIDEOS | ODD)
@pytest.mark.parametrize("count", [1, 2, 3, 32])
def test_times_come_back_to_the_last_bit(name: str, count: int) -> None:
    seconds, fps = (VIDEOS | ODD)[name]
    seconds = np.ascontiguousarray(seconds[:count])
    packed = pack_seconds(seconds, 32, fps)
    assert unpack_seconds(packed, len(seconds), 32, fps).tobytes() == seconds.tobytes()
    assert len(packed) <= 1 + 8 * len(seconds)


@pytest.mark.parametrize("name", VIDEOS)
def test_regular_times_cost_three_bytes(name: str) -> None:
    seconds, fps = VIDEOS[name]
    assert len(pack_seconds(seconds, 32, fps)) == 3


def test_milliseconds_cost_about_a_byte_a_frame() -> None:
    seconds, fps = ODD["milliseconds"]
    assert len(pack_seconds(seconds, 32, fps)) <= 36


@pytest.mark.parametrize(
    "data",
    [
        b"",
        unsigned(99),
        unsigned(0) + bytes(7),
        unsigned(0) + np.array([np.nan] * 2).tobytes(),
        unsigned(0) + bytes(24),
        unsigned(1) + signed(1 << 61, 1 << 61),
        unsigned(1) + signed(1, 0, 0),
        unsigned(1) + b"\x80",
    ],
)
def test_bytes_that_hold_no_times_are_refused(data: bytes) -> None:
    with pytest.raises(BitstreamError):
        unpack_seconds(data, 2, 0, 30.0)
