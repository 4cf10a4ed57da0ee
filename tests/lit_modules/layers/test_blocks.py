import pytest
import torch
from torch import Tensor, nn

from lit_modules.layers.blocks import ResidualBlock, TransformerBlock


def _trained(block: nn.Module) -> nn.Module:
    """Fill every weight, as training would: a zero last layer hides what lies before it."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return block


def _grid(height: int = 5, width: int = 6) -> Tensor:
    return torch.randn(2, 8, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("make", [lambda: ResidualBlock(8), lambda: TransformerBlock(8, heads=2)])
def test_a_fresh_block_is_the_identity_and_can_learn(make):
    block = make()
    grid = _grid()
    assert torch.equal(block(grid), grid)
    block(grid).square().sum().backward()
    last = [p.grad for name, p in block.named_parameters() if name.startswith("project")]
    assert last and all(gradient.abs().sum() > 0 for gradient in last)


@pytest.mark.parametrize("make", [lambda: ResidualBlock(8), lambda: TransformerBlock(8, heads=2)])
def test_samples_of_a_batch_do_not_mix(make):
    block = _trained(make())
    grid = _grid()
    torch.testing.assert_close(block(grid)[:1], block(grid[:1]))
    assert not torch.allclose(block(grid), grid)


def test_attention_reaches_the_whole_grid_and_a_convolution_does_not():
    grid, changed = _grid(9, 9), _grid(9, 9)
    changed[:, :, 0, 0] += 3.0
    far = (slice(None), slice(None), -1, -1)
    attention = _trained(TransformerBlock(8, heads=2))
    assert (attention(grid)[far] - attention(changed)[far]).abs().max() > 1e-3
    local = _trained(ResidualBlock(8))
    local.norm = nn.Identity()  # the statistics of the normalisation are global by design
    assert torch.equal(local(grid)[far], local(changed)[far])


def test_attention_knows_where_a_cell_lies():
    block = _trained(TransformerBlock(8, heads=2))
    flipped = block(_grid().flip(-1)).flip(-1)
    assert not torch.allclose(block(_grid()), flipped, atol=1e-3)


def test_heads_that_do_not_divide_the_channels_are_named():
    with pytest.raises(ValueError, match="channels 10 must be a multiple of heads 4"):
        TransformerBlock(10, heads=4)
