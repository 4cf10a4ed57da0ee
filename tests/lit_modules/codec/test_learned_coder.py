"""Groups through a codec's packets: the same everywhere, whole or with losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_codec import game, small

from lit_modules.codec.learned import LearnedCoder
from lit_modules.codec.shared import Shared, from_steps, to_steps, unpack


def psnr(made: np.ndarray, true: np.ndarray) -> float:
    return float(-10 * np.log10(np.square((made - true.astype(float)) / 255).mean() + 1e-9))


@pytest.mark.parametrize("shape", [(8, 32, 48), (5, 40, 100), (1, 7, 9), (3, 33, 31)])
def test_decoded_frames_are_those_that_the_encoder_foresaw(shape: tuple[int, int, int]) -> None:
    coder, frames = LearnedCoder(small(), 3), game(3, shape[0], shape[1:])
    shared, packets, foreseen = coder.encode(frames)
    decoded, concealed = coder.decode_group(shared, packets)
    assert decoded.shape == (*shape, 3)
    assert np.array_equal(decoded, foreseen)
    assert concealed.shape == tuple(-(-n // unit) for n, unit in zip(shape, (2, 8, 8), strict=True))
    assert not concealed.any()


def test_bytes_and_pixels_do_not_hang_on_threads() -> None:
    coder, frames = LearnedCoder(small(), 3), game(3, 8, (48, 64))
    before, made = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            shared, packets = coder.encode_group(frames)
            made.append((shared, packets, coder.decode_group(shared, packets)[0].tobytes()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert made[0] == made[1]


def test_a_group_is_coded_alike_whatever_was_coded_before() -> None:
    coder, groups = LearnedCoder(small(), 2), [game(seed, 4) for seed in range(8)]
    together = [coder.encode_group(frames) for frames in groups]
    assert together == [LearnedCoder(small(), 2).encode_group(frames) for frames in groups]


def test_more_codebooks_show_more_and_take_more() -> None:
    module, frames = small(acting=False), game(11, 8)
    figures = []
    for quality in (1, 2, 3):
        coder = LearnedCoder(module, quality)
        shared, packets = coder.encode_group(frames)
        decoded, _ = coder.decode_group(shared, packets)
        figures.append((psnr(decoded, frames), sum(map(len, packets))))
    assert figures == sorted(figures)
    assert figures[0][0] + 1 < figures[2][0]


def test_a_file_is_decoded_at_its_own_quality() -> None:
    module, frames = small(), game(2, 4)
    shared, packets, foreseen = LearnedCoder(module, 1).encode(frames)
    assert np.array_equal(LearnedCoder(module, 3).decode_group(shared, packets)[0], foreseen)


def test_still_and_scrolling_pictures_take_few_bytes() -> None:
    coder = LearnedCoder(small(acting=False), 3)
    still, scrolling = game(4, 1).repeat(16, 0), game(4, 16)
    noise = np.random.default_rng(0).integers(0, 256, still.shape, np.uint8)
    sizes = [sum(map(len, coder.encode_group(frames)[1])) for frames in (still, scrolling, noise)]
    assert 3 * sizes[0] < sizes[2]
    assert max(sizes[:2]) < sizes[2] / 2


@pytest.mark.parametrize("known", [True, False])
def test_lost_packets_are_filled_and_told(known: bool) -> None:
    coder, frames = LearnedCoder(small(acting=False), 3), game(5, 9, (64, 96))
    shared, packets = coder.encode_group(frames[1:])
    damaged: list[bytes | None] = list(packets)
    damaged[3] = None
    before = frames[0] if known else None
    made, concealed = coder.decode_group(shared, damaged, before)
    assert concealed.mean() == pytest.approx(1 / 8)
    where = concealed.repeat(2, 0).repeat(8, 1).repeat(8, 2)
    grey = np.full(frames.shape[1:], 128, np.uint8)[None].repeat(8, 0)
    assert psnr(made[where], frames[1:][where]) > psnr(grey[where], frames[1:][where]) + 3
    if known:
        frozen = frames[:1].repeat(8, 0)
        assert psnr(made, frames[1:]) > psnr(frozen, frames[1:]) + 3


def test_nothing_but_the_head_still_decodes() -> None:
    coder = LearnedCoder(small(), 3)
    shared, packets = coder.encode_group(game(5, 4))
    made, concealed = coder.decode_group(shared, [None] * len(packets))
    assert made.shape == (4, 32, 48, 3)
    assert concealed.all()


def test_state_goes_into_the_file_and_into_the_picture() -> None:
    module, frames = small(), game(6, 8)
    state = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
    shared, packets, foreseen = LearnedCoder(module, 3).encode(frames, state)
    decoded, _ = LearnedCoder(module, 3).decode_group(shared, packets)
    assert np.array_equal(decoded, foreseen)
    kept = unpack(shared, 4).state
    assert kept is not None
    np.testing.assert_allclose(from_steps(kept), state, atol=1 / 32_767)
    without, _, _ = LearnedCoder(module, 3).encode(frames)
    assert len(without) < len(shared)


def test_head_packs_and_unpacks() -> None:
    rng = np.random.default_rng(0)
    moves = rng.integers(-16, 17, (8, 2)).astype(np.int8)
    state = to_steps(rng.uniform(-1, 1, (7, 5)).astype(np.float32))
    again = unpack(Shared((7, 30, 50), 3, 8, moves, state).pack(), 4)
    assert again[:3] == ((7, 30, 50), 3, 8)
    assert np.array_equal(again.moves, moves)
    assert np.array_equal(again.state, state)


def test_damaged_heads_are_refused_and_take_no_memory() -> None:
    good = Shared((8, 32, 48), 3, 8, np.zeros((8, 2), np.int8), None).pack()
    for data in (b"", good[:5], good[:14], b"\xff" * 40, good[:12] + b"\x00" * 20):
        with pytest.raises(ValueError, match=r"group|state"):
            unpack(data, 4)


@pytest.mark.parametrize(
    ("module", "quality", "message"),
    [
        (lambda: small(), 4, "quality 4 must be 1 to 3"),
        (lambda: small(), 0, "quality 0"),
    ],
)
def test_quality_beyond_the_model_is_refused(module, quality: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LearnedCoder(module(), quality)


def test_another_models_file_is_refused() -> None:
    frames = game(1, 4)
    shared, packets = LearnedCoder(small(), 3).encode_group(frames)
    with pytest.raises(ValueError, match="3 codebooks"):
        LearnedCoder(small(codebooks=2), 2).decode_group(shared, packets)
    with pytest.raises(ValueError, match="7 packets where"):
        LearnedCoder(small(), 3).decode_group(shared, packets[:7])
