"""What the shipped presets promise of their networks, counted without computing."""

import torch
from torch import nn

from benchmarks.flow import FULL, preset, tera_operations


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_mario_needs_a_twentieth_of_the_work_of_reference() -> None:
    assert 20 * tera_operations("mario", FULL) <= tera_operations("reference", FULL)


def test_mario_has_at_most_25_million_parameters() -> None:
    with torch.device("meta"):
        assert parameters(preset("mario", FULL)) <= 25_000_000  # conditioning included


def test_reference_has_the_21_million_parameters_of_its_specification() -> None:
    with torch.device("meta"):
        assert round(parameters(preset("reference", FULL).net) / 1e6) == 21
