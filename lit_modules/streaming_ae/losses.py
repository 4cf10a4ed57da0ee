"""Losses of the streaming autoencoder: over the whole picture, and where the picture changes."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lit_modules.streaming_ae.change import ChangeMap

TAPS, SIGMA = 11, 1.5  # the Gaussian window of Wang et al., in pixels
C1, C2 = 0.01**2, 0.03**2  # for values in [0, 1]


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Mean structural similarity of pictures.

    Args:
        x: `(b, c, h, w)` with values in [0, 1], at least 11 pixels a side.
        y: the same; no gradient flows to it.

    Returns:
        0-d tensor, at most 1.

    Raises:
        ValueError: the pictures are smaller than the window.
    """
    return ssim_map(x, y).mean()


def ssim_map(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity at every place where the window lies wholly inside the picture.

    Wang, Bovik, Sheikh, Simoncelli 2004, "Image Quality Assessment: From Error Visibility to
    Structural Similarity", equation 13. There is no padding and so no bias at the border.

    Args:
        x: `(b, c, h, w)` with values in [0, 1], at least 11 pixels a side.
        y: the same; no gradient flows to it.

    Returns:
        `(b, c, h - 10, w - 10)`.

    Raises:
        ValueError: the pictures are smaller than the window.
    """
    if min(x.shape[-2:]) < TAPS:
        raise ValueError(
            f"SSIM needs pictures of {TAPS}x{TAPS} pixels, got {tuple(x.shape[-2:])}; set data.size"
        )
    exact = torch.promote_types(x.dtype, torch.float32)  # of autocast's bf16 no variance is left
    out: Tensor = _SSIM.apply(x.to(exact), y.to(exact))  # type: ignore[no-untyped-call]
    return out


class _SSIM(torch.autograd.Function):
    """SSIM with its derivative written out: a third of the work of differentiating each step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        mean_x, mean_y, mean_squares, mean_product = _blur(x, y, x.square() + y * y, x * y)
        product = mean_x * mean_y
        squares = mean_x.square().addcmul_(mean_y, mean_y)
        a1 = 2 * product + C1
        a2 = 2 * (mean_product - product) + C2
        b1 = squares + C1
        b2 = mean_squares - squares + C2
        similarity = a1 * a2 / (b1 * b2)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(x, y, mean_x, mean_y, a1, a2, b1, b2, similarity)
        return similarity

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, y, mean_x, mean_y, a1, a2, b1, b2, similarity = ctx.saved_tensors
        scale = 2 * gradient / (b1 * b2)
        by_a1, by_a2 = scale * a2, scale * a1
        by_b1, by_b2 = 2 * gradient * similarity / b1, 2 * gradient * similarity / b2
        by_mean = mean_y * (by_a1 - by_a2) + mean_x * (by_b2 - by_b1)
        spread_mean, spread_square, spread_product = _blur(by_mean, by_b2, by_a2, adjoint=True)
        return spread_mean - x * spread_square + y * spread_product, None


def _blur(*maps: Tensor, adjoint: bool = False) -> tuple[Tensor, ...]:
    """Weights each map `(b, c, h, w)` by the window; `adjoint` spreads it back to full size.

    All maps are channels of one depthwise convolution with channels last, whose inner loop runs
    over them; it also stays exact float32 where TF32 is on.
    """
    stacked = torch.cat(maps, 1).contiguous(memory_format=torch.channels_last)
    window = _window(stacked.shape[1], stacked.dtype, stacked.device)
    margin = TAPS - 1 if adjoint else 0
    with torch.autocast(stacked.device.type, enabled=False):
        rows = F.conv2d(stacked, window, padding=(margin, 0), groups=len(window))
        both = F.conv2d(rows, window.mT, padding=(0, margin), groups=len(window))
    return both.contiguous().chunk(len(maps), 1)


@functools.cache
def _window(channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    places = torch.arange(TAPS, dtype=torch.float64) - TAPS // 2
    window = (-places.square() / (2 * SIGMA**2)).exp()
    window = (window / window.sum()).to(device, dtype)
    return window.view(1, 1, TAPS, 1).expand(channels, -1, -1, -1).contiguous()


class StreamingTerms(NamedTuple):
    """Losses of one step, 0-d tensors.

    Attributes:
        total: what to learn from.
        global_: error over the whole picture.
        detail: error where the picture changes; zero where its weight is, or nothing changes.
    """

    total: Tensor
    global_: Tensor
    detail: Tensor


class StreamingLoss(nn.Module):
    """`global + detail_weight * detail`, each a weighted sum of MSE, L1 and 1 - SSIM.

    `detail` is the same error averaged over the pixels that change, with those that change most
    counted twice, so a ball of ten pixels has a say beside the rest of the picture. Both are means
    over the streams of a batch. A term whose weight is zero is not computed. On Breakout a detail
    weight of 0.1 raises the three branches' MSE after 800 frames by a third, one of 1 threefold.

    Args:
        mse: weight of the squared error, at least 0.
        l1: weight of the absolute error, at least 0.
        ssim: weight of 1 - SSIM, at least 0.
        detail: weight of the detail loss, at least 0.

    Raises:
        ValueError: a negative weight, or none above zero but that of the detail loss.
    """

    def __init__(
        self, mse: float = 1.0, l1: float = 0.5, ssim: float = 0.1, detail: float = 0.1
    ) -> None:
        super().__init__()
        for name, weight in (("mse", mse), ("l1", l1), ("ssim", ssim), ("detail", detail)):
            if weight < 0:
                raise ValueError(f"weight {weight} of {name} is negative; set model.{name}_weight")
        if not mse + l1 + ssim:
            raise ValueError("the weights of mse, l1 and ssim are all 0; set model.mse_weight")
        self.mse, self.l1, self.ssim, self.detail = mse, l1, ssim, detail

    def forward(self, reconstruction: Tensor, frame: Tensor, change: ChangeMap) -> StreamingTerms:
        """Return the losses of a batch of frames.

        Args:
            reconstruction: `(b, c, h, w)`.
            frame: `(b, c, h, w)` in [0, 1].
            change: what changed since the frame before.
        """
        if not self.detail:
            global_ = self._combine(self._errors(reconstruction, frame, "mean"))
            return StreamingTerms(global_, global_, torch.zeros_like(global_))
        errors = self._errors(reconstruction, frame, "none")
        global_ = self._combine([error.mean() for error in errors])
        importance = change.mask * (1 + change.intensity)  # (b, 1, h, w)
        detail = self._combine([_weighted(error, importance) for error in errors])
        return StreamingTerms(global_ + self.detail * detail, global_, detail)

    def _errors(self, reconstruction: Tensor, frame: Tensor, reduction: str) -> list[Tensor]:
        errors = []
        if self.mse:
            errors.append(F.mse_loss(reconstruction, frame, reduction=reduction))
        if self.l1:
            errors.append(F.l1_loss(reconstruction, frame, reduction=reduction))
        if self.ssim:
            unlike = 1 - ssim_map(reconstruction, frame)
            errors.append(unlike.mean() if reduction == "mean" else unlike)
        return errors

    def _combine(self, errors: list[Tensor]) -> Tensor:
        weights = [weight for weight in (self.mse, self.l1, self.ssim) if weight]
        return functools.reduce(torch.add, map(torch.mul, errors, weights))


def _weighted(error: Tensor, importance: Tensor) -> Tensor:
    """Mean of each stream's error under its weights; weights are cut to the error's size."""
    margin = (importance.shape[-1] - error.shape[-1]) // 2
    if margin:
        importance = importance[..., margin:-margin, margin:-margin]
    total = importance.sum((1, 2, 3)).clamp(min=1) * error.shape[1]
    return ((error * importance).sum((1, 2, 3)) / total).mean()
