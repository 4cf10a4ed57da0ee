"""Randomness that belongs to a sample, whatever rank, batch or worker it falls to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

MASK = (1 << 64) - 1
GOLDEN_GAMMA = 0x9E3779B97F4A7C15
HELD_OUT = 1_000_003
"""Added to the seed wherever nothing is learned, so that no draw of the training comes again."""


class SampleNoise:
    """Gives each sample of a run its own generators, seeded from (seed, sample) alone.

    So 2 ranks with batch b draw what 1 rank with 2b draws, and a resumed run what an uninterrupted
    one does, with no state to save. A generator draws on the device where its numbers are used; CPU
    and CUDA generators of one seed differ.

    Args:
        seed: seed of the run, any integer.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def generators(
        self, samples: Tensor | Sequence[int], device: torch.device | str | None = None
    ) -> list[Generator]:
        """Return a fresh generator for each sample.

        Args:
            samples: running numbers of the samples in the run, `(b,)`; on a GPU reading them waits
                for it.
            device: where the generators draw; that of `samples` if absent.
        """
        if isinstance(samples, Tensor):
            device = samples.device if device is None else device
            samples = samples.tolist()
        stream = splitmix64(self.seed)
        return [
            Generator(device or "cpu").manual_seed(splitmix64(stream + sample * GOLDEN_GAMMA))
            for sample in samples
        ]

    @staticmethod
    def normal(generators: Sequence[Generator], shape: Sequence[int] = ()) -> Tensor:
        """Standard normal float32 `(b, *shape)`, one row from each generator, on its device."""
        rows = [torch.randn(tuple(shape), generator=g, device=g.device) for g in generators]
        return torch.stack(rows)

    @staticmethod
    def uniform(generators: Sequence[Generator], shape: Sequence[int] = ()) -> Tensor:
        """Float32 `(b, *shape)` in [0, 1), one row from each generator, on its device."""
        rows = [torch.rand(tuple(shape), generator=g, device=g.device) for g in generators]
        return torch.stack(rows)


def splitmix64(state: int) -> int:
    """Mixes 64 bits: one step of the generator that others are seeded with.

    Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number Generators", figure 17, with
    Stafford's variant 13 of the constants.

    Args:
        state: any integer; the lowest 64 bits count.

    Returns:
        An integer in [0, 2^64), a different one for each state.
    """
    z = (state + GOLDEN_GAMMA) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)
