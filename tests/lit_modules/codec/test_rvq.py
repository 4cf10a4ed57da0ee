"""Residual codebooks: nearest codes, moving averages, and nobody left unused."""

from __future__ import annotations

import pytest
import torch

from lit_modules.codec.rvq import REVIVED, ResidualQuantizer


def filled(dim: int = 5, codebooks: int = 3, size: int = 7, seed: int = 0) -> ResidualQuantizer:
    quantizer = ResidualQuantizer(dim, codebooks, size)
    generator = torch.Generator().manual_seed(seed)
    scale = 2.0 ** -torch.arange(codebooks)[:, None, None]
    quantizer.codebooks.copy_(torch.randn(codebooks, size, dim, generator=generator) * scale)
    quantizer.sums.copy_(quantizer.codebooks)
    return quantizer


def vectors(count: int, dim: int = 5, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_codes_are_the_nearest_to_what_is_left() -> None:
    quantizer, given = filled(), vectors(3000)  # more than a chunk
    rest = given.double()
    for stage, found in enumerate(quantizer.encode(given).unbind(1)):
        codes = quantizer.codebooks[stage].double()
        assert torch.equal(found, torch.cdist(rest, codes).argmin(1))
        rest = rest - codes[found]


def test_fewer_codebooks_give_the_first_codes_of_more() -> None:
    quantizer, given = filled(), vectors(50)
    assert torch.equal(quantizer.encode(given, 2), quantizer.encode(given)[:, :2])


def test_decoding_sums_as_many_codes_as_the_depth_says() -> None:
    quantizer, given = filled(), vectors(40)
    indices, depth = quantizer.encode(given), torch.arange(40) % 4
    sums = quantizer.partial_sums(indices)
    expected = torch.stack(
        [sums[i, d - 1] if d else torch.zeros(5) for i, d in enumerate(depth.tolist())]
    )
    torch.testing.assert_close(quantizer.decode(indices, depth), expected)


def test_averages_follow_the_vectors_that_chose_a_code() -> None:
    quantizer, given = filled(), vectors(60)
    depth = torch.arange(60) % 3 + 1
    indices = quantizer.encode(given)
    use, sums = quantizer.use.double(), quantizer.sums.double()
    rest = given.double()
    for stage in range(3):
        for code in range(7):
            chose = (indices[:, stage] == code) & (depth > stage)
            use[stage, code] = 0.99 * use[stage, code] + 0.01 * chose.sum()
            sums[stage, code] = 0.99 * sums[stage, code] + 0.01 * rest[chose].sum(0)
        rest = rest - quantizer.codebooks[stage].double()[indices[:, stage]]
    quantizer.learn(given, indices, depth, step=1)
    torch.testing.assert_close(quantizer.use.double(), use, rtol=1e-5, atol=1e-6)
    expected = sums / use[..., None]
    torch.testing.assert_close(quantizer.codebooks.double(), expected, rtol=1e-4, atol=1e-5)


def test_dead_code_moves_to_a_vector_with_its_averages() -> None:
    quantizer, given = filled(), vectors(60)
    quantizer.use[0, 3] = 1e-4
    quantizer.codebooks[0, 3] = 100.0
    quantizer.sums[0, 3] = 0.01
    indices = quantizer.encode(given)
    quantizer.learn(given, indices, torch.full((60,), 3), step=10)
    assert (given - quantizer.codebooks[0, 3]).square().sum(1).min() == 0
    assert 0 < quantizer.use[0, 3] <= REVIVED * quantizer.use[0].mean() * 1.1
    torch.testing.assert_close(
        quantizer.sums[0, 3], quantizer.codebooks[0, 3] * quantizer.use[0, 3]
    )


def test_beginning_leaves_less_with_each_codebook_and_uses_all_codes() -> None:
    quantizer, given = ResidualQuantizer(5, 3, 16), vectors(2000)
    quantizer.begin(given)
    left = quantizer.left
    assert (left[1:] < 0.9 * left[:-1]).all()
    said = quantizer.decode(quantizer.encode(given), torch.full((2000,), 3))
    torch.testing.assert_close((given - said).square().sum(1).mean(), left[3], rtol=1e-4, atol=0)
    assert all(len(codes.unique()) == 16 for codes in quantizer.encode(given).unbind(1))


def test_codes_are_those_of_vector_quantize_pytorch() -> None:
    peer = pytest.importorskip("vector_quantize_pytorch")
    quantizer, given = filled(32, 4, 64), vectors(4000, 32)
    other = peer.ResidualVQ(dim=32, num_quantizers=4, codebook_size=64).eval()
    for layer, codes in zip(other.layers, quantizer.codebooks, strict=True):
        layer._codebook.embed.copy_(codes[None])
        layer._codebook.initted.fill_(True)
    _, theirs, _ = other(given[None])
    assert (theirs[0] == quantizer.encode(given)).float().mean() >= 0.999
