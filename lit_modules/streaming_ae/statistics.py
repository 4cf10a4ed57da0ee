"""What is remembered of each parallel stream besides the weights."""

from __future__ import annotations

import torch
from torch import Tensor


class StreamStatistics:
    """Previous frame, running mean and noise level of b parallel streams.

    The running mean is exponential with weight 1/horizon, and the plain mean before `horizon`
    frames have been seen; black before the first frame. Nothing here is a parameter or a buffer:
    each rank sees its own streams, so replicas must not share it.

    Args:
        frame: any frame batch `(b, c, h, w)`; gives shape, dtype and device.
        horizon: frames the running mean looks back.
    """

    def __init__(self, frame: Tensor, horizon: int) -> None:
        self.horizon = horizon
        self.previous: Tensor | None = None
        self.mean = torch.zeros_like(frame)
        self.noise = frame.new_zeros(len(frame))
        self.frames = frame.new_zeros(())

    def update(self, frame: Tensor, noise: Tensor) -> None:
        """Takes in a frame `(b, c, h, w)` and the noise level `(b,)` measured on it."""
        self.frames += 1
        self.mean = self.mean.lerp(frame, 1 / self.frames.clamp(max=self.horizon))
        self.previous = frame
        self.noise = noise

    def fits(self, frame: Tensor) -> bool:
        """Whether `frame` holds as many streams of the same size on the same device."""
        return self.mean.shape == frame.shape and self.mean.device == frame.device

    def state_dict(self) -> dict[str, Tensor]:
        """All that a resumed run needs, as tensors; there must have been a frame."""
        assert self.previous is not None
        return {
            "previous": self.previous,
            "mean": self.mean,
            "noise": self.noise,
            "frames": self.frames,
        }

    @classmethod
    def from_state_dict(
        cls, state: dict[str, Tensor], horizon: int, device: torch.device
    ) -> StreamStatistics:
        """Rebuilds on `device` what `state_dict` saved."""
        statistics = cls(state["mean"].to(device), horizon)
        for name, value in state.items():
            setattr(statistics, name, value.to(device, copy=True))
        return statistics


class CodeRounder:
    """Rounds a code to `bits` over its running range, to show that no pixels hide in the floats.

    Each channel's range is the smallest and largest value that any frame has had so far.

    Args:
        bits: bits a value keeps.
    """

    def __init__(self, bits: int) -> None:
        self.steps = 2**bits - 1
        self.ranges: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def __call__(self, codes: list[Tensor]) -> list[Tensor]:
        """Codes `(b, c, h, w)` of one frame -> the same codes on a grid of 2**bits values."""
        lows = [code.amin((0, 2, 3), keepdim=True) for code in codes]
        highs = [code.amax((0, 2, 3), keepdim=True) for code in codes]
        if self.ranges:
            lows = [
                torch.minimum(low, was) for low, (was, _) in zip(lows, self.ranges, strict=True)
            ]
            highs = [
                torch.maximum(high, was) for high, (_, was) in zip(highs, self.ranges, strict=True)
            ]
        self.ranges = list(zip(lows, highs, strict=True))
        rounded = []
        for code, (low, high) in zip(codes, self.ranges, strict=True):
            step = ((high - low) / self.steps).clamp(min=torch.finfo(code.dtype).tiny)
            rounded.append(((code - low) / step).round() * step + low)
        return rounded
