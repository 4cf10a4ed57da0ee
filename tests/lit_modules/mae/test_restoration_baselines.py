"""Baselines fill what is hidden from what is visible, exactly where that is possible."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from lit_modules.mae.baselines import (
    BASELINES,
    ORACLES,
    mean_colour,
    nearest_visible,
    neighbour_frames,
    previous_frame_oracle,
    telea,
)

T, H, W = 4, 12, 16
CAMERA = torch.tensor([[0.0, 3.0, 4.0, 9.0], [20.0, 18.0, 18.0, 17.0]])
every_baseline = pytest.mark.parametrize("name", BASELINES)


def level(seed: int = 0) -> Tensor:
    """A picture `(3, H, 64)` in which no two pixels are alike, in bytes over 255."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (3, H, 64), generator=generator) / 255


def scrolled() -> Tensor:
    """Two clips `(2, 3, T, H, W)` of one level, seen by cameras that go right and left."""
    rows = [[level()[:, :, int(x) : int(x) + W] for x in camera] for camera in CAMERA]
    return torch.stack([torch.stack(frames, 1) for frames in rows])


def scattered(share: float = 0.6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, T, H, W, generator=generator) < share


def squares() -> Tensor:
    """A tube of 4x4 squares, most of which are hidden."""
    generator = torch.Generator().manual_seed(1)
    cells = torch.rand(2, 1, H // 4, W // 4, generator=generator) < 0.7
    return cells.repeat_interleave(4, 2).repeat_interleave(4, 3).expand(-1, T, -1, -1).clone()


@every_baseline
@pytest.mark.parametrize("hidden", [scattered(), squares()], ids=["scattered", "squares"])
@pytest.mark.parametrize("camera", [None, CAMERA], ids=["still", "moving"])
def test_hidden_pixels_are_never_read(name: str, hidden: Tensor, camera: Tensor | None) -> None:
    hidden[0, 2] = True  # a frame of which nothing is seen
    video, fill = scrolled(), BASELINES[name]
    filled = fill(video, hidden, camera)
    assert filled.shape == video.shape
    assert filled.isfinite().all()
    assert 0 <= filled.min() <= filled.max() <= 1
    for other in (torch.rand(video.shape), torch.full_like(video, math.nan)):
        changed = torch.where(hidden[:, None], other, video)
        assert torch.equal(fill(changed, hidden, camera), filled)


@pytest.mark.parametrize("name", BASELINES | ORACLES)
def test_visible_pixels_stay_and_the_video_is_left_alone(name: str) -> None:
    video, hidden, fill = scrolled(), scattered(), (BASELINES | ORACLES)[name]
    filled = fill(video, hidden, CAMERA)
    visible = ~hidden[:, None].expand_as(video)
    assert torch.equal(filled[visible], video[visible])
    assert (filled != video)[~visible].any()
    assert torch.equal(video, scrolled())
    assert torch.equal(hidden, scattered())
    assert torch.equal(fill(video, torch.zeros_like(hidden), CAMERA), video)


def test_mean_colour_is_that_of_each_clips_visible_pixels() -> None:
    video, hidden = scrolled(), scattered()
    filled = mean_colour(video, hidden)
    for clip, mask, made in zip(video, hidden, filled, strict=True):
        expected = clip[:, ~mask].mean(1)
        torch.testing.assert_close(made[:, mask], expected[:, None].expand(-1, int(mask.sum())))


@pytest.mark.parametrize("hidden", [scattered(0.9), squares()], ids=["scattered", "squares"])
def test_no_visible_pixel_is_nearer_than_the_one_that_is_taken(hidden: Tensor) -> None:
    video = scrolled()
    filled = nearest_visible(video, hidden)
    for clip, i in ((0, 0), (1, 3)):
        mask, frame, made = (
            x.numpy() for x in (hidden[clip, i], video[clip, :, i], filled[clip, :, i])
        )
        seen = np.argwhere(~mask)
        for y, x in np.argwhere(mask):
            away = ((seen - (y, x)) ** 2).sum(1)
            ties = seen[away == away.min()]
            colours = frame[:, ties[:, 0], ties[:, 1]]
            assert (colours == made[:, y, x, None]).all(0).any()


def test_a_frame_of_which_nothing_is_seen_is_filled_from_the_nearest_that_shows_something() -> None:
    video, hidden = scrolled(), torch.zeros(2, T, H, W, dtype=torch.bool)
    hidden[:, 2:] = True
    for fill in (nearest_visible, telea):
        filled = fill(video, hidden, None)
        for frame in (2, 3):
            assert torch.equal(filled[:, :, frame], video[:, :, 1])


def test_telea_paints_as_opencv_does_that_peeks_at_hidden_pixels() -> None:
    video, hidden = scrolled(), scattered()
    filled = telea(video, hidden)
    for clip, i in ((0, 1), (1, 2)):
        frame = (video[clip, :, i] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        mask = hidden[clip, i].byte().numpy()
        expected = torch.from_numpy(cv2.inpaint(frame, mask, 3, cv2.INPAINT_TELEA))
        made = (filled[clip, :, i] * 255).permute(1, 2, 0)
        assert (made - expected).abs().max() < 4  # levels: that is how little it peeks


def seen_elsewhere(hidden: Tensor) -> Tensor:
    """Which pixels another frame of the clip shows, one by one."""
    mask, found = hidden.numpy(), np.zeros(hidden.shape, dtype=bool)
    for b, i, y, x in np.argwhere(mask):
        ways = (CAMERA[b, i] - CAMERA[b]).int().tolist()
        found[b, i, y, x] = any(
            0 <= x + way < W and not mask[b, j, y, x + way] for j, way in enumerate(ways)
        )
    return torch.from_numpy(found)


@pytest.mark.parametrize("hidden", [scattered(0.8), squares()], ids=["scattered", "squares"])
def test_neighbours_shifted_by_the_camera_restore_all_that_they_show(hidden: Tensor) -> None:
    video, found = scrolled(), seen_elsewhere(hidden)
    filled = neighbour_frames(video, hidden, CAMERA)
    exact = (filled == video).all(1)
    assert found.sum() > 100
    assert exact[found].all()
    assert not exact[hidden & ~found].all()
    assert (neighbour_frames(video, hidden, None) == video).all(1)[found].float().mean() < 0.5


def test_a_frame_that_does_not_say_where_it_is_counts_as_not_moved() -> None:
    video, hidden = scrolled(), scattered()
    unknown = torch.full_like(CAMERA, math.nan)
    assert torch.equal(neighbour_frames(video, hidden, unknown), neighbour_frames(video, hidden))


def test_the_nearest_frame_is_asked_first_and_of_two_the_earlier() -> None:
    video = torch.arange(5.0).div(8).view(1, 1, 5, 1, 1).expand(1, 3, 5, H, W)
    hidden = torch.zeros(1, 5, H, W, dtype=torch.bool)
    hidden[:, 2] = True
    hidden[:, 1, :4] = True
    hidden[:, 3, :2] = True
    filled = neighbour_frames(video, hidden)[0, 0, 2] * 8
    assert (filled[4:] == 1).all()
    assert (filled[2:4] == 3).all()
    assert (filled[:2] == 0).all()


def test_the_oracle_knows_a_scrolling_clip_but_for_its_borders() -> None:
    video = scrolled()
    hidden = torch.ones(2, T, H, W, dtype=torch.bool)
    hidden[:, :, 0] = False
    filled = previous_frame_oracle(video, hidden, CAMERA)
    # Of the first clip, frame 2 is one pixel on from frame 1, and frame 3 five from frame 2.
    assert torch.equal(filled[0, :, 2], video[0, :, 2])
    assert torch.equal(filled[0, :, 3, :, :-5], video[0, :, 3, :, :-5])
    assert not torch.equal(filled[0, :, 3], video[0, :, 3])
    assert torch.equal(filled[0, :, 0, :, 3:], video[0, :, 0, :, 3:])  # by the next frame


@every_baseline
def test_a_clip_of_which_nothing_is_seen_is_refused(name: str) -> None:
    hidden = scattered()
    hidden[1] = True
    with pytest.raises(ValueError, match="hides 100% of a clip"):
        BASELINES[name](scrolled(), hidden, CAMERA)


@every_baseline
def test_a_single_frame_is_filled_from_itself(name: str) -> None:
    video, hidden = scrolled()[:, :, :1], scattered()[:, :1]
    assert BASELINES[name](video, hidden, CAMERA[:, :1]).isfinite().all()
