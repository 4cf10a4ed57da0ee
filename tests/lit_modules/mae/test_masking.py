"""What each mask hides: how much, where, and the same for a sample whatever its batch."""

import pytest
import torch
from small_autoencoder import generators

from lit_modules.mae.masking import (
    BlockMask,
    CubeMask,
    InformationMask,
    Mask,
    RandomMask,
    RunningCell,
    TubeMask,
    hidden_cubes,
    unit_information,
    visible_units,
)

GRID = (8, 7, 7)
MASKS = {
    "random": RandomMask(),
    "tube": TubeMask(),
    "block": BlockMask(),
    "cube": CubeMask(),
    "low": InformationMask("low"),
    "high": InformationMask("high"),
    "high_tubes": InformationMask("high", tubes=True),
}
STANDS = {"tube", "block", "high_tubes"}  # hides the same places at all times
every_mask = pytest.mark.parametrize("name", MASKS)


def draw(name: str, ratio: float, *samples: int) -> torch.Tensor:
    information = torch.stack([torch.rand(GRID, generator=g) for g in generators(*samples)])
    return MASKS[name](generators(*samples), GRID, ratio, information)


@every_mask
@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.85, 0.9, 0.95])
def test_every_sample_hides_the_share_asked_for(name: str, ratio: float) -> None:
    hidden = draw(name, ratio, *range(4))
    assert hidden.dtype == torch.bool
    units, alike = (49, 8) if name in STANDS else (392, 1)
    assert (hidden.sum((1, 2, 3)) == round(ratio * units) * alike).all()


@every_mask
def test_a_sample_is_masked_the_same_in_any_batch(name: str) -> None:
    whole = draw(name, 0.9, 5, 6, 7)
    assert torch.equal(draw(name, 0.9, 7, 5), whole[[2, 0]])
    assert not torch.equal(whole[0], whole[1])


@every_mask
def test_something_stays_visible(name: str) -> None:
    assert (~draw(name, 0.999, 0)).any()
    with pytest.raises(ValueError, match=r"mask ratio 1\.0 must lie in \[0, 1\)"):
        draw(name, 1.0, 0)


@every_mask
def test_tubes_and_blocks_stand_and_others_move(name: str) -> None:
    hidden = draw(name, 0.5, 0)[0]
    assert (hidden == hidden[:1]).all() == (name in STANDS)


@pytest.mark.parametrize(("name", "scattered"), [("block", "tube"), ("cube", "random")])
def test_blocks_and_cubes_hang_together(name: str, scattered: str) -> None:
    def borders(mask: Mask) -> int:
        hidden = mask(generators(*range(16)), GRID, 0.5)
        return sum(int((hidden.diff(dim=axis) != 0).sum()) for axis in (1, 2, 3))

    assert borders(MASKS[name]) < 0.6 * borders(MASKS[scattered])


def test_information_masks_prefer_their_end() -> None:
    information = torch.rand(16, *GRID)
    for prefer, sign in (("low", -1), ("high", 1)):
        hidden = InformationMask(prefer)(generators(*range(16)), GRID, 0.5, information)
        assert sign * (information[hidden].mean() - information[~hidden].mean()) > 0.2


def test_flat_and_still_units_hold_no_information() -> None:
    video = torch.zeros(1, 3, 4, 32, 32)
    video[..., :16, :16] = torch.rand(3, 4, 16, 16)  # noise in one corner
    video[:, :, 3, 16:, 16:] = 1  # a unit that changes as a whole
    information = unit_information(video, 16)
    assert information.shape == (1, 2, 2, 2)
    expected = torch.tensor([[[True, False], [False, False]], [[True, False], [False, True]]])
    assert torch.equal(information[0] > 0, expected)


def test_information_that_is_needed_is_asked_for() -> None:
    with pytest.raises(ValueError, match="give information"):
        InformationMask("low")(generators(0), GRID, 0.5)


def test_running_cells_compute_half_of_any_mask_and_each_cube_half_the_time() -> None:
    computed = RunningCell()(generators(*range(8)), GRID)
    assert (computed.sum(2) == 2).all()
    by_time = computed.view(8, 8, 49, 4)
    assert (by_time.sum(1) == 4).all()  # of 8 times
    assert (by_time[:, 1:] != by_time[:, :-1]).any(3).all()  # it runs
    for name in MASKS:
        hidden = draw(name, 0.9, *range(8))
        half = hidden_cubes(hidden, computed)
        assert 2 * half.shape[1] == hidden_cubes(hidden).shape[1]
        units = half // 4
        assert hidden.flatten(1).gather(1, units).all()


def test_visible_units_and_hidden_cubes_part_the_clip() -> None:
    hidden = draw("random", 0.9, 0, 1)
    visible = (visible_units(hidden)[..., None] * 4 + torch.arange(4)).flatten(1)
    whole = torch.cat([visible, hidden_cubes(hidden)], 1).sort(1).values
    assert torch.equal(whole, torch.arange(8 * 49 * 4).expand(2, -1))


def test_masks_that_make_no_batch_are_refused() -> None:
    hidden = torch.zeros(2, *GRID, dtype=torch.bool)
    hidden[0, 0, 0, 0] = True
    with pytest.raises(ValueError, match="masks of one share"):
        visible_units(hidden)
    with pytest.raises(ValueError, match="hides 100%"):
        visible_units(torch.ones_like(hidden))
