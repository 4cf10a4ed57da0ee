"""Segments, clusters and probes of a trained tokenizer on recordings whose truth is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.latent_games import STEP, Play
from datamodules.codes import in_time
from lit_modules import LitSegmenter
from lit_modules.latent_action import clustering, truth
from lit_modules.latent_action.baselines import Recording, SignalBaseline, score
from lit_modules.latent_action.probe import compare_probes
from lit_modules.latent_action.segmentation import Segment, Segmenter, find_segments
from lit_modules.latent_action.usage import count_codes, usage_of_both

HORIZON = 16  # steps
STRIDES = {"segmenter": 4, "segmenter_fine": 2}
"""Steps between windows: what the preset has, and half of it."""
BATCH = 256
QUANTILES = np.linspace(0.05, 0.95, 13)
LABELLED = (2, 4, 8, 16)
"""Recordings that a probe learns from."""
CLUSTERS = (None, 2, 3, 4, 6, 8, 12)


class Measured(NamedTuple):
    """A recording's windows, as the segmenter sees them."""

    play: Play
    stride: int
    """Steps from a window's beginning to the next one's."""
    seconds: list[float]
    """Beginnings `(w,)`."""
    energies: dict[str, NDArray[np.float64]]
    """`(w,)` each."""
    indices: NDArray[np.int64]
    """`(w, n)`."""
    vectors: NDArray[np.float32]
    """Quantised `(w, n, d)`."""
    moving: NDArray[np.bool_]
    """Which tokens stand for motion `(w, n)`."""


def starts(play: Play, stride: int) -> range:
    """First steps of its windows."""
    return range(0, len(play.actions) - HORIZON + 1, stride)


@torch.no_grad()
def measure(segmenter: LitSegmenter, play: Play, stride: int) -> Measured:
    """Energies and, with a tokenizer, codes of all windows of a recording."""
    first_steps = starts(play, stride)
    velocity, visible = torch.from_numpy(play.velocity), torch.from_numpy(play.visible)
    energies, indices, vectors, moving = [], [], [], []
    for batch in np.array_split(np.array(first_steps), len(first_steps) // BATCH + 1):
        rows = torch.from_numpy(batch)[:, None] + torch.arange(HORIZON)  # (b, T)
        windows = velocity[rows]
        still = ~windows.flatten(1).any(1)
        found, codes = segmenter.measure(
            {"velocity": windows, "visible": visible[rows], "still": still, "stride": stride}
        )
        energies.append({name: values.double().numpy() for name, values in found.items()})
        if codes is not None and segmenter.tokenizer is not None:
            moving.append(segmenter.tokenizer.moving_tokens(windows).numpy())
            indices.append(codes.indices.numpy())
            vectors.append(codes.quantized.numpy())
    return Measured(
        play,
        stride,
        [float(play.edges[first]) for first in first_steps],
        {name: np.concatenate([one[name] for one in energies]) for name in energies[0]},
        np.concatenate(indices or [np.zeros((0, 0), np.int64)]),
        np.concatenate(vectors or [np.zeros((0, 0, 0), np.float32)]),
        np.concatenate(moving or [np.zeros((0, 0), np.bool_)]),
    )


def codes_used(segmenter: LitSegmenter, own: Sequence[Measured]) -> dict[str, float]:
    """How much of the codebook recordings use, each token once."""
    assert segmenter.codebook_size is not None
    apart = HORIZON // own[0].stride  # windows that share no step
    codes, moving = (
        torch.from_numpy(np.concatenate([getattr(one, name)[::apart] for one in own]))
        for name in ("indices", "moving")
    )
    figures = usage_of_both(count_codes(codes, moving, segmenter.codebook_size))
    return {name: round(float(value), 4) for name, value in figures.items()}


def segments_of(one: Measured, settings: dict[str, Any]) -> list[Segment]:
    """Segments as the exporter would write them."""
    settings = dict(settings)
    energies = one.energies[settings.pop("energy")]
    ends = float(one.play.edges[-1])
    segmenter = Segmenter(**settings, horizon=HORIZON * STEP, stride=one.stride * STEP)
    return find_segments(segmenter, energies.tolist(), one.seconds, ends)


def boundaries_of(segments: Iterable[Segment], play: Play) -> truth.Seconds:
    """Beginnings and ends of segments, each moment once; a video's own ends are none."""
    times = {round(t, 6) for segment in segments for t in (segment.start, segment.end)}
    first, last = play.edges[[0, -1]]
    return np.array(sorted(t for t in times if first + 1e-3 < t < last - 1e-3), np.float64)


def choices(train: Sequence[Measured]) -> Iterator[dict[str, Any]]:
    """Settings of the segmenter: each energy with thresholds at quantiles of its values."""
    for energy in train[0].energies:
        values = np.concatenate([one.energies[energy] for one in train])
        moving = values[values > 0]
        thresholds = np.unique(np.quantile(moving, QUANTILES)) if len(moving) else moving
        for on, ratio, ema, debounce, longest in product(
            thresholds, (0.95, 0.6), (0.7, 1.0), (1, 2), (0.0, 2.0)
        ):
            yield {
                **{"energy": energy, "on": float(on), "off": float(ratio * on), "ema": ema},
                **{"debounce": debounce, "cooldown": 0, "max_seconds": longest},
            }


def segment_scores(train: Sequence[Measured], held_out: Sequence[Measured]) -> dict[str, Any]:
    """Boundary scores of segments, with the settings that are best on the training part."""

    def judge(own: Sequence[Measured], settings: dict[str, Any]) -> dict[str, float]:
        return score(
            [
                (boundaries_of(segments_of(one, settings), one.play), one.play.seen.true)
                for one in own
            ]
        )

    def value(settings: dict[str, Any]) -> float:
        found = judge(train, settings)
        return found["boundary_f1_100ms"] + found["boundary_f1_250ms"]

    best = max(choices(train), key=value)
    return {**judge(held_out, best), "settings": best, "value_in_training": value(best)}


def change_scores(train: Sequence[Measured], held_out: Sequence[Measured]) -> dict[str, Any]:
    """Boundary scores of changes of code, with the settings that are best on the training part."""
    changes = SignalBaseline(lambda recording: recording.frame_difference)
    changes.fit([code_changes(one) for one in train])
    cuts = [(changes.boundaries(code_changes(one)), one.play.seen.true) for one in held_out]
    return {**score(cuts), "settings": str(changes.settings)}


def code_changes(one: Measured) -> Recording:
    """A recording whose signal is how far the code moves from one step to the next."""
    _, n, d = one.vectors.shape
    # Of each window the newest tokens, which know most of what was before; of the first one all.
    fresh = [
        one.vectors[0],
        *(window[n - n * one.stride // HORIZON :] for window in one.vectors[1:]),
    ]
    tokens = np.concatenate(fresh).reshape(-1, d)
    steps = np.repeat(tokens, HORIZON // n, axis=0)
    signal = np.linalg.norm(np.diff(steps, axis=0, prepend=steps[:1]), axis=1)
    seen = one.play.seen
    return seen._replace(
        seconds=seen.seconds[: len(signal)], frame_difference=np.asarray(signal, np.float32)
    )


def cluster_scores(
    segmenter: LitSegmenter,
    settings: dict[str, Any],
    train: Sequence[Measured],
    held_out: Sequence[Measured],
) -> dict[str, Any]:
    """Agreement of clusters of held-out segments with effective actions.

    Features, method and number of clusters are those with the best AMI on the training part; the
    clusters themselves are found in the held-out part, without its truth.
    """
    ours, theirs = (described(segmenter, settings, own) for own in (train, held_out))
    tried = []
    for kind, method, count in product(ours[0], ("kmeans", "gmm", "hdbscan"), CLUSTERS):
        if method == "hdbscan" and count is not None:
            continue
        scores = agreement(ours, kind, method, count)
        if scores is not None:
            tried.append((scores["ami"], kind, method, count))
    _, kind, method, count = max(tried, key=lambda one: one[0])
    found = agreement(theirs, kind, method, count) or {}
    return {**found, "features": kind, "method": method, "asked": count}


Described = tuple[dict[str, clustering.Features], truth.Labels]


def described(
    segmenter: LitSegmenter, settings: dict[str, Any], own: Sequence[Measured]
) -> Described:
    """Features of all segments by kind, and their effective actions."""
    assert segmenter.tokenizer is not None
    quantiser = segmenter.tokenizer.fsq
    codes, actions = [], []
    for one in own:
        segments = segments_of(one, settings)
        windows = [list(segment.windows) for segment in segments]
        record = {"stride": one.stride, "horizon": HORIZON}
        codes += [
            in_time({**record, "codes": one.indices[w].tolist(), "windows": w}) for w in windows
        ]
        times = (np.array([getattr(s, x) for s in segments]) for x in ("start", "end"))
        actions.append(truth.segment_actions(one.play.actions, one.play.edges, *times))
    vectors = quantiser.to_codes(torch.arange(quantiser.codes)).numpy()
    features = {
        "bow": clustering.bag_of_words(codes, quantiser.codes),
        "bow tf-idf": clustering.bag_of_words(codes, quantiser.codes, tfidf=True),
        "mean": clustering.mean_codes(codes, vectors),
    }
    return features, np.concatenate(actions)


def agreement(described: Described, kind: str, method: Any, count: int | None) -> Any:
    """Scores of one way to cluster; None where there are too few segments for it."""
    features, actions = described
    try:
        labels = clustering.find_clusters(features[kind], method, count)
    except ValueError:
        return None
    known = actions != truth.UNKNOWN
    return {
        **clustering.agreement(labels[known], actions[known]),
        "silhouette": clustering.silhouette(features[kind], labels),
        "segments": int(known.sum()),
        "clusters": len(np.unique(labels[labels >= 0])),
        "actions": len(np.unique(actions[known])),
    }


def probe_scores(own: Sequence[Measured]) -> dict[str, Any]:
    """The effective action in the middle of windows, read from velocity and from codes.

    By how many recordings have labels to learn it from; the last entry is four fifths of them.
    """
    velocity, labels, groups = [], [], []
    for number, one in enumerate(own):
        rows = np.array(starts(one.play, one.stride))
        windows = one.play.velocity[rows[:, None] + np.arange(HORIZON)]
        velocity.append(windows.reshape(len(rows), -1))
        labels.append(one.play.actions[rows + HORIZON // 2])
        groups.append(np.full(len(rows), number))
    vectors = np.concatenate([one.vectors for one in own])
    features = {
        "velocity": np.concatenate(velocity),
        "codes": vectors.reshape(len(vectors), -1),
    }
    known, recordings = np.concatenate(labels), np.concatenate(groups)
    most = round(0.8 * len(own))
    return {
        str(n or most): compare_probes(features, known, recordings, n)
        for n in (*(n for n in LABELLED if n < most), None)
    }
