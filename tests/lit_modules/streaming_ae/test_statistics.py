"""Laws of what is remembered of a stream."""

from __future__ import annotations

import torch

from lit_modules.streaming_ae.statistics import CodeRounder, StreamStatistics


def frames(count: int, streams: int = 2) -> torch.Tensor:
    return torch.rand(count, streams, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def test_running_mean_is_the_plain_mean_up_to_its_horizon() -> None:
    stream = frames(10)
    statistics = StreamStatistics(stream[0], horizon=10)
    for frame in stream:
        statistics.update(frame, statistics.noise)
    torch.testing.assert_close(statistics.mean, stream.mean(0))


def test_running_mean_is_exponential_beyond_its_horizon() -> None:
    stream = frames(30)
    statistics = StreamStatistics(stream[0], horizon=4)
    expected = torch.zeros_like(stream[0])
    for index, frame in enumerate(stream):
        statistics.update(frame, statistics.noise)
        expected += (frame - expected) / min(index + 1, 4)
    torch.testing.assert_close(statistics.mean, expected)


def test_restored_statistics_go_on_bit_for_bit() -> None:
    stream = frames(20)
    whole = StreamStatistics(stream[0], horizon=5)
    for frame in stream[:10]:
        whole.update(frame, frame.mean((1, 2, 3)))
    state = {name: value.clone() for name, value in whole.state_dict().items()}
    restored = StreamStatistics.from_state_dict(state, 5, torch.device("cpu"))
    for frame in stream[10:]:
        for statistics in (whole, restored):
            statistics.update(frame, frame.mean((1, 2, 3)))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, restored.state_dict()[name]), name


def test_rounded_code_is_within_half_a_step_and_on_a_grid_of_its_running_range() -> None:
    rounder = CodeRounder(bits=3)
    for code in frames(6):
        (rounded,) = rounder([code])
        low, high = rounder.ranges[0]
        step = (high - low) / 7
        assert ((rounded - code).abs() <= step / 2 + 1e-6).all()
        levels = (rounded - low) / step
        torch.testing.assert_close(levels, levels.round())
    smallest = frames(6).amin((0, 1, 3, 4)).view(1, 3, 1, 1)
    assert torch.equal(rounder.ranges[0][0], smallest)


def test_constant_code_stays_what_it_is() -> None:
    code = torch.full((1, 2, 3, 3), 0.25)
    assert torch.equal(CodeRounder(bits=8)([code])[0], code)
