"""Lossless groups: by palette or by a general codec, exact either way."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import coloured, photographed

from lit_modules.codec import BitstreamError, general
from lit_modules.codec.lossless import decode_group, encode_group, kind_of


@pytest.mark.parametrize("make", [coloured, photographed])
def test_decoding_inverts_encoding(make) -> None:
    frames = make(frames=3)
    shared, packets = encode_group(frames)
    assert shared == b""
    assert np.array_equal(decode_group(packets, *frames.shape[:3]), frames)
    assert kind_of(packets[0]) == ("palette" if make is coloured else "general")


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (7, 5), (2, 2), (33, 31)])
def test_general_codec_is_exact_for_any_size(size: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    assert np.array_equal(general.unpack(general.pack(frames), 2, *size), frames)


def test_general_codec_takes_whichever_is_smaller() -> None:
    still = photographed(frames=1).repeat(6, 0)
    noise = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    for frames in (still, noise):
        sizes = [len(general.encode(frames, coder)) for coder in general.CODERS]
        assert len(general.pack(frames)) == 1 + min(sizes)
    assert general.pack(still)[0] == 1  # H.264 says at once that nothing has changed


def test_foreign_packets_end_in_a_clear_error_or_in_frames() -> None:
    frames = photographed(frames=2, size=(16, 24))
    for coder in general.CODERS:
        packed = bytes([general.CODERS.index(coder)]) + general.encode(frames, coder)
        rng = np.random.default_rng(0)
        for _ in range(40):
            other = bytearray(packed)
            other[rng.integers(len(other))] ^= 1 << rng.integers(8)
            try:
                made = general.unpack(bytes(other[: rng.integers(1, len(other) + 1)]), 2, 16, 24)
            except BitstreamError:
                continue
            assert made.shape == frames.shape


def test_lost_packet_is_no_error_and_a_wrong_one_is() -> None:
    assert decode_group([None], 2, 8, 8) is None
    for packets in ([], [b"x", b"y"], [b""], [b"\x07abc"], [b"\x01"], [b"\x01\x09"]):
        with pytest.raises(BitstreamError):
            decode_group(packets, 2, 8, 8)
