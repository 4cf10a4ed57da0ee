"""What the camera has passed is found again, to the pixel, and nothing hidden is."""

import pytest
import torch

from lit_modules.mae.cubes import FRAMES, cut, to_units
from lit_modules.mae.decoder import cubes_of
from lit_modules.mae.masking import TubeMask, hidden_cubes, hidden_pixels, visible_units
from lit_modules.mae.panorama import borrow

SIDES = (16, 8)
GRID = (4, 2, 4)


def scroll(camera: torch.Tensor) -> torch.Tensor:
    """Windows of 32x64 pixels onto one level, `(1, 3, t, 32, 64)`, from where the camera is."""
    level = torch.rand(3, 32, 300, generator=torch.Generator().manual_seed(0))
    return torch.stack([level[:, :, int(x) : int(x) + 64] for x in camera], 1)[None]


def looked_up(camera: torch.Tensor, told: torch.Tensor | None = None):
    video = scroll(camera)
    hidden = TubeMask()([torch.Generator().manual_seed(3)], GRID, 0.6)
    units, cubes = visible_units(hidden), hidden_cubes(hidden)
    told = camera if told is None else told
    got = borrow(video, units, cubes, GRID, SIDES, told[None].float())
    true = to_units(cut(video, 8), 2).flatten(1, 2)[0, cubes[0]]
    return video, hidden, got, true


@pytest.mark.parametrize("step", [(5, 9, 14, 20, 27, 33, 40, 46), tuple(range(0, 160, 20))])
def test_pixels_that_another_frame_shows_are_exact_and_all_of_them_found(step) -> None:
    camera = torch.tensor(step)  # the second passes more than two pictures
    video, hidden, got, true = looked_up(camera)
    known = got.known[0]
    torch.testing.assert_close(got.pixels[0][known], true[known], atol=1e-6, rtol=0)
    # By hand: a hidden pixel is known if its column of the level is visible in any frame.
    seen = ~hidden_pixels(hidden, 16, video.shape)[0]
    expected = torch.zeros(8, 32, 64, dtype=torch.bool)
    for t in range(8):
        for other in range(8):
            shift = int(camera[t] - camera[other])
            for x in range(64):
                if 0 <= x + shift < 64:
                    expected[t, :, x] |= seen[other, :, x + shift]
    pixels = expected[None, None].expand(1, 3, -1, -1, -1)
    by_cube = to_units(cut(pixels.float(), 8), 2).flatten(1, 2)[0, hidden_cubes(hidden)[0]] > 0
    assert torch.equal(known, by_cube)
    assert 0.2 < known.float().mean() < 1


def test_a_camera_that_stands_still_shows_nothing_new_under_tubes() -> None:
    _, _, got, _ = looked_up(torch.full((8,), 7))
    assert not got.known.any()


@pytest.mark.parametrize("elsewhere", [200.0, -500.0])
def test_frames_of_unknown_or_far_away_cameras_neither_give_nor_take(elsewhere) -> None:
    camera = torch.tensor([5, 9, 14, 20, 27, 33, 40, 46])
    told = camera.float()
    told[3] = torch.nan
    told[6] = elsewhere  # through a pipe, or back at the beginning
    _, hidden, got, true = looked_up(camera, told)
    known = got.known[0]
    torch.testing.assert_close(got.pixels[0][known], true[known], atol=1e-6, rtol=0)
    frames = known.view(-1, FRAMES, 8 * 8 * 3).any(2)  # of each cube
    times = hidden_cubes(hidden)[0] // (4 * GRID[1] * GRID[2])
    assert not frames[times == 1, 1].any()
    assert not frames[times == 3, 0].any()
    assert frames[times == 0].all(1).any()


def test_hidden_pixels_are_never_lent() -> None:
    camera = torch.tensor([5, 9, 14, 20, 27, 33, 40, 46])
    video, hidden, got, _ = looked_up(camera)
    pixels = hidden_pixels(hidden, 16, video.shape)
    changed = torch.where(pixels[:, None], torch.nan, video)
    units, cubes = visible_units(hidden), hidden_cubes(hidden)
    again = borrow(changed, units, cubes, GRID, SIDES, camera[None].float())
    assert torch.equal(again.pixels, got.pixels) and torch.equal(again.known, got.known)
    assert cubes_of(units).shape[1] + cubes.shape[1] == 4 * 2 * 4 * 4
