"""How near generated clips come to real ones, and how near cheating would come."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image.fid import FrechetInceptionDistance

from lit_modules.metrics.clip_features import ClipFeatures
from lit_modules.metrics.palette_drift import PaletteDrift

BLUR = 4
"""The blurred cheat keeps one pixel of 4x4."""


class GenerationQuality(nn.Module):
    """Fréchet distance of generated to real clips, with what to hold it against.

    Every second real clip is the reference, the others compete with the generated ones, as they
    are (`frechet_floor`: the best that can be hoped for) and as three cheats. So all are measured
    against the same clips; equal numbers make the distances comparable to the last, since a
    Fréchet distance of few clips is too high: generate half as many clips as are real, at least
    twice as many as there are features.

    The real clips should come from what the model was to learn. Against levels that it never saw
    the cheats, made of clips of these very levels, are at an advantage.

    All states are torchmetrics': sums over ranks, the same result on each.

    Args:
        features: clips `(b, 3, t, h, w)` in [0, 1] -> `(b, num_features)`; `ClipFeatures` unless
            given.
    """

    def __init__(self, features: nn.Module | None = None) -> None:
        super().__init__()
        self.features: Any = ClipFeatures() if features is None else features
        given = GivenFeatures(cast(int, self.features.num_features))
        rivals = ("generated", "floor", "mean_frame", "frozen_frame", "blurred")
        self.distances: Any = nn.ModuleDict({x: FrechetInceptionDistance(given) for x in rivals})
        self.mean_frame = MeanFrame()
        self.palette = PaletteDrift()
        self._real_clips = 0

    @torch.no_grad()
    def update(self, real: Tensor | None = None, generated: Tensor | None = None) -> None:
        """Takes clips `(b, 3, t, h, w)` in [0, 1]; the sizes of both batches may differ."""
        if real is not None:
            turn = self._real_clips % 2
            self._real_clips += len(real)
            self._take_reference(real[turn::2])
            self._take_rivals(real[1 - turn :: 2])
        if generated is not None and len(generated):
            self.distances["generated"].update(self.features(generated), real=False)
            self.palette.update(generated=generated)

    def _take_reference(self, clips: Tensor) -> None:
        if not len(clips):
            return
        features = self.features(clips)
        for distance in self.distances.values():
            distance.update(features, real=True)
        self.mean_frame.update(clips)
        self.palette.update(real=clips)

    def _take_rivals(self, clips: Tensor) -> None:
        if not len(clips):
            return
        rivals = {"floor": clips, "frozen_frame": frozen(clips), "blurred": blurred(clips)}
        for name, rival in rivals.items():
            self.distances[name].update(self.features(rival), real=False)

    @torch.no_grad()
    def compute(self) -> dict[str, Tensor]:
        """Distances under the names of the class's rivals, and the palette's drift.

        Returns:
            `frechet`, `frechet_floor`, `frechet_mean_frame`, `frechet_frozen_frame`,
            `frechet_blurred` (all >= 0, 0 is best), `palette_drift` (share of pixels),
            `palette_drift_growth`.

        Raises:
            RuntimeError: fewer than four real or two generated clips were given.
        """
        # A set of equal clips has a mean and no spread, however many they are.
        still = self.features(self.mean_frame.compute())
        self.distances["mean_frame"].update(still.expand(2, -1), real=False)
        names = {name: f"frechet_{name}" for name in self.distances} | {"generated": "frechet"}
        distances = {names[name]: fid.compute() for name, fid in self.distances.items()}
        return {**distances, **self.palette.compute()}

    def reset(self) -> None:
        """Forgets all clips."""
        for metric in (*self.distances.values(), self.mean_frame, self.palette):
            metric.reset()
        self._real_clips = 0


class GivenFeatures(nn.Identity):
    """The extractor of a torchmetrics distance whose features have been extracted before."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


class MeanFrame(Metric):
    """The mean of all frames, as a clip of its own."""

    full_state_update = False
    total: Tensor
    clips: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(1, 1, 1, 1, 1).double(), dist_reduce_fx="sum")
        self.add_state("clips", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, video: Tensor) -> None:
        """Takes clips `(b, 3, t, h, w)`."""
        still = video.double().mean(2, keepdim=True).expand_as(video)
        self.total = self.total + still.sum(0, keepdim=True)
        self.clips += len(video)

    def compute(self) -> Tensor:
        """The mean frame, standing still: `(1, 3, t, h, w)`."""
        return (self.total / self.clips).float()


def frozen(video: Tensor) -> Tensor:
    """Each clip's first frame, standing still."""
    return video[:, :, :1].expand_as(video)


def blurred(video: Tensor) -> Tensor:
    """Each frame shrunk by area to a quarter of its size and stretched again."""
    *_, t, h, w = video.shape
    small = F.interpolate(video, (t, h // BLUR, w // BLUR), mode="area")
    return F.interpolate(small, (t, h, w), mode="trilinear", align_corners=False)
