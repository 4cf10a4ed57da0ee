"""The reference network: its size, its work, and what its output depends on."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lit_modules.flow.embedding import TimeEmbedding, sinusoids
from lit_modules.flow.unet3d import VideoUNet


def small(seed: int = 0) -> VideoUNet:
    torch.manual_seed(seed)
    net = VideoUNet(base=8, time_dim=16)
    nn.init.normal_(net.last.weight, std=0.1)  # it starts at zero, which hides everything
    return net


def inputs(clips: int = 2, frames: int = 3, height: int = 8, width: int = 12) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(clips, 7, frames, height, width, generator=generator)
    time = torch.rand(clips, generator=generator)
    return x, time, torch.randn(clips, frames, 16, generator=generator)


@pytest.mark.parametrize(("frames", "tera"), [(16, 9.9), (60, 37.0)])
def test_reference_has_the_size_and_the_work_that_it_says(frames: int, tera: float) -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net = VideoUNet()
        net(torch.empty(1, 7, frames, 240, 256), torch.empty(1), torch.empty(1, frames, 256))
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(21.0, abs=0.05)
    assert counter.get_total_flops() / 1e12 == pytest.approx(tera, abs=0.05)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 4, 4), (3, 8, 12), (5, 4, 20)])
def test_output_has_three_channels_of_the_shape_put_in(
    frames: int, height: int, width: int
) -> None:
    x, time, condition = inputs(2, frames, height, width)
    assert small()(x, time, condition).shape == (2, 3, frames, height, width)


def test_prediction_starts_at_zero() -> None:
    assert not VideoUNet(base=8, time_dim=16)(*inputs()).any()


def test_a_clip_does_not_see_the_rest_of_its_batch() -> None:
    net, (x, time, condition) = small(), inputs()
    together = net(x, time, condition)
    for i in range(2):
        alone = net(x[i : i + 1], time[i : i + 1], condition[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-5)


def test_no_condition_is_a_condition_of_zeros() -> None:
    net, (x, time, condition) = small(), inputs()
    torch.testing.assert_close(net(x, time), net(x, time, torch.zeros_like(condition)))
    assert (net(x, time, condition) - net(x, time)).abs().max() > 1e-3


def test_condition_of_a_frame_changes_it_more_than_frames_far_off() -> None:
    net, (x, time, condition) = small(), inputs(frames=9)
    other = condition.clone()
    other[:, 0] += 3
    change = (net(x, time, other) - net(x, time, condition)).abs().mean((0, 1, 3, 4))
    assert change[0] > 2 * change[-1]


def test_every_frame_sees_every_other_and_pixels_far_away() -> None:
    net, (x, time, _) = small(), inputs(1, 5, 16, 16)
    x.requires_grad_()
    net(x, time)[0, :, 0, 0, 0].sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum((0, 1))
    assert (seen.amax((1, 2)) > 0).all()
    assert seen[0, -1, -1] > 0


def test_every_parameter_learns() -> None:
    net = small()
    net(*inputs()).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


@pytest.mark.parametrize(("size", "name"), [((6, 8), "height 6"), ((8, 10), "width 10")])
def test_size_that_does_not_divide_is_named_with_its_remedy(
    size: tuple[int, int], name: str
) -> None:
    with pytest.raises(ValueError, match=f"{name} must divide by 4; set data.size"):
        small()(*inputs(1, 2, *size))


def test_embedding_tells_flow_times_apart() -> None:
    times = torch.linspace(0, 1, 512, dtype=torch.float64)
    # Fed as they are, times in [0, 1] span a dozen directions only.
    assert torch.linalg.matrix_rank(sinusoids(times, 256), rtol=1e-3) > 80
    assert torch.linalg.matrix_rank(sinusoids(times / 1000, 256), rtol=1e-3) < 12


def test_embedding_equals_cosines_and_sines_by_hand() -> None:
    time = torch.tensor([0.0, 0.123, 1.0], dtype=torch.float64)
    rates = [1000 / 10_000 ** (i / 4) for i in range(4)]
    rows = [[f(r * t) for f in (torch.cos, torch.sin) for r in rates] for t in time]
    torch.testing.assert_close(sinusoids(time, 8), torch.tensor(rows, dtype=torch.float64))


def test_embedding_knows_small_differences_of_time_under_autocast() -> None:
    torch.manual_seed(0)
    embedding = TimeEmbedding(64)
    time = torch.tensor([0.9, 0.901])
    with torch.autocast("cpu", torch.bfloat16):
        first, second = embedding(time)
    assert (first - second).abs().max() > 0.05


def test_odd_embedding_is_refused() -> None:
    with pytest.raises(ValueError, match="time_dim 5"):
        TimeEmbedding(5)
