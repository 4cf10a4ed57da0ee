"""What boundaries a segmenter must beat: simple ways to find them.

None knows how many there are. Each has a few settings, of which `fit` keeps those that score best
on recordings to train on; `boundaries` then sees one recording at a time.

Besides the usual five there are stronger forms of two: where only the player moves, the moments at
which a signal of motion crosses a fitted threshold are nearly the truth, its peaks are not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from lit_modules.metrics import BoundaryF1

Numbers = NDArray[np.float32]
Seconds = NDArray[np.float64]

SMOOTHINGS = (0.0, 0.7, 1.5)  # steps of 1/20 s
APART = (1, 3, 6)  # least steps between two boundaries
QUANTILES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
PERIODS = tuple(round(0.1 * 1.15**i, 3) for i in range(28))  # 0.1 s to 4.4 s
PENALTIES = tuple(float(x) for x in np.geomspace(0.05, 50, 16))
POOLED = 5
"""Cells a side that a velocity field is averaged to before change points are looked for."""


class Recording(NamedTuple):
    """What the baselines see of a recording, and its true boundaries to fit on."""

    seconds: Seconds
    """Beginnings of the steps of 1/20 s, `(k,)`."""
    frame_difference: Numbers
    """Mean absolute difference of grey over each step `(k,)`."""
    flow_magnitude: Numbers
    """Mean length of the displacements in each step `(k,)`."""
    flow: Numbers
    """Displacements averaged over cells `(k, POOLED² · 2)`."""
    true: Seconds
    """True boundaries `(n,)`."""


def recording_of(
    seconds: Seconds, frame_difference: Numbers, velocity: Numbers, true: Seconds
) -> Recording:
    """A recording by the displacement of each point of a square grid, `velocity` `(k, p, 2)`."""
    speed = np.linalg.norm(velocity, axis=-1).mean(-1)
    return Recording(
        seconds, frame_difference, np.asarray(speed, np.float32), pooled(velocity), true
    )


class Baseline(ABC):
    """A way to find boundaries with settings to choose from."""

    settings: Any
    """What `fit` has chosen."""

    @abstractmethod
    def choices(self, recordings: Sequence[Recording]) -> Iterable[Any]:
        """Settings to try."""

    @abstractmethod
    def cut(self, recording: Recording, settings: Any) -> Seconds:
        """Boundaries by these settings, in seconds."""

    def fit(self, recordings: Sequence[Recording]) -> None:
        """Keeps the settings with the best mean F1 over both tolerances, the first of equals."""
        best = -1.0
        for settings in self.choices(recordings):
            found = score([(self.cut(one, settings), one.true) for one in recordings])
            value = sum(score for name, score in found.items() if "_f1_" in name)
            if value > best:
                best, self.settings = value, settings

    def boundaries(self, recording: Recording) -> Seconds:
        """Boundaries by the settings that were kept, in seconds `(m,)`."""
        return self.cut(recording, self.settings)


class Chance(Baseline):
    """Boundaries at random, independent of each other, as many a second as there are true ones.

    Args:
        seed: of the draw; a recording's draw depends on it, the rate and the length alone.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def choices(self, recordings: Sequence[Recording]) -> Iterable[float]:
        """Half to four times the rate of true boundaries."""
        rate = sum(len(one.true) for one in recordings) / sum(map(length, recordings))
        return [rate * factor for factor in (0.5, 0.71, 1.0, 1.41, 2.0, 2.83, 4.0)]

    def cut(self, recording: Recording, settings: float) -> Seconds:
        """A Poisson process of this rate."""
        rng = np.random.default_rng([self.seed, len(recording.seconds)])
        count = rng.poisson(settings * length(recording))
        return np.sort(rng.uniform(recording.seconds[0], recording.seconds[-1], count))


class UniformGrid(Baseline):
    """A boundary every so many seconds."""

    def choices(self, recordings: Sequence[Recording]) -> Iterable[float]:
        """Periods in seconds."""
        return PERIODS

    def cut(self, recording: Recording, settings: float) -> Seconds:
        """The grid begins half a period after the recording."""
        first, last = recording.seconds[[0, -1]]
        return np.arange(first + settings / 2, last, settings)


class Cut(NamedTuple):
    """How a signal becomes boundaries."""

    how: str
    smoothing: float
    threshold: float
    apart: int


class SignalBaseline(Baseline):
    """Boundaries where a signal of motion peaks, changes most or crosses a threshold.

    Args:
        signal: a number a step `(k,)` of a recording.
        ways: names of `DETECTORS` to choose from.
    """

    def __init__(
        self,
        signal: Callable[[Recording], Numbers],
        ways: Sequence[str] = ("crossings", "changes", "peaks"),
    ) -> None:
        self.signal, self.ways = signal, ways

    def choices(self, recordings: Sequence[Recording]) -> Iterator[Cut]:
        """Ways, smoothings and distances with thresholds at quantiles of the signals."""
        for how, smoothing in product(self.ways, SMOOTHINGS):
            novelty = DETECTORS[how][0]
            values = [novelty(smoothed(self.signal(one), smoothing)) for one in recordings]
            thresholds = np.unique(np.quantile(np.concatenate(values), QUANTILES))
            for threshold, apart in product(thresholds.tolist(), APART):
                yield Cut(how, smoothing, threshold, apart)

    def cut(self, recording: Recording, settings: Cut) -> Seconds:
        """Boundaries at the beginnings of steps."""
        novelty, detect = DETECTORS[settings.how]
        signal = novelty(smoothed(self.signal(recording), settings.smoothing))
        return recording.seconds[detect(signal, settings.threshold, settings.apart)]


class KernelChangePoints(Baseline):
    """Change points of the pooled velocity field by `ruptures.KernelCPD` (Arlot et al. 2019).

    The number of change points follows from a penalty for each, in units of the signal's spread.
    """

    def choices(self, recordings: Sequence[Recording]) -> Iterable[tuple[str, float]]:
        """Kernels and penalties."""
        return product(("rbf", "linear"), PENALTIES)

    def cut(self, recording: Recording, settings: tuple[str, float]) -> Seconds:
        """Exact minimum of the penalised cost."""
        import ruptures

        kernel, penalty = settings
        signal = recording.flow / max(float(recording.flow.std()), 1e-9)
        if kernel == "linear":
            penalty *= signal.shape[1]
        search = ruptures.KernelCPD(kernel=kernel, min_size=2).fit(signal.astype(np.float64))
        steps: list[int] = search.predict(pen=penalty)[:-1]
        return recording.seconds[steps]


def all_baselines() -> dict[str, Baseline]:
    """One of each, not fitted yet; the first five are the usual ones."""
    return {
        "random": Chance(),
        "uniform grid": UniformGrid(),
        "frame difference": SignalBaseline(frame_difference, ["peaks"]),
        "flow magnitude": SignalBaseline(flow_magnitude, ["peaks"]),
        "KernelCPD": KernelChangePoints(),
        "frame difference, any way": SignalBaseline(frame_difference),
        "flow magnitude, any way": SignalBaseline(flow_magnitude),
    }


def score(cuts: Iterable[tuple[Seconds, Seconds]]) -> dict[str, float]:
    """Scores of `BoundaryF1` over recordings of (predicted, true) seconds."""
    metric = BoundaryF1()
    for predicted, true in cuts:
        metric.update(torch.from_numpy(predicted), torch.from_numpy(true))
    return {name: float(value) for name, value in metric.compute().items()}


def frame_difference(recording: Recording) -> Numbers:
    """Its signal `(k,)`."""
    return recording.frame_difference


def flow_magnitude(recording: Recording) -> Numbers:
    """Its signal `(k,)`."""
    return recording.flow_magnitude


def pooled(velocity: Numbers) -> Numbers:
    """Velocities `(k, p, 2)` of a square grid averaged over cells, `(k, POOLED² · 2)`."""
    steps, points, _ = velocity.shape
    side = round(points**0.5)
    field = torch.from_numpy(velocity).view(steps, side, side, 2).permute(0, 3, 1, 2)
    cells: Numbers = F.adaptive_avg_pool2d(field, POOLED).flatten(1).numpy()
    return cells


def length(recording: Recording) -> float:
    """Seconds from the first step to the last, above 0."""
    return max(float(recording.seconds[-1] - recording.seconds[0]), 1e-3)


def smoothed(signal: Numbers, width: float) -> Numbers:
    """The signal `(k,)` under a Gaussian of this standard deviation in steps."""
    return np.asarray(gaussian_filter1d(signal, width) if width else signal, np.float32)


def change(signal: Numbers) -> Numbers:
    """Absolute difference to the step before `(k,)`."""
    return np.asarray(np.abs(np.diff(signal, prepend=signal[:1])), np.float32)


def peaks(signal: Numbers, threshold: float, apart: int) -> NDArray[np.int64]:
    """Steps at which the signal peaks at the threshold or above."""
    found: NDArray[np.int64] = find_peaks(signal, height=threshold, distance=apart)[0]
    return found


def crossings(signal: Numbers, threshold: float, apart: int) -> NDArray[np.int64]:
    """Steps at which the signal comes to the other side of the threshold, and stays for `apart`."""
    kept: list[int] = []
    for step in np.flatnonzero(np.diff(signal > threshold)) + 1:
        if kept and step - kept[-1] < apart:
            kept.pop()  # there and back
        else:
            kept.append(int(step))
    return np.array(kept, np.int64)


Detector = Callable[[Numbers, float, int], NDArray[np.int64]]
DETECTORS: dict[str, tuple[Callable[[Numbers], Numbers], Detector]] = {
    "crossings": (lambda signal: signal, crossings),
    "changes": (change, peaks),
    "peaks": (lambda signal: signal, peaks),
}
"""Of each way: what becomes of the signal, and where that is cut."""
