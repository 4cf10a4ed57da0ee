"""How well hidden pixels of a clip were restored, and how the whole frames look then."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

MEANS = ("mse", "mse_masked", "exact_masked", "ssim", "ssim_within", "ssim_between")
REACH, SPREAD = 5, 1.5
"""Pixels that a window of SSIM reaches to each side, and the deviation of its Gaussian."""


class RestorationQuality(Metric):
    """Errors of restored clips against the true ones, over all pixels and over those hidden.

    Each figure is a mean over all pixels of all clips, not a mean of clips' figures: so it does
    not depend on how clips are put into batches or onto ranks.

    The picture is parted into horizontal bands. A row of pixels belongs to the band that its
    middle lies in. A pixel counts to `ssim_within` if all rows of the window of SSIM about it, five
    up and five down as far as there are any, belong to one band, and to `ssim_between` if they
    belong to two or more; each pixel counts to one of both.

    Args:
        regions: where the bands end, rising shares of the height in (0, 1); the last ends at 1.

    Raises:
        ValueError: the ends do not rise within (0, 1).
    """

    full_state_update = False
    higher_is_better = None
    totals: Tensor
    counts: Tensor

    def __init__(self, regions: Sequence[float] = (0.13, 0.5, 0.87)) -> None:
        super().__init__()
        if any(low >= high for low, high in pairwise([0.0, *regions, 1.0])):
            raise ValueError(f"regions {list(regions)} must rise within (0, 1)")
        self.regions = tuple(regions)
        for name in ("totals", "counts"):
            self.add_state(name, torch.zeros(len(MEANS)).double(), dist_reduce_fx="sum")

    def update(self, restored: Tensor, true: Tensor, hidden: Tensor) -> None:
        """Takes clips and their masks.

        Args:
            restored: `(b, 3, t, h, w)`; what lies outside [0, 1] counts as the nearer end, as it
                would be shown.
            true: `(b, 3, t, h, w)` in [0, 1].
            hidden: bool `(b, t, h, w)`, True where a pixel was hidden.

        Raises:
            ValueError: the shapes do not fit, or frames are smaller than half a window of SSIM.
        """
        if restored.shape != true.shape or hidden.shape != true[:, 0].shape:
            raise ValueError(
                f"restored {tuple(restored.shape)} and hidden {tuple(hidden.shape)} must fit the"
                f" true clips {tuple(true.shape)}: (b, 3, t, h, w) and (b, t, h, w)"
            )
        hidden = hidden.to(true.device)
        restored, true = restored.float().clamp(0, 1), true.float()
        error = (restored - true).square().mean(1)
        exact = ((restored * 255).round() == (true * 255).round()).all(1)
        # (b, 3, t, h, w) -> (b * 3 * t, h, w) and back, as SSIM is one of planes
        planes = structural_similarity(*(clip.flatten(0, 2) for clip in (restored, true)))
        similarity = planes.view(true.shape).mean(1)
        within = within_bands(true.shape[3], self.regions).to(true.device)
        parts = (
            error,
            error[hidden],
            exact[hidden],
            similarity,
            similarity[:, :, within],
            similarity[:, :, ~within],
        )
        self.totals += torch.stack([part.sum(dtype=torch.float64) for part in parts])
        self.counts += self.counts.new_tensor([part.numel() for part in parts])

    def compute(self) -> dict[str, Tensor]:
        """The figures; NaN where there was no pixel of the kind.

        Returns:
            `psnr_masked` and `psnr` in dB (infinite where nothing differs), from the mean squared
            error of all hidden and of all pixels; these errors, `mse_masked` and `mse`, of values
            in [0, 1]; `exact_masked`, the share of hidden pixels whose three bytes are all right;
            `ssim`, `ssim_within` and `ssim_between` in [-1, 1].
        """
        means = dict(zip(MEANS, (self.totals / self.counts).float().unbind(), strict=True))
        ratios = {f"psnr{part}": -10 * means[f"mse{part}"].log10() for part in ("_masked", "")}
        return {**ratios, **means}


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """SSIM about each pixel of two stacks of planes `(n, h, w)` in [0, 1] -> `(n, h, w)`.

    Wang et al. 2004, "Image Quality Assessment", eq. 13 with K1 = 0.01 and K2 = 0.03, in Gaussian
    windows of 11x11 pixels; beyond its border a frame is mirrored, as in torchmetrics. That one
    asks a convolution, which takes five times as long on a CPU and is rounded to eight bits under
    autocast, where variances as differences of means are lost.

    Raises:
        ValueError: the planes are too small to be mirrored.
    """
    if min(a.shape[1:]) <= REACH:
        raise ValueError(f"frames of {a.shape[1]}x{a.shape[2]} pixels must be 6x6 or more for SSIM")
    # By sum and difference: 2ab = (s² - d²) / 2, a² + b² = (s² + d²) / 2. So what is alike has
    # equal roundings above and below the line.
    total, difference = a + b, a - b
    moments = gaussian_mean(torch.stack((total, difference, total**2, difference**2)))
    mean_s, mean_d = moments[:2].square()
    spread_s, spread_d = (moments[2:] - moments[:2].square()).clamp_min(0)
    c1, c2 = 2 * 0.01**2, 2 * 0.03**2
    light: Tensor = (mean_s - mean_d + c1) / (mean_s + mean_d + c1)
    shape: Tensor = (spread_s - spread_d + c2) / (spread_s + spread_d + c2)
    return light * shape


def gaussian_mean(planes: Tensor) -> Tensor:
    """Weighted mean of the window about each pixel, `(..., n, h, w)` of the same shape."""
    offsets = torch.arange(-REACH, REACH + 1).double()
    weights = torch.softmax(-offsets.square() / (2 * SPREAD**2), 0).tolist()
    planes = F.pad(planes, (REACH, REACH, REACH, REACH), mode="reflect")
    for axis in (-1, -2):
        length = planes.shape[axis] - 2 * REACH
        mean = planes.narrow(axis, 0, length) * weights[0]
        for start, weight in enumerate(weights[1:], 1):
            mean.add_(planes.narrow(axis, start, length), alpha=weight)
        planes = mean
    return planes


def within_bands(height: int, ends: Sequence[float]) -> Tensor:
    """Which rows have a window of SSIM that lies in one band, bool `(height,)`."""
    rows = torch.arange(height)
    bands = torch.bucketize((rows + 0.5) / height, torch.tensor(ends), right=True)
    first, last = (rows - REACH).clamp_min(0), (rows + REACH).clamp_max(height - 1)
    within: Tensor = bands[first] == bands[last]
    return within
