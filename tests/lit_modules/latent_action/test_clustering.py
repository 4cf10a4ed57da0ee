"""Clusters of codes: what is apart is found, what is not is not claimed to be."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="pip install -e .[latent]")

from lit_modules.latent_action import clustering
from lit_modules.latent_action.clustering import agreement, bag_of_words, find_clusters, mean_codes

CODES = 12


def sequences(classes: int, each: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Segments of each class use four codes of their own, in any order and length."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(classes), each)
    made = [4 * kind + rng.integers(0, 4, rng.integers(12, 30)) for kind in truth]
    return made, truth


@pytest.mark.parametrize("method", ["kmeans", "gmm", "hdbscan"])
@pytest.mark.parametrize("tfidf", [False, True])
def test_classes_with_codes_of_their_own_are_found(method, tfidf):
    made, truth = sequences(3, 20)
    labels = find_clusters(bag_of_words(made, CODES, tfidf), method)
    kept = labels != clustering.NOISE
    assert kept.mean() > 0.8
    assert agreement(labels[kept], truth[kept]) == pytest.approx(
        dict.fromkeys(("ami", "ari", "v_measure", "nmi"), 1.0)
    )


def test_chance_scores_0_by_ami_and_ari_while_nmi_grows_with_the_clusters():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 200)
    found = [agreement(rng.integers(0, 50, 200), truth) for _ in range(20)]
    mean = {name: np.mean([one[name] for one in found]) for name in found[0]}
    assert abs(mean["ami"]) < 0.02
    assert abs(mean["ari"]) < 0.02
    assert mean["nmi"] > 0.15


def test_ari_is_that_of_pairs_counted_one_by_one():
    rng = np.random.default_rng(1)
    labels, truth = rng.integers(0, 3, 25), rng.integers(0, 4, 25)
    pairs = list(itertools.combinations(range(25), 2))
    ours, theirs = (
        np.array([values[i] == values[j] for i, j in pairs]) for values in (labels, truth)
    )
    both, expected = (ours & theirs).sum(), ours.sum() * theirs.sum() / math.comb(25, 2)
    most = (ours.sum() + theirs.sum()) / 2
    assert agreement(labels, truth)["ari"] == pytest.approx((both - expected) / (most - expected))


def test_bag_of_words_counts_shares():
    rows = bag_of_words([np.array([0, 0, 2]), np.array([1])], 4)
    np.testing.assert_allclose(rows, [[2 / 3, 0, 1 / 3, 0], [0, 1, 0, 0]])


def test_tfidf_is_its_formula():
    made, _ = sequences(2, 3)
    counts = np.stack([[np.sum(one == code) for code in range(CODES)] for one in made])
    rarity = np.log((1 + len(made)) / (1 + (counts > 0).sum(0))) + 1
    expected = counts * rarity
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(bag_of_words(made, CODES, tfidf=True), expected, rtol=1e-5)


def test_mean_codes_are_means_of_vectors():
    vectors = np.array([[0, 0], [1, -1], [0.5, 0]], np.float32)
    np.testing.assert_allclose(mean_codes([np.array([1, 1, 2])], vectors), [[2.5 / 3, -2 / 3]])


def test_labels_are_sorted_by_size_and_repeat_with_the_seed():
    made, _ = sequences(3, 10)
    features = bag_of_words(made[:10] + made[10:16] + made[20:23], CODES)
    first, second = (find_clusters(features, "kmeans", 3, seed=5) for _ in range(2))
    assert (first == second).all()
    assert np.bincount(first).tolist() == [10, 6, 3]


def test_balanced_fit_sees_each_group_as_often():
    groups = np.array([0] * 7 + [1] * 2 + [2])
    drawn = groups[clustering.balanced(groups)]
    assert np.bincount(drawn).tolist() == [7, 7, 7]


def test_rare_group_gets_a_cluster_when_the_fit_is_balanced():
    rng = np.random.default_rng(0)
    # A broad frequent class whose halves are further apart than the rare one is from either.
    places = np.concatenate([rng.normal(0, 1, 400), rng.normal(2.6, 0.05, 4)])[:, None]
    groups = np.repeat([0, 1], [400, 4])
    features = places.astype(np.float32)
    plain = find_clusters(features, "kmeans", 2)
    fair = find_clusters(features, "kmeans", 2, groups=groups)
    assert agreement(fair, groups)["ari"] > agreement(plain, groups)["ari"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"method": "kmean"}, "kmean"),
        ({"clusters": 99}, "clusters 99"),
        ({"clusters": 0}, "clusters 0"),
        ({"method": "hdbscan", "clusters": 3}, "hdbscan"),
    ],
)
def test_mistake_is_named(arguments, named):
    made, _ = sequences(2, 5)
    with pytest.raises(ValueError, match=named):
        find_clusters(bag_of_words(made, CODES), **arguments)


def test_too_few_or_equal_segments_make_no_false_clusters():
    with pytest.raises(ValueError, match="2 segments"):
        find_clusters(np.zeros((2, 3), np.float32))
    alike = find_clusters(np.ones((6, 3), np.float32))
    assert set(alike.tolist()) == {0}
    assert clustering.silhouette(np.ones((6, 3), np.float32), alike) is None
