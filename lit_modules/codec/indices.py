"""How likely codes are: integer tables that training counts, and the range coder that uses them.

The tables are integers from the first count to the file, and integers below 2^24 are exact as the
floats that `constriction` is given: what is coded on one machine is decoded on every other.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

AGE = 1000  # steps after which what was counted weighs half
LEAN = 24  # what is counted in any context weighs as much as this many codes in this very one
UNIT_BITS = 8  # of fractions of a count


class IndexTables(nn.Module):
    """Counts of codes in their contexts.

    The context of a code is the one that the codebook before it chose for the same part of a cube;
    that of a first code is the first code of the part before it in the cube.

    Args:
        codebooks: how many there are.
        size: codes of each.
    """

    counts: Tensor

    def __init__(self, codebooks: int, size: int) -> None:
        super().__init__()
        self.codebooks, self.size = codebooks, size
        # One context more than codes: there is none before the first part.
        self.register_buffer("counts", torch.zeros(codebooks, size + 1, size, dtype=torch.int32))

    @torch.no_grad()
    def count(self, indices: Tensor, depth: Tensor, step: int) -> None:
        """Counts the codes of a training step, over all ranks.

        Args:
            indices: int64 `(n, parts, codebooks)`.
            depth: how many count of each cube, int64 `(n,)`.
            step: number of the step.
        """
        before = contexts(indices, self.size)
        stage = torch.arange(self.codebooks, device=indices.device)
        keys = (stage * (self.size + 1) + before) * self.size + indices
        used = (stage < depth[:, None])[:, None].expand_as(keys)
        if dist.is_initialized():
            parts = [torch.empty_like(keys) for _ in range(dist.get_world_size())]
            dist.all_gather(parts, torch.where(used, keys, -1).contiguous())
            keys = torch.stack(parts)
            used = keys >= 0
        ones = torch.ones(1, dtype=self.counts.dtype, device=keys.device)
        chosen = keys[used]
        self.counts.view(-1).index_put_((chosen,), ones.expand(len(chosen)), accumulate=True)
        if step % AGE == AGE - 1:
            self.counts //= 2

    def rows(self) -> NDArray[np.float32]:
        """Frequencies of codes in each context, whole numbers, `(codebooks, size + 1, size)`.

        A context that was seen seldom leans on what occurs in any. None is 0, and each row's sum is
        below 2^24.
        """
        counts = self.counts.cpu().numpy().astype(np.int64)
        anywhere = counts.sum(1, keepdims=True)
        total = np.maximum(anywhere.sum(2, keepdims=True), 1)
        rows = (counts << UNIT_BITS) + (anywhere * (LEAN << UNIT_BITS) // total) + 1
        room = (1 << 24) - 1 - self.size
        scaled: NDArray[np.int64] = rows * room // rows.sum(2, keepdims=True) + 1
        return scaled.astype(np.float32)


def contexts(indices: Tensor, size: int) -> Tensor:
    """Context of each code, int64 `(..., parts, codebooks)` as the indices; `size` is none."""
    before = indices.roll(1, -1)
    before[..., 0] = indices[..., 0].roll(1, -1)
    before[..., 0, 0] = size
    return before
