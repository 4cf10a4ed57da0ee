"""How much goes on in a window of motion: one number a window, from tokens or from the tracks."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Source = Literal["quantized", "prequant", "velocity"]
Mode = Literal["token_diff_l2_mean", "l2_mean"]
SOURCES: tuple[Source, ...] = get_args(Source)
MODES: tuple[Mode, ...] = get_args(Mode)


def token_energy(tokens: Tensor, mode: Mode) -> Tensor:
    """Energy of the tokens of windows.

    Args:
        tokens: `(b, n, d)`, in order of time.
        mode: `l2_mean`, mean over tokens of |z_i|; `token_diff_l2_mean`, mean over neighbours of
            |z_i+1 - z_i|, 0 for a window of one token.

    Returns:
        `(b,)`, at least 0.
    """
    vectors = tokens if mode == "l2_mean" else tokens.diff(dim=1)
    if not vectors.shape[1]:
        return tokens.new_zeros(len(tokens))
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return lengths.mean(-1)


def velocity_energy(velocity: Tensor, visible: Tensor, mode: Mode) -> Tensor:
    """Energy of the tracks of windows, over points that are seen.

    Args:
        velocity: `(b, T, P, 2)` in shares of the frame a step.
        visible: bool `(b, T, P)`.
        mode: `l2_mean`, mean of |v|; `token_diff_l2_mean`, mean of |v_t+1 - v_t| over points that
            are seen in both steps.

    Returns:
        `(b,)`, at least 0.
    """
    vectors, seen = velocity, visible
    if mode == "token_diff_l2_mean":
        vectors, seen = velocity.diff(dim=1), visible[:, 1:] & visible[:, :-1]
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1) * seen
    return lengths.sum((1, 2)) / seen.sum((1, 2)).clamp_min(1)


def energy_name(source: Source, mode: Mode) -> str:
    """What an energy is called in reports and files, such as `quantized/token_diff_l2_mean`."""
    return f"{source}/{mode}"


def available(with_tokens: bool) -> list[str]:
    """Names of all energies, or of those that need no tokenizer."""
    return [
        energy_name(source, mode)
        for source in SOURCES
        for mode in MODES
        if with_tokens or source == "velocity"
    ]
