"""What the encoder's latents know of a clip, as a linear classifier finds it out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

HELD_OUT = 4
"""Of each class every fourth clip is kept for the test."""


class LinearProbe(Metric):
    """Balanced accuracy of a logistic regression from features of clips to a label.

    Of each class a fixed quarter of the clips, chosen by chance, is held out; the others are
    learned. A class of fewer than `least` clips is left out. All clips are gathered from all ranks
    and put in order by their number, each once, so the result does not depend on who saw which.

    Clips of one episode resemble each other. What is held out are clips, not episodes: the probe
    says what can be read from the latents, not what would be known of a level never seen.

    Args:
        least: clips that a class must have to count, at least 2.
        seed: of the choice of clips that are held out.

    Raises:
        ValueError: `least` is below 2.
    """

    full_state_update = False
    higher_is_better = True
    features: list[Tensor]
    labels: list[Tensor]
    clips: list[Tensor]

    def __init__(self, least: int = 8, seed: int = 0) -> None:
        super().__init__()
        if least < 2:
            raise ValueError(f"least {least} must be 2 or more: one clip to learn, one to test")
        self.least, self.seed = least, seed
        # All states are flat and of one type: as such torchmetrics fills in those of a rank that
        # has seen nothing.
        self.set_dtype(torch.float64)
        for name in ("features", "labels", "clips"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, features: Tensor, labels: Tensor, clips: Tensor) -> None:
        """Takes clips.

        Args:
            features: such as the mean of a clip's latents, float `(b, d)`.
            labels: their classes, any int64 `(b,)`.
            clips: their numbers, int64 `(b,)`; the same number is the same clip.
        """
        self.features.append(features.detach().double().flatten())
        self.labels.append(labels.double())
        self.clips.append(clips.double())

    def compute(self) -> dict[str, Tensor]:
        """Learns and tests.

        Returns:
            `accuracy`, the mean over classes of the share of their held-out clips that are told
            right, and `chance`, what guessing comes to: both in [0, 1], NaN where fewer than two
            classes have enough clips.
        """
        nothing = torch.full((), torch.nan, device=self.device)
        if not len(self.clips):
            return {"accuracy": nothing, "chance": nothing}
        features, labels, clips = map(dim_zero_cat, (self.features, self.labels, self.clips))
        first = first_of_each(clips)
        features, labels = features.view(len(clips), -1)[first], labels[first]
        classes, counts = torch.unique(labels, return_counts=True)
        classes = classes[counts >= self.least]
        if len(classes) < 2:
            return {"accuracy": nothing, "chance": nothing}
        enough = torch.isin(labels, classes)
        features, labels = features[enough], torch.searchsorted(classes, labels[enough])
        held_out = self._held_out(labels, len(classes))
        mean, spread = features[~held_out].mean(0), features[~held_out].std(0, correction=0)
        features = (features - mean) / spread.clamp_min(1e-6)
        weight, bias = fit(features[~held_out], labels[~held_out], len(classes))
        told = (features @ weight.T + bias).argmax(1)
        right = (told == labels).double()[held_out]
        share = [right[labels[held_out] == label].mean() for label in range(len(classes))]
        accuracy = torch.stack(share).mean().float()
        return {"accuracy": accuracy, "chance": torch.full_like(accuracy, 1 / len(classes))}

    def _held_out(self, labels: Tensor, classes: int) -> Tensor:
        """Which clips are not to be learned from, bool `(n,)`."""
        generator = torch.Generator().manual_seed(self.seed)
        held_out = torch.zeros_like(labels, dtype=torch.bool)
        for label in range(classes):
            of_class = (labels == label).nonzero()[:, 0]
            order = torch.randperm(len(of_class), generator=generator)
            chosen = order[: max(1, len(order) // HELD_OUT)]
            held_out[of_class[chosen.to(labels.device)]] = True
        return held_out


def first_of_each(numbers: Tensor) -> Tensor:
    """Where each number stands first, in rising order of the numbers: `(n,)` -> `(k,)`."""
    order = numbers.argsort(stable=True)
    repeated = F.pad(numbers[order].diff() == 0, (1, 0), value=False)
    return order[~repeated]


def fit(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression, every class of the same weight, by L-BFGS.

    The least of the mean cross entropy plus `|weight|^2 / (2 n)`: scikit-learn's
    `LogisticRegression(C=1, class_weight="balanced")`.

    Args:
        features: standardised, float64 `(n, d)`.
        labels: int64 `(n,)` below `classes`, each at least once.
        classes: how many there are.

    Returns:
        The weight `(classes, d)` and the bias `(classes,)`.
    """
    n, d = features.shape
    # Tests run in inference mode, whose tensors know no gradient; clones made outside it do.
    with torch.inference_mode(False), torch.enable_grad():
        features, labels = features.clone(), labels.clone()
        of_class = n / (classes * labels.bincount(minlength=classes).double())
        weight = features.new_zeros(classes, d, requires_grad=True)
        bias = features.new_zeros(classes, requires_grad=True)
        search = torch.optim.LBFGS(
            [weight, bias], max_iter=500, tolerance_grad=1e-8, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            search.zero_grad()
            errors = F.cross_entropy(features @ weight.T + bias, labels, reduction="none")
            value = (of_class[labels] * errors).mean() + weight.square().sum() / (2 * n)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        search.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
