"""Copied pixels are true ones, where attention says."""

import torch

from lit_modules.mae.copying import CopyHead


@torch.no_grad()
def test_copies_begin_as_the_mean_of_what_is_visible() -> None:
    head = CopyHead(16, heads=4, channels=8)
    head.query.weight.zero_()
    pixels = torch.rand(2, 5, 12)
    copied = head(torch.zeros(2, 3, 16), torch.randn(2, 5, 16), pixels)
    torch.testing.assert_close(copied, pixels.mean(1, keepdim=True).expand(-1, 3, -1))


@torch.no_grad()
def test_a_token_that_fits_one_cube_alone_copies_it_exactly() -> None:
    head = CopyHead(8, heads=1, channels=8)
    for layer in (head.query, head.key):
        layer.weight.copy_(1000 * torch.eye(8))
        layer.bias.zero_()
    head.share.weight.zero_()
    tokens = torch.eye(8)[None]
    pixels = torch.rand(1, 8, 24)
    copied = head(tokens[:, [3, 5]], tokens, pixels)
    assert torch.equal(copied, pixels[:, [3, 5]])


def test_copying_learns_which_cube_to_take() -> None:
    torch.manual_seed(0)
    head = CopyHead(16, heads=2, channels=16)
    places = torch.randn(6, 16)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(200):
        pixels = torch.rand(8, 6, 12)
        tokens = places.expand(8, -1, -1)
        error = (head(tokens, tokens, pixels) - pixels.roll(1, 1)).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error.item() < 0.1 * pixels.var().item()
