"""How much goes on in a window of motion: one number a window, from tokens or from the tracks."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Source = Literal["quantized", "prequant", "velocity"]
Mode = Literal["token_diff_l2_mean", "l2_mean", "token_diff_l2_middle", "l2_middle"]
SOURCES: tuple[Source, ...] = get_args(Source)
MODES: tuple[Mode, ...] = get_args(Mode)
"""`mean` is of the whole window; `middle` of the stride that the window answers for, so that what
happens half a window away does not blur when a segment begins and ends."""


def middle(count: int, horizon: int, stride: int) -> slice:
    """Which of the `count` tokens of a window lie in the stride in its middle.

    Args:
        count: tokens of a window, in order of time.
        horizon: steps of a window.
        stride: steps from a window's beginning to the next one's, at most `horizon`.
    """
    begin = (horizon - stride) // 2
    return slice(begin * count // horizon, -(-(begin + stride) * count // horizon))


def token_energy(tokens: Tensor, mode: Mode, part: slice | None = None) -> Tensor:
    """Energy of the tokens of windows.

    Args:
        tokens: `(b, n, d)`, in order of time.
        mode: `l2`, mean over tokens of |z_i|; `token_diff_l2`, mean over tokens of |z_i - z_i-1|,
            0 for a window of one token.
        part: which tokens a `middle` counts; a `mean` counts all.

    Returns:
        `(b,)`, at least 0.
    """
    vectors = of_mode(tokens, mode, part)
    if not vectors.shape[1]:
        return tokens.new_zeros(len(tokens))
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return lengths.mean(-1)


def velocity_energy(
    velocity: Tensor, visible: Tensor, mode: Mode, part: slice | None = None
) -> Tensor:
    """Energy of the tracks of windows, over points that are seen.

    Args:
        velocity: `(b, T, P, 2)` in shares of the frame a step.
        visible: bool `(b, T, P)`.
        mode: `l2`, mean of |v|; `token_diff_l2`, mean of |v_t - v_t-1| over points that are seen in
            both steps.
        part: which steps a `middle` counts; a `mean` counts all.

    Returns:
        `(b,)`, at least 0.
    """
    both = visible
    if mode.startswith("token_diff"):
        both = torch.cat([visible[:, :1], visible[:, 1:] & visible[:, :-1]], 1)
    vectors, seen = (
        of_mode(velocity, mode, part),
        of_mode(both, "l2_middle" if mode.endswith("middle") else "l2_mean", part),
    )
    seen = seen[:, seen.shape[1] - vectors.shape[1] :]
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1) * seen
    return lengths.sum((1, 2)) / seen.sum((1, 2)).clamp_min(1)


def of_mode(values: Tensor, mode: Mode, part: slice | None) -> Tensor:
    """The values of windows `(b, n, ...)` that count, or how far each is from the one before."""
    if part is None or not mode.endswith("middle"):
        part = slice(0, values.shape[1])
    if not mode.startswith("token_diff"):
        return values[:, part]
    return values[:, max(part.start - 1, 0) : part.stop].diff(dim=1)


def energy_name(source: Source, mode: Mode) -> str:
    """What an energy is called in reports and files, such as `quantized/token_diff_l2_mean`."""
    return f"{source}/{mode}"
