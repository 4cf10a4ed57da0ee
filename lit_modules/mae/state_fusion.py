"""The game's state, made into tokens that the decoder asks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit_modules.mae.attention import initialise
from lit_modules.mae.positions import stretch, waves

OCTAVES = 8  # of waves over the range of a number; the shortest is 1/128 of it


class StateTokens(nn.Module):
    """One token a frame from its state vector, or a learned one where no state is known.

    Numbers come as waves too (Tancik et al. 2020, "Fourier Features Let Networks Learn High
    Frequency Functions", section 3): a place is told to the pixel.

    Args:
        state_dim: values of a state vector; 0 for a system that is never given one.
        width: channels of a token.
        frames: frames of a clip in training.
    """

    def __init__(self, state_dim: int, width: int, frames: int = 16) -> None:
        super().__init__()
        self.state_dim = state_dim
        self.mlp = (
            nn.Sequential(
                nn.Linear(state_dim * (1 + 2 * OCTAVES), width),
                nn.GELU(),
                nn.Linear(width, width),
            )
            if state_dim
            else None
        )
        self.missing = nn.Parameter(torch.empty(width))
        self.time = nn.Parameter(waves(frames, width))
        self.norm = nn.LayerNorm(width)
        self.apply(initialise)
        nn.init.trunc_normal_(self.missing, std=0.02)

    def forward(
        self, batch: int, frames: int, state: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """Tokens of a batch of clips.

        Args:
            batch: clips, b.
            frames: frames of each, t.
            state: `(b, t, state_dim)` in about [-1, 1], or None: nothing is known.
            known: bool `(b, t)`, which frames' state counts; all if absent.

        Returns:
            `(b, t, width)`.

        Raises:
            ValueError: the state has another shape.
        """
        tokens = self.missing.expand(batch, frames, -1)
        if state is not None and self.mlp is not None:
            if state.shape != (batch, frames, self.state_dim):
                raise ValueError(
                    f"state {tuple(state.shape)} must be {(batch, frames, self.state_dim)};"
                    " set model.state_dim to the values of the data's state"
                )
            if known is None:
                known = torch.ones(batch, frames, dtype=torch.bool, device=state.device)
            # What is not known may hold anything, so it is put out before a layer sees it.
            told = self.mlp(as_waves(state.masked_fill(~known[..., None], 0.0)))
            tokens = torch.where(known[..., None], told, tokens)
        out: Tensor = self.norm(tokens + stretch(self.time, frames))
        return out


def as_waves(state: Tensor) -> Tensor:
    """Numbers in about [-1, 1] beside their sines and cosines, `(..., d)` -> `(..., 17 * d)`."""
    rates = torch.pi * 2.0 ** torch.arange(OCTAVES, device=state.device)
    angles = (state[..., None] * rates).flatten(-2)
    return torch.cat([state, angles.sin(), angles.cos()], -1)
