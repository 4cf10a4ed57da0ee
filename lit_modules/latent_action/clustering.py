"""Segments of codes to clusters, and how good those are: scikit-learn's methods, our features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Features = NDArray[np.float32]
Labels = NDArray[np.int64]
Method = Literal["kmeans", "gmm", "hdbscan"]

MOST_CLUSTERS = 12
"""Most that are tried where their number is not given."""
NOISE = -1
"""HDBSCAN's label of what belongs to no cluster."""


def bag_of_words(sequences: Sequence[Codes], codes: int, tfidf: bool = False) -> Features:
    """How often each code comes up in each segment.

    Args:
        sequences: codes of each segment `(n,)`.
        codes: number of codes.
        tfidf: weigh codes less that most segments hold, and scale to length 1; else each row sums
            to 1.

    Returns:
        `(segments, codes)`, zeros for a segment without codes.
    """
    counts = np.stack([np.bincount(one, minlength=codes) for one in sequences])
    if tfidf:
        from sklearn.feature_extraction.text import TfidfTransformer

        return np.asarray(TfidfTransformer().fit_transform(counts).todense(), np.float32)
    return np.asarray(counts / np.maximum(counts.sum(1, keepdims=True), 1), np.float32)


def mean_codes(sequences: Sequence[Codes], vectors: NDArray[np.float32]) -> Features:
    """Mean of the vectors of a segment's codes.

    Args:
        sequences: codes of each segment `(n,)`, at least one each.
        vectors: of each code `(codes, d)`.

    Returns:
        `(segments, d)`.
    """
    return np.stack([vectors[one].mean(0) for one in sequences]).astype(np.float32)


def find_clusters(
    features: Features,
    method: Method = "kmeans",
    clusters: int | None = None,
    seed: int = 0,
    groups: Labels | None = None,
) -> Labels:
    """Label of each segment `(n,)`, the largest cluster 0; -1 is noise.

    Args:
        features: `(n, d)`.
        method: `kmeans`, `gmm` (a mixture of Gaussians with diagonal covariances) or `hdbscan`.
        clusters: their number; unset the one of 2 to 12 with the best silhouette. HDBSCAN finds
            its own.
        seed: of the starts.
        groups: where given `(n,)`, segments of small groups count more often in the fit, so that
            a frequent class does not take all clusters.

    Raises:
        ValueError: for too few segments, or a choice that the method does not know.
    """
    if method not in ("kmeans", "gmm", "hdbscan"):
        raise ValueError(f"method {method} is not known; choose kmeans, gmm or hdbscan")
    if len(features) < 3:
        raise ValueError(f"{len(features)} segments are too few to cluster; give at least 3")
    if method == "hdbscan":
        if clusters is not None or groups is not None:
            raise ValueError("hdbscan takes neither clusters nor balance; choose kmeans or gmm")
        from sklearn.cluster import HDBSCAN

        least = max(2, min(5, len(features) // 4))
        return by_size(HDBSCAN(min_cluster_size=least, copy=True).fit_predict(features))
    fitted = features if groups is None else features[balanced(groups)]
    distinct = len(np.unique(fitted, axis=0))
    if clusters is not None and not 1 <= clusters <= distinct:
        raise ValueError(
            f"clusters {clusters} of {distinct} different segments; give 1 to {distinct}"
        )
    tried = [clusters] if clusters else range(2, min(MOST_CLUSTERS, distinct - 1) + 1)
    found = [by_size(model(method, k, seed).fit(fitted).predict(features)) for k in tried]
    if not found:
        return np.zeros(len(features), np.int64)  # all alike
    return max(found, key=lambda labels: silhouette(features, labels) or -1.0)


def model(method: Method, clusters: int, seed: int) -> Any:
    """The estimator, not fitted yet."""
    if method == "kmeans":
        from sklearn.cluster import KMeans

        return KMeans(clusters, n_init=10, random_state=seed)
    from sklearn.mixture import GaussianMixture

    # Features lie in [0, 1] or [-1, 1]; 1e-3 keeps a code that a cluster never has from deciding.
    return GaussianMixture(
        clusters, covariance_type="diag", reg_covar=1e-3, n_init=3, random_state=seed
    )


def balanced(groups: Labels) -> Labels:
    """Indices in which each group comes as often as the largest, its members by turns."""
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    most = max(map(len, members))
    return np.concatenate([np.resize(own, most) for own in members])


def by_size(labels: NDArray[Any]) -> Labels:
    """The same clusters, the largest as 0 and so on; noise stays -1."""
    names, counts = np.unique(labels[labels != NOISE], return_counts=True)
    order = names[np.argsort(-counts, kind="stable")]
    renamed = np.full(len(labels), NOISE, np.int64)
    for new, old in enumerate(order):
        renamed[labels == old] = new
    return renamed


def silhouette(features: Features, labels: Labels) -> float | None:
    """Mean silhouette in [-1, 1] of what is not noise; None where it is not defined."""
    from sklearn.metrics import silhouette_score

    kept = labels != NOISE
    if not 2 <= len(np.unique(labels[kept])) < kept.sum():
        return None
    return float(silhouette_score(features[kept], labels[kept]))


def agreement(labels: Labels, truth: Labels) -> dict[str, float]:
    """How clusters agree with true classes; noise counts as a cluster of its own.

    AMI and ARI are 0 in the mean for labels at random; V and NMI (which equal each other) are not
    and grow with the number of clusters, so that neither is to be given alone.

    Args:
        labels: `(n,)`.
        truth: `(n,)`.

    Returns:
        `ami`, `ari`, `v_measure`, `nmi`, each at most 1.
    """
    from sklearn import metrics

    return {
        "ami": float(metrics.adjusted_mutual_info_score(truth, labels)),
        "ari": float(metrics.adjusted_rand_score(truth, labels)),
        "v_measure": float(metrics.v_measure_score(truth, labels)),
        "nmi": float(metrics.normalized_mutual_info_score(truth, labels)),
    }
