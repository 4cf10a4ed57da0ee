"""Probabilities and their log odds in whole numbers, the same on every machine.

Log odds add up where independent witnesses agree, so predictions are weighed there (Mahoney 2005,
"Adaptive Weighing of Context Models for Lossless Data Compression"). The tables are made by
correctly rounded decimals: the floats of two machines may differ in the last place.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ONE = 1 << 16
"""The probability 1."""
UNIT = 256
"""Log odds of 1."""
LIMIT = 11 * UNIT
"""Log odds lie within this of 0: one in 60,000 is the rarest that is told apart."""


class Logistic(NamedTuple):
    """Tables from the one to the other."""

    squash: NDArray[np.int32]
    """Probability of log odds - LIMIT, `(2 LIMIT + 1,)`, 1 to 65535."""
    stretch: NDArray[np.int32]
    """Log odds of a probability, `(65536,)`."""


@cache
def tables() -> Logistic:
    """Both tables."""
    exact = Context(prec=28)
    odds = (exact.exp(exact.divide(Decimal(-s), Decimal(UNIT))) for s in range(-LIMIT, LIMIT + 1))
    squash = np.array([int(exact.divide(Decimal(ONE), 1 + o) + Decimal("0.5")) for o in odds])
    squash = np.clip(squash, 1, ONE - 1).astype(np.int32)
    stretch = np.searchsorted(squash, np.arange(ONE)) - LIMIT
    return Logistic(squash, np.clip(stretch, -LIMIT, LIMIT).astype(np.int32))
