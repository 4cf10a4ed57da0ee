"""A copy is found, and what is none is not called one."""

import pytest
import torch
from scrolling import scrolling

from lit_modules.metrics import NearestTraining
from lit_modules.metrics.nearest_training import thumbnails


def scores(training, generated, held_out, batch=64):
    nearest = NearestTraining()
    nearest.update_queries(generated=generated[:2], held_out=held_out)
    nearest.update_queries(generated=generated[2:])
    for part in training.split(batch):
        nearest.update(part)
    return nearest.compute()


def test_copies_are_at_distance_0_and_other_clips_at_a_ratio_of_1():
    training, held_out = scrolling(60, seed=0), scrolling(40, seed=1)
    copied = scores(training, training[10:30], held_out)
    assert copied["memorisation_ratio"] == copied["memorisation_distance"] == 0
    fresh = scores(training, scrolling(40, seed=2), held_out)
    assert float(fresh["memorisation_ratio"]) == pytest.approx(1, abs=0.1)


def test_distances_are_root_mean_squares_to_the_nearest_in_any_batches():
    training, queries = scrolling(17, seed=0), scrolling(5, seed=1)
    small = [thumbnails(x) * thumbnails(x).shape[1] ** 0.5 for x in (queries, training)]
    pairs = (small[0][:, None] - small[1][None]).square().mean(-1).sqrt()
    for batch in (1, 4, 17):
        found = scores(training, queries[:3], queries[3:], batch)
        values = [float(found[f"memorisation_distance{part}"]) for part in ("", "_held_out")]
        expected = [float(pairs[part].amin(1).mean()) for part in (slice(3), slice(3, None))]
        assert values == pytest.approx(expected, rel=1e-4)


def test_order_matters_and_is_told():
    clips = scrolling(4, seed=0)
    nearest = NearestTraining()
    with pytest.raises(RuntimeError, match="update_queries with both kinds first"):
        nearest.update(clips)
    nearest.update_queries(generated=clips[:2], held_out=clips[2:])
    nearest.update(clips)
    with pytest.raises(RuntimeError, match="queries come before"):
        nearest.update_queries(generated=clips)
    nearest.reset()
    nearest.update_queries(generated=clips[:2], held_out=clips[2:])


def test_one_colour_is_as_far_as_its_value():
    black, grey = torch.zeros(2, 3, 4, 32, 32), torch.full((2, 3, 4, 32, 32), 0.25)
    distances = torch.cdist(thumbnails(black), thumbnails(grey))
    torch.testing.assert_close(distances, torch.full((2, 2), 0.25))
