"""The state machine: laws of hysteresis, and the same segments however windows arrive."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import numpy as np
import pytest

from lit_modules.latent_action.segmentation import Segment, Segmenter, find_segments

STRIDE, LEAD = 0.2, 0.3
PLAIN = {"on": 1.0, "off": 0.5, "ema": 1.0, "max_seconds": 0}


def times(count: int) -> list[float]:
    return [STRIDE * i for i in range(count)]


def segments(energies, seconds=None, end=None, **options) -> list[Segment]:
    seconds = times(len(energies)) if seconds is None else seconds
    return find_segments(Segmenter(**(PLAIN | options)), energies, seconds, end)


def spans(found: list[Segment]) -> list[tuple[int, int]]:
    return [(s.windows.start, s.windows.stop) for s in found]


def noise(seed: int, count: int = 400) -> list[float]:
    rng = np.random.default_rng(seed)
    walk = np.abs(np.convolve(rng.normal(size=count + 4), np.ones(5), "valid")) / 2
    return walk.tolist()


@pytest.mark.parametrize("debounce", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_segments_are_those_of_a_regular_expression_over_the_levels(
    seed: int, debounce: int
) -> None:
    energies = noise(seed)
    letters = "".join("h" if e >= 1 else "m" if e >= 0.5 else "l" for e in energies)
    again = f"(?:[hm]|l{{1,{debounce - 1}}}(?=[hm]|$))*" if debounce > 1 else "[hm]*"
    expected = [m.span() for m in re.finditer(f"h{{{debounce}}}{again}", letters)]
    assert len(expected) > 5
    assert spans(segments(energies, debounce=debounce, cooldown=0)) == expected


def test_between_the_thresholds_nothing_changes() -> None:
    assert spans(segments([0, 0.7, 0.7, 0.7, 0])) == []
    assert spans(segments([1, 1, 0.7, 0.7, 0.7, 0, 0])) == [(0, 5)]


def test_energies_at_the_thresholds_count_as_above() -> None:
    assert spans(segments([1.0, 1.0, 0.5, 0.5, 0, 0])) == [(0, 4)]


def test_cooldown_delays_the_next_segment() -> None:
    energies = [1, 1, 0, 0, 1, 1, 1, 0, 0]
    assert spans(segments(energies, cooldown=0)) == [(0, 2), (4, 7)]
    assert spans(segments(energies, cooldown=1)) == [(0, 2), (5, 7)]
    assert spans(segments(energies, cooldown=2)) == [(0, 2)]


@pytest.mark.parametrize("seed", range(3))
def test_cutting_loses_nothing(seed: int) -> None:
    energies = noise(seed)
    end = STRIDE * len(energies) + 1
    whole, cut = (segments(energies, end=end, max_seconds=s) for s in (0, 1.0))
    windows = [window for s in cut for window in s.windows]
    assert windows == [window for s in whole for window in s.windows]
    assert sum(s.end - s.start for s in cut) == pytest.approx(sum(s.end - s.start for s in whole))
    assert any(s.ended_by == "length" for s in cut)
    for s in cut:
        assert s.end - s.start <= 1.0 + 1e-6 or len(s.windows) == 1
    for one, other in pairwise(cut):
        assert one.end <= other.start + 1e-9
        if one.ended_by == "length":
            assert one.end == other.start


def test_a_cut_keeps_the_tail_as_the_next_segment() -> None:
    found = segments([0, 0, *[1] * 13, 0, 0, 0], max_seconds=2.0)
    assert spans(found) == [(2, 12), (12, 15)]
    assert [s.ended_by for s in found] == ["length", "quiet"]
    assert found[0].end - found[0].start == pytest.approx(2.0)


def test_the_end_of_the_video_ends_a_segment_there() -> None:
    (found,) = segments([0, 0, 1, 1, 1, 0], end=2.37)
    assert spans([found]) == [(2, 6)]
    assert (found.start, found.end, found.ended_by) == (pytest.approx(0.7), 2.37, "end")


def test_windows_answer_for_their_middle_and_the_first_for_what_is_before() -> None:
    (later,) = segments([0, 0, 0, 1, 1, 0, 0])
    assert later.start == pytest.approx(3 * STRIDE + LEAD)
    assert later.end == pytest.approx(5 * STRIDE + LEAD)
    (first,) = segments([1, 1, 0, 0])
    assert first.start == 0


def test_smoothing_is_the_recursion_with_the_weight_of_the_new() -> None:
    energies = np.array(noise(0, 50))
    weights = 0.7 * 0.3 ** np.arange(50)
    weights_of_first = 0.3 ** np.arange(50)
    expected = np.convolve(energies, weights)[:50] + 0.3 * weights_of_first * energies[0]
    machine = Segmenter(on=1.0, ema=0.7)
    for energy, seconds, value in zip(energies, times(50), expected, strict=True):
        machine.push(energy, seconds)
        assert machine.smoothed == pytest.approx(value)


@pytest.mark.parametrize("overlap", [None, 0.25, 0.6, 1.0])
def test_nothing_depends_on_what_is_still_to_come(overlap: float | None) -> None:
    energies = noise(5)
    machine = Segmenter(on=1.0, off=0.5, overlap=overlap)
    early: list[Segment] = []
    for count, (energy, seconds) in enumerate(zip(energies, times(400), strict=True), 1):
        early += machine.push(energy, seconds)
        if count % 50 == 0:
            other = find_segments(
                Segmenter(on=1.0, off=0.5, overlap=overlap), energies[:count], times(count)
            )
            assert other[: len(early)] == early or other[: len(early) - 1] == early[:-1]
    assert len(early) > 10


def test_undecided_never_moves_back_and_no_segment_begins_before_it() -> None:
    machine = Segmenter(on=1.0, off=0.5, overlap=0.3)
    before, oldest = 0.0, 0
    for energy, seconds in zip(noise(6), times(400), strict=True):
        for segment in machine.push(energy, seconds):
            assert segment.start >= before
            assert segment.windows.start >= oldest
        assert machine.undecided >= before
        before, oldest = machine.undecided, machine.oldest_window


def test_overlap_gives_a_window_to_each_segment_that_covers_enough_of_it() -> None:
    energies, least = noise(7), 0.3
    options = {"cooldown": 0, "max_seconds": 1.0}
    alone = segments(energies, **options)
    shared = segments(energies, overlap=least, **options)
    assert [(s.start, s.end) for s in shared] == [(s.start, s.end) for s in alone]
    more = 0
    for own, both in zip(alone, shared, strict=True):
        covered = {
            i
            for i, begin in enumerate(times(400))
            if min(own.end, begin + 0.8) - max(own.start, begin) >= least * 0.8 - 1e-6
        }
        assert set(both.windows) == covered | set(own.windows)
        more += len(both.windows) - len(own.windows)
    assert more > 0


def test_a_short_gap_leaves_the_segment_open_and_a_long_one_ends_it() -> None:
    behind = [*times(5), *(5 + t for t in times(5))]
    short = [*times(5), *(1.4 + t for t in times(5))]
    energies = [0, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    (whole,) = segments(energies, seconds=short, max_seconds=3.0)
    assert list(whole.windows) == list(range(1, 8))
    first, second = segments(energies, seconds=behind, max_seconds=3.0)
    assert list(first.windows) == [1, 2, 3, 4]
    assert first.end == pytest.approx(behind[4] + 0.8)
    assert list(second.windows) == [5, 6, 7]
    assert second.start == 5


def test_nothing_moves_nothing_is_found() -> None:
    assert segments([0.0] * 20) == []
    assert segments([]) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"on": 0.0}, "on 0"),
        ({"on": 1.0, "off": 1.5}, "off 1.5"),
        ({"on": 1.0, "debounce": 0}, "debounce 0"),
        ({"on": 1.0, "ema": 0.0}, "ema 0"),
        ({"on": 1.0, "overlap": 1.5}, "overlap 1.5"),
    ],
)
def test_settings_that_cannot_be_are_named(options: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Segmenter(**options)


def test_an_energy_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="nan"):
        Segmenter(on=1.0).push(math.nan, 0.0)
