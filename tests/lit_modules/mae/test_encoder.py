"""The encoder computes visible units alone, and they come out as if all had been computed."""

import pytest
import torch
from small_autoencoder import SIDE, generators, small
from torch import Tensor
from torch.nn.functional import max_pool2d, scaled_dot_product_attention

from lit_modules.mae.cubes import cut, from_units, join, pad, to_units
from lit_modules.mae.encoder import HierarchicalEncoder
from lit_modules.mae.masking import RandomMask, visible_units


def dense(encoder: HierarchicalEncoder, video: Tensor, hidden: Tensor) -> Tensor:
    """All units on one grid, in full attention under a mask: `(b, T, 2 * H, 2 * W, c)`."""
    _, times, rows, columns = hidden.shape
    tokens = encoder.embed(cut(video, encoder.patch))  # (b, T, 8 * H, 8 * W, c)
    tokens = tokens + encoder.in_unit.view(8, 8, -1).repeat(rows, columns, 1)
    places = encoder.of_unit((times, rows, columns))
    tokens = tokens + places.repeat_interleave(8, 1).repeat_interleave(8, 2)
    numbers = torch.arange(hidden[0].numel()).view(hidden[0].shape)
    for stage, blocks in enumerate(encoder.stages):
        for block in blocks:
            normed = block.norm_attention(tokens)
            query, key, value = block.query_key_value(normed).chunk(3, -1)
            if block.pools:
                query = pool(query)
                tokens = pool(block.shortcut(normed))
            of_query, of_key = (spread(numbers, x.shape[2] // rows) for x in (query, key))
            allowed = (of_query[:, None] == of_key).expand(len(video), -1, -1)
            if block.everywhere:
                seen = ~hidden.flatten(1)[:, of_key]
                allowed = allowed | seen[:, None].expand(allowed.shape)
            mixed = scaled_dot_product_attention(
                *(x.flatten(1, 3) for x in (query, key, value)), attn_mask=allowed
            )
            tokens = tokens + block.project(mixed.view(query.shape))
            tokens = tokens + block.mlp(block.norm_mlp(tokens))
        if stage == 2:
            cubes = tokens
    coarse = encoder.fuse(encoder.norm_coarse(tokens))
    return encoder.norm(cubes + coarse.repeat_interleave(2, 2).repeat_interleave(2, 3))


def pool(grid: Tensor) -> Tensor:
    flat = max_pool2d(grid.flatten(0, 1).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    return flat.view(*grid.shape[:2], *flat.shape[1:])


def spread(numbers: Tensor, k: int) -> Tensor:
    """The unit of each token of a grid with k x k tokens a unit."""
    return numbers.repeat_interleave(k, 1).repeat_interleave(k, 2).flatten()


def test_visible_only_equals_dense_with_a_mask() -> None:
    encoder = small().encoder
    video = torch.randn(2, 3, 4, 48, 32)
    hidden = RandomMask()(generators(1, 2), (2, 3, 2), 0.6)
    visible = visible_units(hidden)
    with torch.no_grad():
        expected = to_units(dense(encoder, video, hidden), 2)
        got = encoder(video, visible)
    expected = expected[torch.arange(2)[:, None], visible]
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_only_later_stages_let_units_see_each_other() -> None:
    encoder = small(depths=(1, 1, 1, 1)).encoder
    video = torch.randn(1, 3, 4, 48, 32)
    changed = video.clone()
    changed[..., -16:, -16:] += 1
    visible = torch.arange(12)[None]
    stages = []
    for block in (*encoder.stages[2], *encoder.stages[3]):
        block.register_forward_hook(lambda _, __, out: stages.append(out[:, 0]))
    for clip in (video, changed):
        encoder(clip, visible)
    assert torch.equal(stages[0], stages[2])  # the block that pools into stage 3
    assert not torch.equal(stages[1], stages[3])


def test_recomputing_blocks_changes_no_gradient() -> None:
    video, visible = torch.randn(1, 3, 4, 48, 32), torch.tensor([[0, 3, 7]])
    gradients = []
    for checkpointing in (False, True):
        encoder = small(checkpointing=checkpointing).encoder.train()
        encoder(video, visible).square().mul(torch.arange(16)).sum().backward()
        gradients.append([p.grad for p in encoder.parameters()])
    torch.testing.assert_close(*gradients)


def test_join_undoes_cut_and_units_go_back_to_their_grid() -> None:
    video = torch.randn(2, 3, 4, 48, 32)
    cubes = cut(video, 8)
    assert torch.equal(join(cubes, 8), video)
    assert torch.equal(from_units(to_units(cubes, 2), (2, 3, 2), 2), cubes)
    unit = to_units(cubes, 2)[1, 3]  # first time, second row, second column
    assert torch.equal(join(unit.view(1, 1, 2, 2, -1), 8)[0], video[1, :, :2, 16:32, 16:32])


def test_padding_repeats_the_border_within_its_unit() -> None:
    video = torch.randn(1, 3, 3, 30, 33)
    padded = pad(video, SIDE)
    assert padded.shape == (1, 3, 4, 32, 48)
    assert torch.equal(padded[:, :, :3, :30, :33], video)
    assert torch.equal(padded[:, :, 3, 31, 47], video[:, :, 2, 29, 32])


@pytest.mark.parametrize(
    ("shape", "named"),
    [((4, 40, 32), "height 40"), ((3, 48, 32), "length 3"), ((0, 48, 32), "length 0")],
)
def test_clip_that_does_not_divide_is_named(shape: tuple[int, ...], named: str) -> None:
    with pytest.raises(ValueError, match=f"clip {named} must be a positive multiple"):
        small().encoder(torch.zeros(1, 3, *shape), torch.zeros(1, 1, dtype=torch.int64))
