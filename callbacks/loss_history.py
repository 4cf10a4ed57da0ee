"""Losses of a run of any length in a bounded number of points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 256


class LossHistory:
    """Keeps each loss, then means over 2, 4, ... losses as they become many.

    Losses stay on their device until `fetch`, so that no step waits for one.

    Args:
        limit: points that are kept at most; even.
    """

    def __init__(self, limit: int = 4096) -> None:
        self.limit = limit
        self.stride = 1
        self.points: list[float] = []
        self.rest: list[float] = []
        self._new: list[Tensor] = []
        self._chunks: list[Tensor] = []

    def __len__(self) -> int:
        """Losses so far."""
        waiting = len(self._new) + sum(map(len, self._chunks))
        return len(self.points) * self.stride + len(self.rest) + waiting

    def append(self, loss: Tensor) -> None:
        """Takes a loss of no dimensions."""
        self._new.append(loss.detach().float())
        if len(self._new) == CHUNK:  # thousands of tensors of one number each would fill a GPU
            self._chunks.append(torch.stack(self._new))
            self._new = []

    def fetch(self) -> None:
        """Brings the losses over, in one transfer."""
        if self._new:
            self._chunks.append(torch.stack(self._new))
        self._new, chunks, self._chunks = [], self._chunks, []
        self.rest += torch.cat(chunks).tolist() if chunks else []
        while len(self.rest) >= self.stride:
            part, self.rest = self.rest[: self.stride], self.rest[self.stride :]
            self.points.append(sum(part) / self.stride)
            if len(self.points) == self.limit:
                pairs = zip(self.points[::2], self.points[1::2], strict=True)
                self.points = [(a + b) / 2 for a, b in pairs]
                self.stride *= 2

    def steps(self) -> list[float]:
        """Of each point: how many losses lay before its middle one, that one included."""
        return [(i + 0.5) * self.stride + 0.5 for i in range(len(self.points))]

    def state_dict(self) -> dict[str, Any]:
        """Everything, in tensors and integers."""
        self.fetch()
        points, rest = (torch.tensor(x, dtype=torch.float64) for x in (self.points, self.rest))
        return {"stride": self.stride, "points": points, "rest": rest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self.stride = state["stride"]
        self.points, self.rest = state["points"].tolist(), state["rest"].tolist()
        self._new, self._chunks = [], []
