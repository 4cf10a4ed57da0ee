"""What a clip looks like and how it moves, in 71 numbers that need no trained network."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_modules.metrics.torchscript import load_torchscript

LUMA = (0.299, 0.587, 0.114)
LEAST_SIDE = 16
LEAST_CHANGE = 1 / 255
"""One level of a byte: changes below it do not count, so that a logarithm has an end."""


class ClipFeatures(nn.Module):
    """Appearance and frame differences of clips: fixed, deterministic, no weights to download.

    - layout (24): mean luma on a 4x4 grid, both chromas on a 2x2 grid;
    - edges (16): mean and root mean square of horizontal and vertical gradients at four scales, in
      logarithms, so that a blurred clip lacks the fine ones and a noisy one has too many;
    - change (11): the same of frame differences at three scales, of longer lags and of the second
      difference, and how uneven the change is over time; a frozen clip has none;
    - place (12): mean change on a 3x4 grid;
    - direction (8): mean and spread over time of the global motion by least squares of `I_t = -u
      I_x - v I_y` (Lucas and Kanade 1981, one window) at two scales.

    Each group is scaled by a constant to a spread of about one over recordings of platform games,
    as a Fréchet distance sums squares over all of them. Any module with `num_features` that maps
    clips to `(b, num_features)` serves in its place; see `load_features`.
    """

    num_features = 71

    def forward(self, video: Tensor) -> Tensor:
        """Clips `(b, 3, t, h, w)` in [0, 1], t >= 2, h and w >= 16 -> `(b, 71)` float32.

        Raises:
            ValueError: the clips are too short or too small.
        """
        _, _, t, h, w = video.shape
        if t < 2 or min(h, w) < LEAST_SIDE:
            raise ValueError(
                f"a clip of {t} frame(s) of {h}x{w} pixels shows too little to be judged; "
                f"give at least 2 frames of {LEAST_SIDE}x{LEAST_SIDE}"
            )
        video = video.float()
        grey = torch.einsum("bcthw,c->bthw", video, video.new_tensor(LUMA))
        scales = pyramid(grey, 4)
        groups = [
            4 * layout(video, grey),
            2 * edges(scales),
            change(scales),
            5 * place(grey),
            2 * direction(scales[1:3]),
        ]
        return torch.cat(groups, 1)


def pyramid(grey: Tensor, levels: int) -> list[Tensor]:
    """`(b, t, h, w)` and its averages over 2x2, 4x4, ... pixels."""
    scales = [grey]
    for _ in range(levels - 1):
        scales.append(F.avg_pool2d(scales[-1], 2))
    return scales


def layout(video: Tensor, grey: Tensor) -> Tensor:
    """Colours on a coarse grid, averaged over time -> `(b, 24)`."""
    red, _, blue = video.mean(2).unbind(1)
    luma = grey.mean(1)
    chroma = torch.stack((blue - luma, red - luma), 1)
    grids = F.adaptive_avg_pool2d(luma, 4), F.adaptive_avg_pool2d(chroma, 2)
    return torch.cat([grid.flatten(1) for grid in grids], 1)


def edges(scales: list[Tensor]) -> Tensor:
    """Strength of horizontal and vertical gradients at each scale -> `(b, 4 scales)`."""
    sizes = [size for grey in scales for axis in (2, 3) for size in strength(grey.diff(dim=axis))]
    return torch.stack(sizes, 1)


def change(scales: list[Tensor]) -> Tensor:
    """Strength of frame differences -> `(b, 11)`."""
    sizes = [size for grey in scales[:3] for size in strength(grey.diff(dim=1))]
    grey = scales[1]
    t = grey.shape[1]
    for lag in (2, 4, t - 1):
        lag = min(lag, t - 1)
        sizes.append(strength(grey[:, lag:] - grey[:, :-lag])[1])
    # The first frame once more at the beginning: so two frames, too, have a second difference.
    held = torch.cat((grey[:, :1], grey), 1)
    sizes.append(strength(held.diff(n=2, dim=1))[1])
    by_frame = grey.diff(dim=1).abs().mean((2, 3))
    sizes.append((by_frame.std(1, correction=0) + LEAST_CHANGE).log())
    return torch.stack(sizes, 1)


def strength(differences: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of the mean absolute value and the root mean square of each clip, both `(b,)`."""
    flat = differences.flatten(1)
    mean, square = flat.abs().mean(1), flat.square().mean(1).sqrt()
    return (mean + LEAST_CHANGE).log(), (square + LEAST_CHANGE).log()


def place(grey: Tensor) -> Tensor:
    """Where the picture changes: roots of the mean change on a coarse grid -> `(b, 12)`."""
    grid = F.adaptive_avg_pool2d(grey.diff(dim=1).abs().mean(1), (3, 4))
    return grid.sqrt().flatten(1)


def direction(scales: list[Tensor]) -> Tensor:
    """Mean and spread over time of the global motion in pixels -> `(b, 4 scales)`."""
    statistics = []
    for grey in scales:
        motion = global_motion(grey)
        statistics += [motion.mean(1), motion.std(1, correction=0)]
    return torch.cat(statistics, 1)


def global_motion(grey: Tensor) -> Tensor:
    """Least-squares motion between neighbouring frames `(b, t, h, w)` -> `(b, t - 1, 2)`.

    In pixels of this scale a frame, to the right and down, within [-2, 2]: the linear model holds
    no further.
    """
    middle = (grey[:, 1:] + grey[:, :-1]) / 2
    right = (middle[..., 1:-1, 2:] - middle[..., 1:-1, :-2]) / 2
    down = (middle[..., 2:, 1:-1] - middle[..., :-2, 1:-1]) / 2
    later = grey.diff(dim=1)[..., 1:-1, 1:-1]

    def product(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).mean((-1, -2))

    xx = product(right, right) + LEAST_CHANGE**2
    yy = product(down, down) + LEAST_CHANGE**2
    xy, xt, yt = product(right, down), product(right, later), product(down, later)
    determinant = xx * yy - xy * xy
    motion = torch.stack(((xy * yt - yy * xt), (xy * xt - xx * yt)), -1)
    return (motion / determinant[..., None]).clamp(-2, 2)


def load_features(path: str | Path, size: tuple[int, ...] = (16, 64, 64)) -> nn.Module:
    """A feature extractor from a TorchScript file, in place of `ClipFeatures`, or of frames.

    The module takes clips `(b, 3, t, h, w)` or frames `(b, 3, h, w)`, float32 in [0, 1], and
    returns `(b, d)`; it scales and resizes them itself (a wrapper around a pretrained network does
    so before `torch.jit.script`).

    Args:
        path: file written by `torch.jit.save`. It is a program: load only what you trust.
        size: frames, height and width of a clip to try it on, or height and width of a frame.

    Returns:
        The module in evaluation mode, with `num_features` set to d.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no TorchScript module, or does not turn clips into vectors.
    """
    kind, shape = ("clips", "t, h, w") if len(size) == 3 else ("frames", "h, w")
    network, features = load_torchscript(
        path, "feature extractor", f"features of {kind}", torch.rand(2, 3, *size)
    )
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        raise ValueError(f"{path} must turn {kind} (b, 3, {shape}) into features (b, d)")
    return Extractor(network, features.shape[1])


class Extractor(nn.Module):
    """A network that knows how many features it gives.

    Args:
        network: clips `(b, 3, t, h, w)` in [0, 1] -> `(b, num_features)`.
        num_features: features of a clip.
    """

    def __init__(self, network: nn.Module, num_features: int) -> None:
        super().__init__()
        self.network = network
        self.num_features = num_features

    def forward(self, video: Tensor) -> Tensor:
        """The network's features."""
        features: Tensor = self.network(video.float())
        return features
