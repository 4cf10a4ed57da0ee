import pytest
import torch
from torch import Tensor

from lit_modules.streaming_ae.change import ChangeDetector, ChangeMap

DETECT = ChangeDetector()


def scene(block_at: int | None = None, noise: float = 0.0, seed: int = 0) -> Tensor:
    """A still ramp, with an 8x8 block at a column and noise on top."""
    frame = torch.linspace(0.2, 0.8, 64).expand(1, 3, 64, 64).clone()
    if block_at is not None:
        frame[:, 1, 20:28, block_at : block_at + 8] = 1.0
    return frame + noise * torch.randn(frame.shape, generator=torch.Generator().manual_seed(seed))


def watch(frames: list[Tensor]) -> ChangeMap:
    """The last of the maps that a stream of frames gives."""
    noise, previous = torch.zeros(len(frames[0])), None
    for frame in frames:
        change = DETECT(frame, previous, noise)
        previous, noise = frame, change.noise
    return change


def test_first_frame_has_no_change() -> None:
    change = DETECT(scene(10), None, torch.zeros(1))
    assert change.mask.shape == change.intensity.shape == (1, 1, 64, 64)
    assert change.mask.dtype == torch.bool
    assert not change.mask.any()
    assert not change.intensity.any()


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1])
def test_static_noise_is_not_change(level: float) -> None:
    assert not watch([scene(noise=level, seed=t) for t in range(40)]).mask.any()


@pytest.mark.parametrize("level", [0.0, 0.02])
def test_moving_block_is_found_where_it_was_and_is(level: float) -> None:
    frames = [scene(noise=level, seed=t) for t in range(40)] + [scene(20, level, seed=40)]
    change = watch([*frames, scene(40, level, seed=41)])
    expected = torch.zeros(64, 64, dtype=torch.bool)
    expected[20:28, 20:28] = expected[20:28, 40:48] = True
    found = change.mask[0, 0]
    assert not (found & ~expected).any()
    assert (found & expected).sum() >= 0.95 * expected.sum()


def test_noise_level_follows_the_stream() -> None:
    quiet = watch([scene(noise=0.01, seed=t) for t in range(40)])
    loud = watch([scene(noise=0.05, seed=t) for t in range(40)])
    assert 4 < loud.noise / quiet.noise < 6
    calmed = watch([scene(noise=0.05, seed=t) for t in range(40)] + [scene(), scene()])
    assert calmed.noise == 0  # falls at once


def test_a_flash_does_not_blind() -> None:
    frames = [scene() for _ in range(10)] + [1 - scene(), scene(), scene()]
    assert watch([*frames, scene(30)]).mask.sum() == 64


def test_lone_speckles_are_removed() -> None:
    still = scene()
    specked = still.clone()
    for y, x in ((0, 0), (5, 5), (5, 6), (40, 63), (63, 20)):  # (5, 5) and (5, 6) are a pair
        specked[..., y, x] = 0.0
    assert not watch([still, still, specked]).mask.any()


def test_intensity_is_the_largest_change_of_a_channel() -> None:
    still, moved = scene(), scene(30)
    change = watch([still, still, moved])
    expected = (moved - still).abs().amax(1, keepdim=True) * change.mask
    assert torch.equal(change.intensity, expected)
    assert 0 < change.intensity.max() <= 1


def test_parallel_streams_are_told_apart() -> None:
    def frames(level: float) -> list[Tensor]:
        return [scene(noise=level, seed=t) for t in range(20)] + [scene(30, level, seed=20)]

    together = watch([torch.cat(pair) for pair in zip(frames(0.0), frames(0.05), strict=True)])
    for i, apart in enumerate((watch(frames(0.0)), watch(frames(0.05)))):
        for one, other in zip(together, apart, strict=True):
            assert torch.equal(one[i], other[0])
