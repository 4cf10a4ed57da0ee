import pytest
import torch
from torch import nn

from lit_modules.layers.blocks import ResidualBlock
from lit_modules.streaming_ae.sparse_init import sparse_init_, sparse_init_module_

LAYERS = {
    "convolution": nn.Conv2d(4, 6, 5),
    "transposed": nn.ConvTranspose2d(4, 6, 5),
    "grouped": nn.Conv2d(8, 6, 5, groups=2),
    "linear": nn.Linear(100, 6),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_each_unit_keeps_its_share_of_inputs(name: str, sparsity: float) -> None:
    layer = sparse_init_module_(LAYERS[name], sparsity, torch.Generator().manual_seed(0))
    units = layer.weight.transpose(0, 1) if name == "transposed" else layer.weight
    units = units.detach().flatten(1)
    assert units.shape == (6, 100)
    assert ((units != 0).sum(1) == round(100 * (1 - sparsity))).all()
    assert units.abs().max() <= 0.1  # sqrt(1 / fan_in)
    assert units.abs().max() > 0.09
    assert not layer.bias.any()


def test_zeros_lie_elsewhere_in_each_unit() -> None:
    weight = sparse_init_(torch.empty(20, 50), 0.5, torch.Generator().manual_seed(0))
    assert len({tuple(row) for row in (weight == 0).tolist()}) == 20
    assert (weight == 0).sum(0).min() > 0
    assert (weight == 0).sum(0).max() < 20


def test_unit_of_few_inputs_keeps_one() -> None:
    for fan_in in range(1, 10):
        weight = sparse_init_(torch.empty(5, fan_in), 0.99)
        assert ((weight != 0).sum(1) == 1).all()


def test_same_generator_draws_same_weights() -> None:
    one, two = (
        sparse_init_(torch.empty(4, 9), generator=torch.Generator().manual_seed(3)) for _ in "ab"
    )
    assert torch.equal(one, two)


def test_layers_that_start_at_zero_stay_at_zero() -> None:
    block = sparse_init_module_(ResidualBlock(4))
    x = torch.rand(1, 4, 5, 5)
    assert torch.equal(block(x), x)
    assert (block.expand.weight == 0).float().mean() > 0.8


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sparsity 1.0 .*model.sparsity"):
        sparse_init_(torch.empty(2, 2), 1.0)
    with pytest.raises(ValueError, match="2 groups"):
        sparse_init_module_(nn.ConvTranspose2d(4, 4, 3, groups=2))
