"""Rotary positions: only distances count, on lines and on grids."""

import pytest
import torch

from lit_modules.layers.rope import rotate


def scores(query: torch.Tensor, key: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    """Products of one query and one key put at every pair of positions, `(n, n)`."""
    n = torch.Size(sizes).numel()
    return rotate(query.expand(n, -1), sizes) @ rotate(key.expand(n, -1), sizes).mT


def test_products_on_a_line_depend_on_the_distance_alone() -> None:
    query, key = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0))
    products = scores(query, key, (7,))
    for distance in range(-6, 7):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert products[0].std() > 0.1


def test_products_on_a_grid_depend_on_both_distances_alone() -> None:
    query, key = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0))
    products = scores(query, key, (4, 5)).view(4, 5, 4, 5)
    torch.testing.assert_close(products[0, 1, 2, 4], products[1, 0, 3, 3])
    assert abs(products[0, 0, 1, 0] - products[0, 0, 0, 1]) > 1e-3


@pytest.mark.parametrize("sizes", [(6,), (2, 3)])
def test_rotation_keeps_lengths_and_the_first_position(sizes: tuple[int, ...]) -> None:
    x = torch.randn(3, 6, 12, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, sizes)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, 0], x[:, 0])
