"""Thresholds from windows whose truth is known, or else from the motion itself.

`python -m lit_modules.latent_action.calibration DIR --out REPORT` does it from the `energy.jsonl`
files that a segmenting run has left below DIR, without a model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lit_modules.latent_action.segmentation import smooth

Objective = Literal["f1", "youden"]
Labels = Literal["auto", "changes", "active", "motion"]
MOTION = "velocity/l2_mean"
CURVE = 101  # most thresholds of the curve that a report shows
CIRCULAR = (
    "no actions were known: the labels are Otsu's threshold on the tracks' own speed, so the "
    "scores say how well an energy repeats the speed, not how well it finds actions"
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Measured(NamedTuple):
    """The windows of one video, in order."""

    energies: dict[str, list[float]]
    """By their names, not smoothed."""
    changes: list[bool | None]
    """Whether the action changes; None is not known."""
    active: list[bool | None]
    """Whether there is an action."""


class Sweep(NamedTuple):
    """What each threshold is worth, in rising order of thresholds."""

    thresholds: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    youden: Floats
    """Share of positives found minus share of negatives taken for such."""


def sweep(energies: Floats, labels: Bools) -> Sweep:
    """Scores of `energy >= threshold` for every threshold that makes a difference.

    Thresholds lie halfway between neighbouring energies, the lowest below all of them.

    Args:
        energies: `(n,)`.
        labels: `(n,)`, of both kinds.

    Raises:
        ValueError: if all labels are alike.
    """
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        raise ValueError(
            f"{positives} of {len(labels)} windows are labelled true; a threshold needs both kinds"
        )
    values = np.unique(energies)
    thresholds = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    found = positives - np.searchsorted(np.sort(energies[labels]), thresholds)
    false = negatives - np.searchsorted(np.sort(energies[~labels]), thresholds)
    precision, recall = found / (found + false), found / positives
    f1 = 2 * found / (found + false + positives)
    return Sweep(thresholds, precision, recall, f1, recall - false / negatives)


def otsu(values: Floats) -> float:
    """The threshold that parts values into two groups of least variance within (Otsu 1979)."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return high
    levels = np.round((values - low) / (high - low) * 65535).astype(np.uint16)
    level, _ = cv2.threshold(levels[None], 0, 65535, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return low + (level + 0.5) / 65535 * (high - low)


def smoothed(energies: Sequence[float], ema: float) -> Floats:
    """Energies of one video as the segmenter compares them."""
    value, values = None, []
    for energy in energies:
        values.append(value := smooth(value, energy, ema))
    return np.array(values, np.float64)


def calibrate(
    videos: Sequence[Measured],
    objective: Objective = "f1",
    labels: Labels = "auto",
    ema: float = 0.7,
    off_ratio: float = 0.95,
) -> dict[str, Any]:
    """Best thresholds of every energy.

    Args:
        videos: what was measured.
        objective: what a threshold is chosen by: F1, or Youden's index.
        labels: true windows are those in which the action `changes`, or those with an action
            (`active`), or those whose tracks move (`motion`: Otsu's threshold on their speed);
            `auto` is `changes` where actions are known and `motion` elsewhere.
        ema: weight of a new energy in the smoothed one.
        off_ratio: closing threshold over opening threshold.

    Returns:
        The report: `labels`, `circular`, `note`, `objective`, `ema`, `windows`, `positives` and
        `energies`: of each name `on`, `off`, `f1`, `youden`, `precision`, `recall`, `curve`.

    Raises:
        ValueError: if there are no windows, or no labels of the kind, or all are alike.
    """
    if not (count := sum(len(video.changes) for video in videos)):
        raise ValueError("there are no windows to calibrate with; give videos of 0.8 s or more")
    truths = [video.active if labels == "active" else video.changes for video in videos]
    known = np.array([value is not None for truth in truths for value in truth], np.bool_)
    kind = labels if labels != "auto" else "changes" if known.any() else "motion"
    if kind == "motion":
        speeds = np.concatenate([smoothed(video.energies[MOTION], ema) for video in videos])
        truth, known = speeds >= otsu(speeds), np.ones(count, np.bool_)
    elif not known.any():
        raise ValueError(
            f"no window has a known action for labels {kind}; set model.labels to motion, or put "
            "labels.npz files beside the videos"
        )
    else:
        truth = np.array([bool(value) for row in truths for value in row], np.bool_)
    report: dict[str, Any] = {
        "labels": kind,
        "circular": kind == "motion",
        "note": CIRCULAR if kind == "motion" else "the labels are the actions of the recordings",
        "objective": objective,
        "ema": ema,
        "videos": len(videos),
        "windows": int(known.sum()),
        "positives": int(truth[known].sum()),
        "energies": {},
    }
    for name in videos[0].energies:
        values = np.concatenate([smoothed(video.energies[name], ema) for video in videos])
        curve = sweep(values[known], truth[known])
        report["energies"][name] = best(curve, objective, off_ratio)
    return report


def best(curve: Sweep, objective: Objective, off_ratio: float) -> dict[str, Any]:
    """The best threshold of a sweep with its scores, and the sweep at some points."""
    scores = curve.f1 if objective == "f1" else curve.youden
    # Above the lowest energy, which would open a segment on nothing at all.
    place = int(np.argmax(scores[1:]) + 1) if len(scores) > 1 else 0
    columns = curve._asdict()
    rows = np.unique(np.linspace(0, len(scores) - 1, CURVE).astype(int))
    on = float(curve.thresholds[place])
    return (
        {"on": on, "off": off_ratio * on}
        | {name: float(columns[name][place]) for name in Sweep._fields[1:]}
        | {"curve": {name: columns[name][rows].tolist() for name in Sweep._fields}}
    )


def read_energies(folder: Path) -> list[Measured]:
    """What a segmenting run has measured, from the `energy.jsonl` files below a folder.

    Raises:
        ValueError: if there are none.
    """
    videos = []
    for path in sorted(folder.rglob("energy.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        if rows:
            energies = {
                name: [row["energies"][name] for row in rows] for name in rows[0]["energies"]
            }
            changes = [row["action_changes"] for row in rows]
            videos.append(Measured(energies, changes, [row["action_active"] for row in rows]))
    if not videos:
        raise ValueError(
            f"{folder} holds no energy.jsonl with windows; make some: "
            "python train.py predict -c configs/latent_action/segment.yaml"
        )
    return videos


def read_report(path: str, energy: str) -> tuple[float, float, float]:
    """Thresholds `on` and `off` of an energy, and the smoothing that they were found with.

    Raises:
        ValueError: if the file is no report or knows nothing of this energy.
    """
    try:
        report = json.loads(Path(path).read_text())
        energies, ema = dict(report["energies"]), float(report["ema"])
        thresholds = {name: (float(x["on"]), float(x["off"])) for name, x in energies.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"threshold_report {path} cannot be read ({error}); make one: "
            "python train.py validate -c configs/latent_action/calibrate.yaml"
        ) from error
    if energy not in energies:
        raise ValueError(
            f"threshold_report {path} has no thresholds of {energy}; it has {', '.join(energies)}"
        )
    return *thresholds[energy], ema


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lit_modules.latent_action.calibration", description=__doc__
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="results of a segmenting run")
    parser.add_argument("--out", type=Path, required=True, help="the report to write (JSON)")
    parser.add_argument("--objective", choices=("f1", "youden"), default="f1")
    parser.add_argument("--labels", choices=("auto", "changes", "active", "motion"), default="auto")
    parser.add_argument("--ema", type=float, default=0.7, help="weight of a new energy, (0, 1]")
    parser.add_argument("--off_ratio", type=float, default=0.95, help="off over on, (0, 1]")
    given = parser.parse_args(argv)
    try:
        videos = read_energies(given.folder)
        report = calibrate(videos, given.objective, given.labels, given.ema, given.off_ratio)
        given.out.write_text(json.dumps(report, indent=2) + "\n")
    except (ValueError, OSError) as error:
        raise SystemExit(f"calibration: error: {error}") from None
    print(summary(report))
    print(f"written to {given.out}")


def summary(report: Mapping[str, Any]) -> str:
    """A line for each energy."""
    lines = [f"{report['windows']} windows, {report['positives']} of them true; {report['note']}"]
    for name, row in report["energies"].items():
        scores = " ".join(f"{key} {row[key]:.3f}" for key in ("f1", "youden"))
        lines.append(f"{name:32} on {row['on']:.5g} off {row['off']:.5g} {scores}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
