"""Segments of latent actions in clusters, as files that tables, programs and people can read."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from callbacks.cluster_page import write_page
from callbacks.cluster_segments import Segment, true_actions
from lit_modules import LitCodeLM
from lit_modules.latent_action import clustering, truth
from lit_modules.layers.fsq import FSQ, LEVELS

Kind = Literal["bow", "mean", "embedding"]
FILES = ("clusters.csv", "clusters.json", "metrics.json", "umap.png", "clusters.html")
PICTURE = 150  # dots an inch
BATCH = 64


@dataclass
class Clustering:
    """What `generate.py cluster` is asked for; see there."""

    features: Kind = "bow"
    method: clustering.Method = "kmeans"
    clusters: int | None = None
    tfidf: bool = False
    balance: bool = False
    game: str | None = None
    labels: str | None = None
    examples: int = 8
    seed: int = 0

    def check(self, ckpt_path: str | None) -> None:
        """Refuses what does not go together, before anything is read.

        Args:
            ckpt_path: of the language model, if one is given.

        Raises:
            ValueError: for such settings.
            ModuleNotFoundError: a package is missing.
        """
        if self.tfidf and self.features != "bow":
            raise ValueError(f"tfidf weighs words; it needs features bow, not {self.features}")
        if (self.features == "embedding") != (ckpt_path is not None):
            raise ValueError(
                f"features {self.features} and ckpt_path {ckpt_path} do not go together; features "
                "embedding needs the checkpoint of a LitCodeLM, the others none"
            )
        if self.examples < 0:
            raise ValueError(f"examples {self.examples} is below 0; give 0 or more")
        if self.game is not None and self.game not in truth.AGENTS:
            raise ValueError(
                f"game {self.game} has no known actions; choose from {', '.join(truth.AGENTS)}"
            )
        try:
            import sklearn  # noqa: F401
            import umap  # noqa: F401
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"clustering needs {error.name}; pip install -e .[latent]"
            ) from error

    def write(self, segments: Sequence[Segment], module: LitCodeLM | None, out: Path) -> Any:
        """Clusters segments and writes all files into the folder `out`.

        Args:
            segments: three or more, of one codebook.
            module: language model for the features `embedding`.
            out: folder, which exists.

        Returns:
            The metrics as they were written.
        """
        features = self.describe(segments, module)
        actions = true_actions(segments, self.game, self.labels)
        groups = actions if actions is not None else numbered([one.video for one in segments])
        labels = clustering.find_clusters(
            features, self.method, self.clusters, self.seed, groups if self.balance else None
        )
        metrics = self.judge(segments, features, labels, actions)
        rows = list(table(segments, labels, actions))
        with (out / "clusters.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        (out / "clusters.json").write_text(json.dumps(rows, indent=1) + "\n")
        (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
        draw(out / "umap.png", project(features, self.seed), labels, actions)
        picked = examples(features, labels, self.examples)
        write_page(out / "clusters.html", out / "umap.png", rows, segments, picked, metrics)
        return metrics

    def describe(
        self, segments: Sequence[Segment], module: LitCodeLM | None
    ) -> clustering.Features:
        """Features of each segment `(n, d)`."""
        codes = [one.codes for one in segments]
        size = segments[0].codebook_size
        if self.features == "bow":
            return clustering.bag_of_words(codes, size, self.tfidf)
        if self.features == "mean":
            quantiser = quantiser_of(size)
            vectors = quantiser.to_codes(torch.arange(quantiser.codes)).numpy()
            return clustering.mean_codes(codes, vectors)
        assert module is not None  # `check` has seen to it
        rows = []
        for start in range(0, len(codes), BATCH):
            sequences = [torch.from_numpy(one) for one in codes[start : start + BATCH]]
            padded = torch.nn.utils.rnn.pad_sequence(sequences, True, -1.0)
            rows.append(module.embed(padded.to(module.device)).cpu())
        return np.asarray(torch.cat(rows).numpy(), np.float32)

    def judge(
        self,
        segments: Sequence[Segment],
        features: clustering.Features,
        labels: clustering.Labels,
        actions: truth.Labels | None,
    ) -> dict[str, Any]:
        """How good the clusters are, in themselves and by the truth where it is known."""
        metrics: dict[str, Any] = {
            "segments": len(segments),
            "videos": len({one.path for one in segments}),
            "features": self.features + (" tf-idf" if self.tfidf else ""),
            "method": self.method,
            "seed": self.seed,
            "clusters": len(np.unique(labels[labels >= 0])),
            "noise_share": float(np.mean(labels == clustering.NOISE)),
            "silhouette": clustering.silhouette(features, labels),
        }
        if actions is not None and (known := actions != truth.UNKNOWN).any():
            names, counts = np.unique(actions[known], return_counts=True)
            metrics["truth"] = {
                "segments": int(known.sum()),
                "actions": {
                    truth.ACTIONS[name]: int(count)
                    for name, count in zip(names, counts, strict=True)
                },
                **clustering.agreement(labels[known], actions[known]),
            }
        return metrics


def quantiser_of(codes: int) -> FSQ:
    """The quantiser with so many codes.

    Raises:
        ValueError: there is none.
    """
    for levels in LEVELS.values():
        if math.prod(levels) == codes:
            return FSQ(levels)
    known = ", ".join(str(math.prod(levels)) for levels in LEVELS.values())
    raise ValueError(f"no codebook has {codes} codes; there are {known}; choose features bow")


def numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """A number for each different name `(n,)`."""
    return np.asarray(np.unique(names, return_inverse=True)[1], np.int64)


def table(
    segments: Sequence[Segment], labels: clustering.Labels, actions: truth.Labels | None
) -> Any:
    """A row for each segment; `action` is empty where it is not known."""
    for i, (one, label) in enumerate(zip(segments, labels, strict=True)):
        action = truth.UNKNOWN if actions is None else int(actions[i])
        yield {
            "name": one.name,
            "video": one.video,
            "start_seconds": one.start,
            "end_seconds": one.end,
            "codes": len(one.codes),
            "cluster": int(label),
            "action": "" if action == truth.UNKNOWN else truth.ACTIONS[action],
        }


def examples(
    features: clustering.Features, labels: clustering.Labels, most: int
) -> dict[int, list[int]]:
    """Of each cluster segments to show: the nearest to its middle and ever further, spread evenly.

    The nearest alone would look better than the cluster is.
    """
    picked = {}
    for label in np.unique(labels).tolist():
        own = np.flatnonzero(labels == label)
        distances = np.linalg.norm(features[own] - features[own].mean(0), axis=1)
        ordered = own[np.argsort(distances, kind="stable")]
        places = np.linspace(0, len(own) - 1, min(most, len(own))).round().astype(int)
        picked[label] = ordered[places].tolist()
    return picked


def project(features: clustering.Features, seed: int) -> clustering.Features:
    """Places in a plane `(n, 2)` by UMAP (McInnes et al. 2018)."""
    import umap

    neighbours = min(15, len(features) - 1)
    # A spectral start needs many more segments than dimensions; the seed means one thread.
    start = "spectral" if len(features) > 16 else "random"
    plane = umap.UMAP(n_neighbors=neighbours, init=start, random_state=seed, n_jobs=1)
    return np.asarray(plane.fit_transform(features), np.float32)


def draw(
    path: Path, places: clustering.Features, labels: clustering.Labels, actions: truth.Labels | None
) -> None:
    """The segments in the plane, coloured by cluster and, where it is known, by true action."""
    panels = [("cluster", labels, {int(k): "noise" if k < 0 else str(k) for k in labels})]
    if actions is not None:
        named = {int(k): "unknown" if k < 0 else truth.ACTIONS[k] for k in actions}
        panels.append(("effective action", actions, named))
    figure = Figure(figsize=(5 * len(panels), 4.5), layout="constrained")
    for axes, (title, values, named) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        for value in sorted(named):
            here = places[values == value]
            colour = "0.7" if value < 0 else f"C{value}"
            axes.scatter(*here.T, s=9, color=colour, label=f"{named[value]} ({len(here)})")
        axes.set(title=title, xticks=[], yticks=[])
        axes.legend(fontsize=7, markerscale=1.5, loc="best")
    figure.savefig(path, dpi=PICTURE, metadata={"Software": None})


def summary(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The figures in lines to print; NMI is not among them, as it grows with the clusters."""
    score = metrics["silhouette"]
    yield (
        f"{metrics['segments']} segments in {metrics['clusters']} clusters, silhouette "
        + ("undefined" if score is None else f"{score:.3f}")
    )
    if found := metrics.get("truth"):
        scores = ", ".join(
            f"{name} {found[key]:.3f}"
            for name, key in (("AMI", "ami"), ("ARI", "ari"), ("V-measure", "v_measure"))
        )
        yield f"against {len(found['actions'])} effective actions: {scores}"
