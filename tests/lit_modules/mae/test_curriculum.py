"""What is hidden in which part of a run."""

import pytest
import torch

from lit_modules.mae.curriculum import Curriculum
from lit_modules.mae.masking import MASKS, InformationMask, MaskName, TubeMask


def test_three_phases_hide_the_easy_then_anything_then_the_hard() -> None:
    curriculum = Curriculum("three_phase", "tube", 0.9)
    information = torch.arange(49.0).view(1, 1, 7, 7).expand(1, 8, -1, -1)

    def hidden_information(progress: float) -> float:
        mask, ratio = curriculum.at(progress)
        total = 0.0
        for seed in range(50):
            hidden = mask([torch.Generator().manual_seed(seed)], (8, 7, 7), ratio, information)
            total += float(information[~hidden].mean())
        return total / 50  # of what stays visible

    easy, balanced, hard = (hidden_information(progress) for progress in (0.2, 0.5, 0.8))
    assert easy > balanced + 5 > hard + 10


def test_easy_masks_hide_ever_more() -> None:
    curriculum = Curriculum("three_phase", "tube", 0.9)
    assert [round(curriculum.at(p).ratio, 3) for p in (0, 1 / 6, 1 / 3, 0.5, 1)] == [
        *(0.85, 0.875, 0.9, 0.9, 0.9)
    ]


def test_fixed_masks_stay_the_same() -> None:
    curriculum = Curriculum("fixed", "tube", 0.9)
    for progress in (0.0, 0.5, 1.0):
        mask, ratio = curriculum.at(progress)
        assert isinstance(mask, TubeMask) and ratio == 0.9


@pytest.mark.parametrize("name", MASKS)
def test_masks_by_name_hide_the_share_asked_for(name: MaskName) -> None:
    information = torch.rand(2, 8, 7, 7, generator=torch.Generator().manual_seed(0))
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    hidden = MASKS[name]()(generators, (8, 7, 7), 0.9, information)
    assert hidden.float().mean((1, 2, 3)).tolist() == pytest.approx([0.9, 0.9], abs=0.02)


def test_low_and_high_are_the_information_masks_of_these_names() -> None:
    low, high = MASKS["low"](), MASKS["high"]()
    assert isinstance(low, InformationMask) and isinstance(high, InformationMask)
    assert low.sharpness < 0 < high.sharpness


@pytest.mark.parametrize("ratio", [0.0, 1.0, 1.5])
def test_ratio_out_of_range_is_named(ratio: float) -> None:
    with pytest.raises(ValueError, match=rf"mask_ratio {ratio} .*set model.mask_ratio"):
        Curriculum("fixed", "tube", ratio)
