"""Calibration: it finds the thresholds that synthetic windows were made with."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lit_modules.latent_action.calibration import (
    Measured,
    calibrate,
    main,
    otsu,
    read_report,
    sweep,
)

NAMES = ("velocity/l2_mean", "velocity/token_diff_l2_mean")


def made(seed: int, count: int = 200, threshold: float = 0.3, known: bool = True) -> Measured:
    """Windows that are true where the energy is above a threshold."""
    values = np.random.default_rng(seed).random(count)
    labels = (values >= threshold).tolist() if known else [None] * count
    return Measured({name: values.tolist() for name in NAMES}, labels, labels)


def test_sweep_scores_every_threshold_like_counting_by_hand() -> None:
    rng = np.random.default_rng(0)
    energies, labels = rng.integers(0, 12, 60) / 4, rng.random(60) < 0.4
    curve = sweep(energies, labels)
    assert len(curve.thresholds) == len(np.unique(energies))
    for i, threshold in enumerate(curve.thresholds):
        said = energies >= threshold
        right, wrong = (said & labels).sum(), (said & ~labels).sum()
        assert curve.precision[i] == pytest.approx(right / said.sum())
        assert curve.recall[i] == pytest.approx(right / labels.sum())
        assert curve.f1[i] == pytest.approx(
            2 / (said.sum() / right + labels.sum() / right) if right else 0
        )
        assert curve.youden[i] == pytest.approx(right / labels.sum() - wrong / (~labels).sum())


@pytest.mark.parametrize("objective", ["f1", "youden"])
def test_calibration_finds_the_threshold_of_the_labels(objective: str) -> None:
    report = calibrate([made(0), made(1)], objective, ema=1.0)
    row = report["energies"]["velocity/l2_mean"]
    assert row["on"] == pytest.approx(0.3, abs=0.01)
    assert row["off"] == pytest.approx(0.95 * row["on"])
    assert row["f1"] == row["youden"] == 1
    assert not report["circular"]


def test_without_labels_otsu_serves_and_the_report_says_that_it_is_circular() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(1, 0.1, 100), rng.normal(3, 0.1, 50)]).tolist()
    video = Measured(dict.fromkeys(NAMES, values), [None] * 150, [None] * 150)
    report = calibrate([video], ema=1.0)
    assert report["circular"]
    assert report["labels"] == "motion"
    assert "speed" in report["note"]
    assert report["positives"] == 50
    assert 1.3 < report["energies"]["velocity/l2_mean"]["on"] < 2.7


def test_otsu_parts_values_with_least_variance_within() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 80), rng.normal(5, 2, 40)])

    def within(threshold: float) -> float:
        parts = values[values < threshold], values[values >= threshold]
        return sum(part.size * part.var() for part in parts if part.size)

    least = min(within(value) for value in values)
    assert within(otsu(values)) == pytest.approx(least, rel=1e-6)


def test_videos_are_smoothed_each_for_itself() -> None:
    one = Measured({name: [1.0, 1.0, 1.0] for name in NAMES}, [True] * 3, [True] * 3)
    other = Measured({name: [0.0, 0.0, 0.0] for name in NAMES}, [False] * 3, [False] * 3)
    assert calibrate([one, other], ema=0.5)["energies"]["velocity/l2_mean"]["f1"] == 1


def test_windows_whose_action_is_not_known_are_left_out() -> None:
    energies = {name: [0.1, 0.2, 0.9, 0.8, 5.0] for name in NAMES}
    labels = [False, False, True, True, None]
    report = calibrate([Measured(energies, labels, labels)], ema=1.0)
    assert report["windows"] == 4
    assert report["energies"]["velocity/l2_mean"]["f1"] == 1


def test_labels_all_alike_or_no_windows_are_refused() -> None:
    same = Measured({name: [0.1, 0.2] for name in NAMES}, [True, True], [True, True])
    with pytest.raises(ValueError, match="both kinds"):
        calibrate([same])
    with pytest.raises(ValueError, match="no windows"):
        calibrate([])
    with pytest.raises(ValueError, match="no window has a known action"):
        calibrate([made(0, known=False)], labels="active")


def test_saved_energies_calibrate_like_the_windows_themselves(tmp_path, capsys) -> None:
    videos = [made(0), made(1)]
    for i, video in enumerate(videos):
        rows = [
            {
                "energies": {name: video.energies[name][k] for name in NAMES},
                "action_changes": video.changes[k],
                "action_active": video.active[k],
            }
            for k in range(200)
        ]
        (tmp_path / f"{i}").mkdir()
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{i}" / "energy.jsonl").write_text(text)
    out = tmp_path / "report.json"
    main([str(tmp_path), "--out", str(out)])
    assert json.loads(out.read_text()) == calibrate(videos)
    on, off, ema = read_report(str(out), "velocity/l2_mean")
    assert (off, ema) == (pytest.approx(0.95 * on), 0.7)
    with pytest.raises(ValueError, match="no thresholds of quantized/l2_mean"):
        read_report(str(out), "quantized/l2_mean")
    with pytest.raises(SystemExit, match="holds no energy"):
        main([str(tmp_path / "none"), "--out", str(out)])
