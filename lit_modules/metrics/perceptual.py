"""LPIPS and FID of restored frames, by networks that the user brings along as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.image.fid import FrechetInceptionDistance

from lit_modules.metrics.clip_features import load_features
from lit_modules.metrics.generation_quality import GivenFeatures
from lit_modules.metrics.torchscript import load_torchscript

SIDE = 64  # of the frames that a network is tried on


class PerceptualNetworks(nn.Module):
    """The networks that judge, loaded once for any number of `PerceptualQuality`.

    torchmetrics would download them; here they come as TorchScript files or not at all.

    Args:
        lpips: path of a module that takes two batches of frames `(n, 3, h, w)` in [-1, 1] and
            returns n distances, such as `torch.jit.trace` of the network of the `lpips` package
            (Zhang et al. 2018); None for none.
        fid: path of a module that takes frames `(n, 3, h, w)` float32 in [0, 1] and returns
            features `(n, d)`, such as a script of Inception-v3 without its last layer that scales
            and resizes them first (Heusel et al. 2017); None for none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file is no TorchScript module, or gives something else.
    """

    def __init__(self, lpips: str | Path | None = None, fid: str | Path | None = None) -> None:
        super().__init__()
        self.distance = load_distance(lpips) if lpips else None
        self.features: Any = load_features(fid, (SIDE, SIDE)) if fid else None


class PerceptualQuality(nn.Module):
    """LPIPS and FID between restored and true frames, each where its network was given.

    All states are torchmetrics': sums over ranks, the same result on each.

    Args:
        networks: shared with others.
    """

    def __init__(self, networks: PerceptualNetworks) -> None:
        super().__init__()
        self.networks = networks
        self.lpips = MeanMetric().set_dtype(torch.float64) if networks.distance else None
        self.fid: Any = (
            FrameDistance(GivenFeatures(networks.features.num_features))
            if networks.features
            else None
        )

    @torch.no_grad()
    def update(self, restored: Tensor, true: Tensor) -> None:
        """Takes clips `(b, 3, t, h, w)` in [0, 1]; what lies outside counts as the nearer end."""
        # (b, 3, t, h, w) -> (b * t, 3, h, w)
        frames, truth = (
            clip.float().clamp(0, 1).transpose(1, 2).flatten(0, 1) for clip in (restored, true)
        )
        if self.networks.distance is not None and self.lpips is not None:
            self.lpips.update(self.networks.distance(2 * frames - 1, 2 * truth - 1))
        if self.fid is not None:
            self.fid.update(self.networks.features(truth), real=True)
            self.fid.update(self.networks.features(frames), real=False)

    def compute(self) -> dict[str, Tensor]:
        """`lpips` and `fid`, each where its network was given; 0 is best, NaN without frames."""
        metrics = {"lpips": self.lpips, "fid": self.fid}
        return {name: metric.compute().float() for name, metric in metrics.items() if metric}

    def reset(self) -> None:
        """Forgets all frames."""
        for metric in (self.lpips, self.fid):
            if metric is not None:
                metric.reset()


class FrameDistance(FrechetInceptionDistance):
    """torchmetrics' FID that is NaN where it has seen fewer than two frames."""

    def compute(self) -> Tensor:
        """The distance, at least 0."""
        if min(self.real_features_num_samples, self.fake_features_num_samples) < 2:
            return torch.full((), torch.nan, device=self.real_features_sum.device)
        return super().compute()


def load_distance(path: str | Path) -> nn.Module:
    """A distance of pairs of frames from a TorchScript file; see `PerceptualNetworks`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no TorchScript module, or does not turn pairs into distances.
    """
    pair = torch.rand(2, 2, 3, SIDE, SIDE) * 2 - 1
    network, distances = load_torchscript(path, "LPIPS network", "distances of frames", *pair)
    if not isinstance(distances, Tensor) or distances.numel() != 2:
        raise ValueError(f"{path} must turn two batches of n frames (n, 3, h, w) into n distances")
    return network
