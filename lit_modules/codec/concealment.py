"""What is taken for the operations of cubes whose packets are lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

from lit_modules.codec.packets import CODED, SHIFTED, STILL, UNKNOWN

AROUND = np.ones((3, 3, 3), np.int64)
AROUND[[0, 2]] = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]  # at other times the same place alone


def conceal(operations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Operations in which a lost cube repeats the frame before as most cubes around it do.

    Where most have codes, and in a group's first cubes, it stays unknown: the network makes it up
    from the cubes that it has.

    Args:
        operations: `(T, H, W)`, `UNKNOWN` where lost.
    """
    lost = operations == UNKNOWN
    votes = np.stack(
        [
            convolve(
                (np.minimum(operations, CODED) == kind).astype(np.int64), AROUND, mode="constant"
            )
            for kind in (STILL, SHIFTED, CODED)
        ]
    )
    votes[SHIFTED] *= 2  # what moves with the picture shows at its place something else
    winner = np.array([STILL, SHIFTED, UNKNOWN])[votes.argmax(0)]
    winner[0] = UNKNOWN
    return np.where(lost, winner, operations)
