"""Packets of cubes: exact, each for itself, small where codes are foreseen, the same for ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lit_modules.codec.indices import IndexTables, contexts
from lit_modules.codec.packets import UNKNOWN, CubeCoder, Lattice

GOLDEN = Path(__file__).parents[2] / "golden/codec/cube_packets.bin"


def tables(codebooks: int = 3, size: int = 16) -> IndexTables:
    """Counts by a formula, in no need of a generator."""
    made = IndexTables(codebooks, size)
    number = torch.arange(made.counts.numel(), dtype=torch.int64)
    made.counts.copy_((number * number % 97 % 31).view_as(made.counts))
    return made


def group(grid: tuple[int, int, int] = (4, 6, 8), quality: int = 3) -> tuple[np.ndarray, ...]:
    number = np.arange(np.prod(grid)).reshape(grid)
    operations = number * number % 11 % (quality + 2)
    operations[0] = 2 + operations[0] % quality
    codes = (number[..., None, None] * np.arange(1, 13).reshape(4, 3)) ** 2 % 101 % 16
    used = np.arange(3) < (operations - 1).clip(0)[..., None, None]
    return operations, codes * used


@pytest.mark.parametrize("quality", [1, 2, 3])
def test_decode_inverts_encode(quality: int) -> None:
    operations, codes = group(quality=quality)
    coder, lattice = CubeCoder(tables().rows(), quality), Lattice(operations.shape)
    packets = coder.encode(operations, codes, lattice)
    again, found = coder.decode(packets, lattice, 4)
    assert np.array_equal(again, operations)
    assert np.array_equal(found, codes)


def test_lost_packets_cost_their_own_cubes_alone() -> None:
    operations, codes = group()
    coder, lattice = CubeCoder(tables().rows(), 3), Lattice(operations.shape)
    packets = list(coder.encode(operations, codes, lattice))
    packets[2] = packets[5] = None
    again, found = coder.decode(packets, lattice, 4)
    lost = np.isin(lattice.packet, [2, 5])
    assert (again[lost] == UNKNOWN).all()
    assert np.array_equal(again[~lost], operations[~lost])
    assert np.array_equal(found[~lost], codes[~lost])


def test_cubes_beside_each_other_travel_apart() -> None:
    packet = Lattice((6, 8, 8)).packet
    for step in [(0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0)]:
        far = tuple(slice(s, None) for s in step)
        near = tuple(slice(None, -s or None) for s in step)
        assert (packet[far] != packet[near]).all()
    assert (packet[2:] == packet[:-2]).all()
    assert (np.bincount(packet.ravel()) == packet.size / 8).all()


def test_packets_are_those_of_the_format() -> None:
    operations, codes = group()
    packets = CubeCoder(tables().rows(), 3).encode(operations, codes, Lattice(operations.shape))
    expected = GOLDEN.read_bytes()
    assert b"".join(len(p).to_bytes(2, "little") + p for p in packets) == expected


def test_any_bytes_decode_to_some_cubes_or_a_clear_error() -> None:
    coder, lattice = CubeCoder(tables().rows(), 3), Lattice((4, 6, 8))
    rng = np.random.default_rng(0)
    for length in (*range(9), 40, 400):
        data = rng.integers(0, 256, length, np.uint8).tobytes()
        packets = [data] * 8
        if length % 4:
            with pytest.raises(ValueError, match="multiple of 4"):
                coder.decode(packets, lattice, 4)
        else:
            operations, codes = coder.decode(packets, lattice, 4)
            assert operations.min() >= 0
            assert operations.max() <= 4
            assert codes.max() < 16


def test_counts_are_those_of_each_code_after_its_context() -> None:
    made, generator = IndexTables(3, 5), torch.Generator().manual_seed(0)
    indices = torch.randint(5, (20, 4, 3), generator=generator)
    depth = torch.arange(20) % 3 + 1
    made.count(indices, depth, step=0)
    expected = torch.zeros(3, 6, 5, dtype=torch.int32)
    for cube in range(20):
        for part in range(4):
            for stage in range(int(depth[cube])):
                code = indices[cube, part, stage]
                before = indices[cube, part, stage - 1] if stage else indices[cube, part - 1, 0]
                before = torch.tensor(5) if part == stage == 0 else before
                expected[stage, before, code] += 1
    assert torch.equal(made.counts, expected)


def test_frequencies_are_whole_and_exact_as_floats() -> None:
    made = tables()
    made.counts[0, 0, 0] = 2**30
    rows = made.rows()
    assert (rows >= 1).all()
    assert np.array_equal(rows, np.floor(rows))
    assert (rows.astype(np.float64).sum(-1) < 2**24).all()


def test_foreseen_codes_take_few_bits() -> None:
    made = IndexTables(2, 64)
    codes = np.full((2, 16, 16, 4, 2), 9)
    depth = torch.full((512,), 2)
    for step in range(20):
        made.count(torch.from_numpy(codes).flatten(0, 2), depth, step)
    operations = np.full((2, 16, 16), 3)
    lattice = Lattice(operations.shape)
    packets = CubeCoder(made.rows(), 2).encode(operations, codes, lattice)
    assert sum(map(len, packets)) * 8 < 0.2 * codes.size


def test_contexts_of_training_are_those_of_coding() -> None:
    _, codes = group()
    flat = torch.from_numpy(codes).flatten(0, 2)
    context = contexts(flat, 16)
    coder = CubeCoder(tables().rows(), 3)
    everything = np.full(len(flat), 4)
    for part, stage, used, found in coder._passes(everything, flat.numpy()):
        assert np.array_equal(context[used, part, stage].numpy(), found)
