"""The four losses of HST-MAE, each one number a clip, and how they are weighed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_modules.mae.cubes import FRAMES

FLAT = 1e-2  # variance, of pixels in [-1, 1], below which a cube counts as flat


def reconstruction(predicted: Tensor, true: Tensor, normalised: bool = False) -> Tensor:
    """Mean squared error of cubes' pixels.

    Normalised, a cube's error counts by the spread of its true pixels, as if both had been
    normalised by that cube's mean and deviation (He et al. 2022, "Masked Autoencoders", section
    4.1). The prediction itself stays in true pixels and needs nothing of the truth to be shown.

    Args:
        predicted: `(b, m, pixels of a cube)`.
        true: likewise.
        normalised: whether cubes count by their spread.

    Returns:
        `(b,)`.
    """
    error = (predicted - true).square()
    if normalised:
        error = error / (true.var(-1, keepdim=True) + FLAT)
    mean: Tensor = error.mean((1, 2))
    return mean


def temporal_coherence(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared error of what changes from the first to the second frame of a cube.

    Args:
        predicted: `(b, m, pixels of a cube)`.
        true: likewise.

    Returns:
        `(b,)`.
    """
    first, second = (predicted - true).chunk(FRAMES, 2)
    mean: Tensor = (second - first).square().mean((1, 2))
    return mean


def spatial_consistency(latents: Tensor, regions: Tensor, count: int) -> Tensor:
    """How unlike latents of one region are, and how alike the regions' means.

    Within a region, 1 less the cosine of a latent and the region's mean; between regions, the
    cosine of their means where it is above 0. Each clip is judged by itself.

    Args:
        latents: `(b, n, d)`.
        regions: which region each belongs to, int64 `(b, n)` in [0, count).
        count: how many regions there are, r.

    Returns:
        `(b,)`, in [0, 3].
    """
    unit = F.normalize(latents.float(), dim=-1)
    member = F.one_hot(regions, count).to(unit)  # (b, n, r)
    means = F.normalize(member.mT @ unit, dim=-1)  # (b, r, d)
    own = torch.einsum("bnd,brd,bnr->bn", unit, means, member)
    present = (member.sum(1) > 0).float()  # (b, r)
    pairs = torch.einsum("br,bs->brs", present, present).triu(1)
    alike = (means @ means.mT).clamp_min(0) * pairs
    return (1 - own).mean(1) + alike.sum((1, 2)) / pairs.sum((1, 2)).clamp_min(1)


class StateAlignment(nn.Module):
    """Reads the game's state from what the encoder makes of the visible units.

    The mean latent of each two frames is mapped to the state of both by one linear layer: what the
    encoder sees and what the state says are to agree.

    Args:
        latent_dim: channels of the latents.
        state_dim: values of a state vector.
    """

    def __init__(self, latent_dim: int, state_dim: int) -> None:
        super().__init__()
        self.state_dim = state_dim
        self.read = nn.Linear(latent_dim, FRAMES * state_dim)

    def forward(self, latents: Tensor, times: Tensor, state: Tensor, known: Tensor) -> Tensor:
        """Mean squared error of the state that is known, 0 where none is.

        Args:
            latents: `(b, n, latent_dim)`.
            times: which two frames each belongs to, int64 `(b, n)`.
            state: `(b, t, state_dim)`.
            known: bool `(b, t)`.

        Returns:
            `(b,)`.
        """
        steps = state.shape[1] // FRAMES
        member = F.one_hot(times, steps).to(latents)  # (b, n, t / 2)
        seen = member.sum(1)
        means = (member.mT @ latents) / seen.clamp_min(1)[..., None]
        told = self.read(means).unflatten(-1, (FRAMES, self.state_dim)).flatten(1, 2)
        counts = known & (seen > 0).repeat_interleave(FRAMES, 1)
        error = (told - state).square().mean(-1) * counts
        mean: Tensor = error.sum(1) / counts.sum(1).clamp_min(1)
        return mean


class LossWeights(nn.Module):
    """Adds losses up, each by its weight.

    Dynamic weights are learned with the rest: `weight * (exp(-s) * loss + s)` with one s a loss,
    the logarithm of its variance (Kendall et al. 2018, "Multi-Task Learning Using Uncertainty to
    Weigh Losses", eq. 10); s begins at 0, which are the fixed weights.

    Args:
        weights: weight of each loss by its name.
        dynamic: whether they are learned.
    """

    def __init__(self, weights: Mapping[str, float], dynamic: bool = False) -> None:
        super().__init__()
        self.weights = dict(weights)
        self.log_variance = nn.Parameter(torch.zeros(len(weights))) if dynamic else None

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The sum of losses of these names, each of no dimension."""
        total = torch.zeros((), device=next(iter(losses.values())).device)
        for index, (name, weight) in enumerate(self.weights.items()):
            loss = losses[name]
            if self.log_variance is not None:
                loss = torch.exp(-self.log_variance[index]) * loss + self.log_variance[index]
            total = total + weight * loss
        return total
