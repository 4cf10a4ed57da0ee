"""How much of a codebook is used: the health of a tokenizer in a few numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def count_codes(codes: Tensor, moving: Tensor, size: int) -> Tensor:
    """How often each code occurs: in the first row at all, in the second where something moves.

    Args:
        codes: int64 `(b, n)` in [0, size).
        moving: which tokens stand for motion, bool `(b, n)`.
        size: number of codes.

    Returns:
        int64 `(2, size)`.
    """
    some = codes[moving]
    return torch.stack([torch.bincount(part.flatten(), minlength=size) for part in (codes, some)])


def usage(counts: Tensor) -> dict[str, Tensor]:
    """Figures of one row of counts, `(size,)`.

    `perplexity`: as many codes used equally often would have the same entropy (1 to size; 0 where
    there are none); `perplexity_share` of all codes; `entropy` over that of equal use, in [0, 1];
    `unique` codes that occur at all, and `dead_share`, those that do not, of all.
    """
    size = counts.numel()
    total = counts.sum()
    share = counts.double() / total.clamp(min=1)
    entropy = -torch.special.xlogy(share, share).sum()
    perplexity = entropy.exp() * (total > 0)
    unique = (counts > 0).sum()
    figures = {
        "perplexity": perplexity,
        "perplexity_share": perplexity / size,
        "entropy": entropy / torch.tensor(float(size)).log().double(),
        "unique": unique,
        "dead_share": 1 - unique / size,
    }
    return {name: value.float() for name, value in figures.items()}


def usage_of_both(counts: Tensor) -> dict[str, Tensor]:
    """Figures of all tokens, and with `moving_` before their names those of the moving ones.

    Args:
        counts: int64 `(2, size)`, as of `count_codes`.
    """
    moving = {f"moving_{name}": value for name, value in usage(counts[1]).items()}
    return {**usage(counts[0]), **moving}
