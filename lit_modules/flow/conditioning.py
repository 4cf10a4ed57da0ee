"""What a clip is generated from besides noise: known frames, buttons pressed, state of the game."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

UNKNOWN = -1  # an action of which nothing is known
BUTTONS = 8


class Given(NamedTuple):
    """What is known of a batch of clips.

    `frames` `(b, 3, t, h, w)` holds frames where `mask` `(b, t)` is true and zeros elsewhere;
    `action` `(b, t)` int64 holds bytes of buttons, -1 where unknown; `state` `(b, t, d)` counts
    where `state_mask` `(b, t)` is true.
    """

    frames: Tensor
    mask: Tensor
    action: Tensor
    state: Tensor
    state_mask: Tensor

    @classmethod
    def of(cls, batch: dict[str, Any], video: Tensor, state_dim: int) -> Given:
        """Actions and states in a batch of clips `(b, 3, t, h, w)`; no frame is known."""
        b, _, t, _, _ = video.shape
        nothing = torch.zeros(b, t, dtype=torch.bool, device=video.device)
        return cls(
            frames=torch.zeros_like(video),
            mask=nothing,
            action=batch.get("action", torch.full_like(nothing, UNKNOWN, dtype=torch.long)),
            state=batch.get("state", video.new_zeros(b, t, state_dim)),
            state_mask=batch.get("state_mask", nothing),
        )

    def with_first_frames(self, video: Tensor, count: Tensor) -> Given:
        """The first `count` `(b,)` frames of clips `(b, 3, t, h, w)` are known."""
        mask = torch.arange(video.shape[2], device=video.device) < count[:, None]
        return self._replace(frames=video * mask[:, None, :, None, None], mask=mask)

    def without_condition(self, dropped: Tensor) -> Given:
        """Neither action nor state is known of the clips where `dropped` `(b,)` is true."""
        return self._replace(
            action=self.action.masked_fill(dropped[:, None], UNKNOWN),
            state_mask=self.state_mask & ~dropped[:, None],
        )


class Conditioning(nn.Module):
    """Embeds each frame's action and state; what is unknown has an embedding of its own.

    An action is a byte of buttons, one bit each, so a combination that was never seen is still the
    sum of buttons that were.

    Args:
        dim: values of the embedding.
        actions: whether there are actions.
        state_dim: values of a frame's state, 0 without.
    """

    def __init__(self, dim: int, actions: bool, state_dim: int) -> None:
        super().__init__()
        self.actions, self.state_dim = actions, state_dim
        inputs = actions * (BUTTONS + 1) + (state_dim > 0) * (state_dim + 1)
        self.mlp = nn.Sequential(nn.Linear(inputs, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, given: Given) -> Tensor:
        """Embeds actions and states, `(b, t, dim)`."""
        parts: list[Tensor] = []
        if self.actions:
            known = (given.action != UNKNOWN)[..., None]
            shifts = torch.arange(BUTTONS, device=given.action.device)
            parts += [(given.action[..., None] >> shifts & 1) * known, known]
        if self.state_dim:
            known = given.state_mask[..., None]
            parts += [given.state * known, known]
        out: Tensor = self.mlp(torch.cat([part.float() for part in parts], -1))
        return out
