"""Copied pixels are true ones, where attention says."""

import torch

from lit_modules.mae.copying import CopyHead
from lit_modules.mae.cubes import Places


def line(clips: int, count: int) -> Places:
    """Cubes side by side."""
    nowhere = torch.zeros(clips, count, dtype=torch.int64)
    return nowhere, nowhere, torch.arange(count).expand(clips, -1)


@torch.no_grad()
def test_copies_begin_as_the_mean_of_what_is_visible() -> None:
    head = CopyHead(16, heads=4, channels=8)
    head.query.weight.zero_()
    head.nearness.zero_()
    pixels = torch.rand(2, 5, 12)
    places = (line(2, 3), line(2, 5))
    copied = head(torch.zeros(2, 3, 16), torch.randn(2, 5, 16), pixels, *places, (1, 1, 5))
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
    asked: Places = tuple(axis[:, [3, 5]] for axis in line(1, 8))  # type: ignore[assignment]
    copied = head(tokens[:, [3, 5]], tokens, pixels, asked, line(1, 8), (1, 1, 8))
    assert torch.equal(copied, pixels[:, [3, 5]])


def test_copying_learns_which_cube_to_take() -> None:
    torch.manual_seed(0)
    head = CopyHead(16, heads=2, channels=16)
    places = torch.randn(6, 16)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(200):
        pixels = torch.rand(8, 6, 12)
        tokens = places.expand(8, -1, -1)
        copied = head(tokens, tokens, pixels, line(8, 6), line(8, 6), (1, 1, 6))
        error = (copied - pixels.roll(1, 1)).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error.item() < 0.1 * pixels.var().item()


@torch.no_grad()
def test_nearness_weighs_cubes_by_their_steps() -> None:
    head = CopyHead(8, heads=1, channels=8)
    head.query.weight.zero_()
    head.nearness.copy_(torch.tensor([[0.0, 0.0, 0.7]]))
    pixels = torch.rand(1, 4, 6)
    tokens = torch.randn(1, 4, 8)
    copied = head(tokens, tokens, pixels, line(1, 4), line(1, 4), (1, 1, 4))
    steps = (torch.arange(4)[:, None] - torch.arange(4)).abs()
    torch.testing.assert_close(copied[0], torch.softmax(-0.7 * steps, 1) @ pixels[0])
