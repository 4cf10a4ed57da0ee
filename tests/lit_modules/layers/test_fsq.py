"""Finite scalar quantisation: closed form, the grid, gradients, a peer."""

from __future__ import annotations

import math

import pytest
import torch

from lit_modules.layers.fsq import FSQ, LEVELS, levels_of

SIZES = {16: 15, 64: 64, 256: 240, 512: 512, 1024: 1000, 2048: 1920, 4096: 4375}


@pytest.mark.parametrize(("size", "codes"), SIZES.items())
def test_indices_and_codes_invert_each_other(size: int, codes: int) -> None:
    fsq = FSQ(levels_of(size))
    assert fsq.codes == codes
    indices = torch.arange(codes)
    values = fsq.to_codes(indices)
    assert torch.equal(fsq.to_indices(values), indices)
    assert len(values.unique(dim=0)) == codes
    assert values.abs().max() == 1


def slow_index(z: list[float], levels: tuple[int, ...]) -> int:
    """One vector after the paper's equation, number by number."""
    index, step = 0, 1
    for value, count in zip(z, levels, strict=True):
        half = (count - 1) * 1.001 / 2
        offset = 0.0 if count % 2 else 0.5
        bounded = math.tanh(value + math.atanh(offset / half)) * half - offset
        index += (round(bounded) + count // 2) * step
        step *= count
    return index


@pytest.mark.parametrize("levels", LEVELS.values())
def test_quantising_agrees_with_the_closed_form(levels: tuple[int, ...]) -> None:
    z = 2 * torch.randn(200, len(levels), generator=torch.Generator().manual_seed(0))
    _, indices = FSQ(levels)(z)
    assert indices.tolist() == [slow_index(row, levels) for row in z.tolist()]


def test_every_code_quantises_to_itself() -> None:
    fsq = FSQ((8, 6, 5))
    codes = fsq.to_codes(torch.arange(240))
    half = torch.tensor([4, 3, 2])
    z = torch.atanh((codes * half + fsq.offset) / fsq.reach) - fsq.shift
    assert torch.equal(fsq(z)[1], torch.arange(240))


def test_gradient_passes_straight_through_the_rounding() -> None:
    fsq = FSQ((8, 5)).double()
    z = torch.randn(7, 2, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    z = z.float().requires_grad_()
    weight = torch.randn(7, 2, generator=torch.Generator().manual_seed(1))
    (straight,) = torch.autograd.grad((fsq(z)[0] * weight).sum(), z)
    half = torch.tensor([4.0, 2.0])
    (smooth,) = torch.autograd.grad((fsq.bound(z) / half * weight).sum(), z)
    torch.testing.assert_close(straight, smooth)
    assert torch.autograd.gradcheck(fsq.bound, z.detach().double().requires_grad_())


def test_a_size_without_levels_names_those_that_have_them() -> None:
    with pytest.raises(ValueError, match=r"codebook_size 240 .* 256"):
        levels_of(240)


@pytest.mark.parametrize("levels", LEVELS.values())
def test_codes_and_indices_are_those_of_the_peer(levels: tuple[int, ...]) -> None:
    peer = pytest.importorskip("vector_quantize_pytorch").FSQ(list(levels))
    z = 2 * torch.randn(64, 3, len(levels), generator=torch.Generator().manual_seed(0))
    codes, indices = FSQ(levels)(z)
    their_codes, their_indices = peer(z)
    torch.testing.assert_close(codes, their_codes)
    assert torch.equal(indices, their_indices.long())
    torch.testing.assert_close(FSQ(levels).to_codes(indices), peer.indices_to_codes(their_indices))
