"""The probe reads what is linear in the features, on recordings that it has not seen."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="pip install -e .[latent]")

from lit_modules.latent_action.probe import compare_probes


def rows(seed=0, recordings=5, each=60):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(recordings), each)
    labels = rng.integers(0, 3, len(groups))
    return rng, labels, groups


def test_linear_features_are_read_and_noise_is_at_chance():
    rng, labels, groups = rows()
    told = np.eye(3)[labels] + rng.normal(0, 0.2, (len(labels), 3))
    noise = rng.normal(size=(len(labels), 20))
    report = compare_probes(
        {"noise": noise.astype(np.float32), "told": told.astype(np.float32)}, labels, groups
    )
    assert report["told"]["balanced_accuracy"] > 0.95
    assert report["noise"]["balanced_accuracy"] == pytest.approx(report["chance"], abs=0.1)
    assert report["told"]["gain"] == pytest.approx(
        np.mean(np.subtract(report["told"]["folds"], report["noise"]["folds"]))
    )
    assert report["told"]["gain"] > 5 * report["told"]["gain_standard_error"]


def test_what_tells_the_recording_does_not_help():
    """A recording is on one side of a fold, so learning it by heart earns nothing."""
    rng, labels, groups = rows(each=40)
    labels = np.where(rng.random(len(groups)) < 0.8, groups % 3, labels)
    known = np.eye(5, dtype=np.float32)[groups]
    report = compare_probes({"recording": known}, labels, groups)
    assert report["recording"]["balanced_accuracy"] < 0.5


def test_frequent_class_alone_is_at_chance():
    rng, _, groups = rows()
    labels = (rng.random(len(groups)) < 0.1).astype(np.int64)
    noise = rng.normal(size=(len(labels), 4)).astype(np.float32)
    report = compare_probes({"noise": noise}, labels, groups)
    assert report["noise"]["balanced_accuracy"] == pytest.approx(0.5, abs=0.12)


def test_unknown_and_rare_classes_are_left_out():
    rng, labels, groups = rows()
    labels[:50] = -1
    labels[50] = 7
    features = {"noise": rng.normal(size=(len(labels), 2)).astype(np.float32)}
    report = compare_probes(features, labels, groups)
    assert report["classes"] == 3
    assert report["rows"] == len(labels) - 51


def test_one_recording_is_too_few():
    rng, labels, _ = rows(recordings=1)
    features = {"noise": rng.normal(size=(len(labels), 2)).astype(np.float32)}
    with pytest.raises(ValueError, match="1 recordings"):
        compare_probes(features, labels, np.zeros(len(labels), np.int64))


def test_more_labelled_recordings_tell_more_and_the_others_are_tested():
    rng, labels, groups = rows(recordings=12, each=30)
    weak = np.concatenate([np.eye(3)[labels] * 2, np.zeros((len(labels), 40))], 1)
    weak += rng.normal(size=weak.shape)
    features = {"weak": weak.astype(np.float32)}
    few, many = (
        compare_probes(features, labels, groups, n)["weak"]["balanced_accuracy"] for n in (1, 9)
    )
    assert few + 0.05 < many
    with pytest.raises(ValueError, match="12"):
        compare_probes(features, labels, groups, 12)
