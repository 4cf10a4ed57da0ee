"""What a linear classifier reads out of features: effective actions, with paired comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

PENALTIES = tuple(float(x) for x in np.logspace(-1, 6, 8))
LEAST_SHARE = 0.01
"""Classes that fewer windows have are left out: a balanced accuracy would hang on a handful."""


def compare_probes(
    features: Mapping[str, NDArray[np.float32]],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    labelled: int | None = None,
    folds: int = 5,
) -> dict[str, Any]:
    """Balanced accuracy of the same linear probe on several features, over the same folds.

    The probe is ridge regression to class indicators with balanced weights; its penalty is chosen
    by leave-one-out within the training part. Folds keep groups whole.

    Args:
        features: `(n, d)` of each kind; the first is what the others are compared with.
        labels: class of each row `(n,)`; negative ones are left out.
        groups: recording of each row `(n,)`.
        labelled: recordings whose labels the probe learns from, drawn `folds` times; all others are
            tested. None takes all but a fold in turn.
        folds: parts that are tested in turn; fewer where there are fewer groups.

    Returns:
        `classes`, `rows`, `chance`, and of each kind `balanced_accuracy` and its `folds`; of all
        but the first also `gain`, the mean difference to the first, and `gain_standard_error`.

    Raises:
        ValueError: fewer than two groups or classes, or none left to test.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.metrics import recall_score
    from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    common = names[counts >= LEAST_SHARE * counts.sum()]
    kept = np.flatnonzero(np.isin(labels, common))
    recordings = len(np.unique(groups[kept]))
    if recordings < 2 or len(common) < 2:
        raise ValueError(
            f"{len(common)} classes in {recordings} recordings; a probe needs two or more of both"
        )
    if labelled is None:
        parts = StratifiedGroupKFold(min(folds, recordings), shuffle=True, random_state=0)
    else:  # refuses numbers that leave none to test
        parts = GroupShuffleSplit(folds, train_size=labelled, random_state=0)
    splits = list(parts.split(kept, labels[kept], groups[kept]))
    scores: dict[str, list[float]] = {}
    for kind, rows in features.items():
        scores[kind] = []
        for train, test in splits:
            probe = make_pipeline(
                StandardScaler(), RidgeClassifierCV(PENALTIES, class_weight="balanced")
            )
            probe.fit(rows[kept[train]], labels[kept[train]])
            told, true = probe.predict(rows[kept[test]]), labels[kept[test]]
            present = np.unique(true)
            scores[kind].append(float(recall_score(true, told, labels=present, average="macro")))

    report: dict[str, Any] = {
        "classes": len(common),
        "rows": len(kept),
        "chance": 1 / len(common),
    }
    first = np.array(next(iter(scores.values())))
    for place, (kind, values) in enumerate(scores.items()):
        report[kind] = {"balanced_accuracy": float(np.mean(values)), "folds": values}
        if place:
            gains = np.array(values) - first
            error = gains.std(ddof=1) / len(gains) ** 0.5
            report[kind] |= {"gain": float(gains.mean()), "gain_standard_error": float(error)}
    return report
