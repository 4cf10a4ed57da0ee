"""The palette coder: what goes in comes out, in few bytes, whatever it is."""

from __future__ import annotations

import hashlib
import lzma
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scenes import COLOURS, coloured, indexed

from lit_modules.codec import BitstreamError
from lit_modules.codec.palette import pack, unpack
from lit_modules.codec.palette.bits import code_bit, finish, new_coder
from lit_modules.codec.palette.group import code
from lit_modules.codec.palette.logistic import LIMIT, tables
from lit_modules.codec.palette.planes import best_vector, new_planes

GOLDEN = Path(__file__).parents[2] / "golden/codec/palette.bin"
"""What version 1 writes; laid down once and for ever."""


def restored(frames: np.ndarray) -> np.ndarray:
    packed = pack(frames)
    assert packed is not None
    return unpack(packed, *frames.shape[:3])


@pytest.mark.parametrize("step", [0, 2, -3, 40])
def test_decoding_inverts_encoding(step: int) -> None:
    frames = coloured(step=step)
    assert np.array_equal(restored(frames), frames)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 300), (33, 7)])
@pytest.mark.parametrize("frames", [1, 3])
def test_any_size_is_exact(size: tuple[int, int], frames: int) -> None:
    video = np.random.default_rng(0).integers(0, 2, (frames, *size, 1), np.uint8) * np.uint8(255)
    assert np.array_equal(restored(video.repeat(3, 3)), video.repeat(3, 3))


@pytest.mark.parametrize("colours", [1, 2, 255, 256])
def test_any_number_of_colours_up_to_256_is_exact(colours: int) -> None:
    rng = np.random.default_rng(colours)
    palette = rng.permutation(1 << 12)[:colours]
    frames = palette[np.arange(2 * 32 * 32).reshape(2, 32, 32) // 3 % colours]
    frames = np.stack([frames & 255, frames >> 4, frames * 0], -1).astype(np.uint8)
    frames[..., 2] = frames[..., 0] ^ 5
    assert np.array_equal(restored(frames), frames)


def test_more_than_256_colours_are_left_to_others() -> None:
    ramp = np.arange(257, dtype=np.uint16)
    frame = np.stack([ramp % 256, ramp // 256, ramp * 0], -1).astype(np.uint8)
    assert pack(frame[None, None]) is None


def test_noise_takes_a_byte_a_pixel_and_no_room_is_noticed() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 32, 32), np.uint8)
    grey = noise[..., None].repeat(3, 3)
    packed = pack(grey)
    assert packed is not None
    assert len(packed) <= 1 + 3 * 256 + noise.size + 64
    assert np.array_equal(unpack(packed, 2, 32, 32), grey)
    room = np.empty(100, np.uint8)
    assert code(noise, room, 256, decoding=False) > len(room)


def test_scrolling_art_takes_less_than_half_of_lzma() -> None:
    frames = indexed(frames=24, size=(64, 96))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    rival = lzma.compress(frames.tobytes(), lzma.FORMAT_RAW, filters=filters)
    packed = pack(COLOURS[frames])
    assert packed is not None
    assert 2 * len(packed) < len(rival)


def test_bytes_are_the_same_in_every_thread_and_run() -> None:
    frames = coloured(frames=3)
    alone = pack(frames)
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(pack, [frames] * 3)) == {alone}


def test_foreign_bytes_give_frames_or_a_clear_error() -> None:
    packed = pack(coloured(frames=2, size=(16, 16)))
    assert packed is not None
    rng = np.random.default_rng(0)
    for _ in range(200):
        other = bytearray(packed)
        for place in rng.integers(0, len(other), 3):
            other[place] = rng.integers(256)
        other = other[: rng.integers(0, len(other) + 1)]
        try:
            assert unpack(bytes(other), 2, 16, 16).shape == (2, 16, 16, 3)
        except BitstreamError as error:
            assert "no palette" in str(error)


def test_bits_come_back_and_cost_their_information() -> None:
    rng = np.random.default_rng(0)
    chances = rng.choice([1, 300, 32768, 60000, 65535], 4000)
    bits = (rng.random(4000) * 65536 < chances).astype(int)
    data = np.zeros(4000, np.uint8)
    coder = new_coder(data, False)
    for bit, p in zip(bits, chances, strict=True):
        code_bit(coder, data, bit, p, False)
    count = finish(coder, data)
    given = np.where(bits, chances, 65536 - chances) / 65536
    assert count <= -np.log2(given).sum() / 8 + 8
    coder = new_coder(data[:count], True)
    assert [code_bit(coder, data[:count], 0, p, True) for p in chances] == bits.tolist()


def test_tables_are_the_logistic_function_and_its_inverse() -> None:
    squash, stretch = tables()
    odds = np.arange(-LIMIT, LIMIT + 1) / 256
    assert np.abs(squash - 65536 / (1 + np.exp(-odds))).max() <= 0.51
    assert np.abs(squash[stretch[1:-1] + LIMIT].astype(int) - np.arange(1, 65535)).max() <= 64
    # The same on every machine: the bitstream depends on each of them.
    digest = hashlib.sha256(squash.astype("<i4").tobytes() + stretch.astype("<i4").tobytes())
    assert digest.hexdigest()[:16] == "f471304e1e610b60"


def test_scroll_is_found() -> None:
    frames = indexed(frames=2, step=5)
    planes = new_planes(64, 80)
    planes.still[4:-4, 4:-4], planes.now[4:-4, 4:-4] = frames
    assert best_vector(planes.now, planes.still, np.zeros(2, np.int64)) == (0, 5)


def test_golden_group_is_packed_and_unpacked_alike() -> None:
    """Tiles by arithmetic; a score line stands, the rest scrolls by 3 pixels a frame."""
    number, row, column = np.indices((5, 24, 40))
    along = np.where(row < 8, column, column + 3 * number)
    index = ((row // 8 * 5 + along // 8) * 7 + (row % 8 ^ along % 8)) % 11
    palette = np.stack([np.arange(11) * k % 256 for k in (23, 91, 201)], -1).astype(np.uint8)
    packed = pack(palette[index])
    assert packed == GOLDEN.read_bytes()
    assert np.array_equal(unpack(packed, *index.shape), palette[index])
