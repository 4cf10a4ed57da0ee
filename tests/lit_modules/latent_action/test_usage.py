"""Use of a codebook, against brute force."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from lit_modules.latent_action.usage import count_codes, usage, usage_of_both


def brute_force(codes: list[int], size: int) -> dict[str, float]:
    shares = [n / len(codes) for n in Counter(codes).values()]
    entropy = -sum(p * math.log(p) for p in shares)
    return {
        "perplexity": math.exp(entropy),
        "perplexity_share": math.exp(entropy) / size,
        "entropy": entropy / math.log(size),
        "unique": len(set(codes)),
        "dead_share": 1 - len(set(codes)) / size,
    }


def test_figures_agree_with_brute_force() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 9, (30, 4), generator=generator) ** 2 % 15
    moving = torch.rand(30, 4, generator=generator) < 0.3
    figures = usage_of_both(count_codes(codes, moving, 15))
    expected = brute_force(codes.flatten().tolist(), 15)
    expected |= {f"moving_{k}": v for k, v in brute_force(codes[moving].tolist(), 15).items()}
    assert {name: float(value) for name, value in figures.items()} == pytest.approx(expected)


def test_equal_use_is_one_and_no_use_is_nothing() -> None:
    even = usage(torch.full((240,), 7))
    assert float(even["perplexity_share"]) == pytest.approx(1)
    assert float(even["entropy"]) == pytest.approx(1)
    none = usage(torch.zeros(240, dtype=torch.long))
    assert [float(none[name]) for name in ("perplexity", "unique", "dead_share")] == [0, 0, 1]
