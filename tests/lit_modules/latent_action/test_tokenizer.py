"""The motion tokenizer: shapes, causality, rest, pictures and cameras, what it can learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_motion import paddles
from sklearn.metrics import adjusted_mutual_info_score

from lit_modules.latent_action.losses import motion_loss
from lit_modules.latent_action.tokenizer import MotionTokenizer
from lit_modules.latent_action.usage import count_codes, usage
from lit_modules.layers.fsq import LEVELS

SMALL = {"hidden_dim": 16, "depth": 1, "heads": 2}


def make(**more: Any) -> MotionTokenizer:
    """A small tokenizer whose small initial layers are enlarged, so that everything acts."""
    torch.manual_seed(0)
    net = MotionTokenizer(**{**SMALL, **more}).eval()
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return net


@pytest.mark.parametrize("size", LEVELS)
@pytest.mark.parametrize("length", [2, 16])
def test_shapes_and_ranges_are_those_promised(size: int, length: int) -> None:
    net = make(codebook_size=size, code_length=length)
    velocity, _ = paddles(3)
    out = net(velocity)
    assert out.x_recon.shape == velocity.shape
    assert out.codebook_indices.shape == (3, length)
    assert out.rel_logits.shape == (3, 16, 400, 225)
    assert 0 <= out.codebook_indices.min() <= out.codebook_indices.max() < net.fsq.codes
    codes = net.encode(velocity)
    assert torch.equal(codes.indices, out.codebook_indices)
    assert torch.equal(net.fsq.to_codes(codes.indices), codes.quantized)
    assert torch.equal(net.fsq(codes.prequant)[1], codes.indices)


@pytest.mark.parametrize("length", [4, 16])
def test_later_steps_change_no_earlier_token_and_the_first_step_changes_the_last(
    length: int,
) -> None:
    net = make(code_length=length)
    velocity, _ = paddles(8)
    velocity[:, 3] = 0.02  # so that no token there is at rest
    velocity[:, 15] = 0.02
    before = net.encode(velocity).prequant
    changed = velocity.clone()
    changed[:, 8:] = 0.05 * torch.randn(changed[:, 8:].shape, generator=torch.manual_seed(1))
    after = net.encode(changed).prequant
    half = length // 2
    assert torch.equal(before[:, :half], after[:, :half])
    assert (before[:, half:] != after[:, half:]).any(-1).all()
    changed = velocity.clone()
    changed[:, 0] = 0.05
    assert (net.encode(changed).prequant[:, -1] != before[:, -1]).any(-1).all()


@pytest.mark.parametrize("look_back", [0, 2])
def test_a_step_is_decoded_from_its_own_token_and_those_it_may_look_back_on(look_back: int) -> None:
    net = make(code_length=8, look_back=look_back)
    codes = net.fsq.to_codes(torch.randint(0, 240, (1, 8), generator=torch.manual_seed(0)))
    before = net.decode(codes, codes.new_zeros(1, 0, 16)).moving
    codes[:, 3] = -codes[:, 3] + 0.1
    after = net.decode(codes, codes.new_zeros(1, 0, 16)).moving
    differs = (before != after).any(-1)[0]
    assert differs.nonzero().flatten().tolist() == list(range(6, 8 + 2 * look_back))


def test_still_windows_give_one_constant_token() -> None:
    net = make(code_length=8)
    still = torch.zeros(4, 16, 400, 2)
    still[1:] = 5e-4 * torch.rand(3, 16, 400, 2, generator=torch.manual_seed(0))  # tremble
    codes = net.encode(still)
    assert len(codes.indices.unique()) == 1
    assert not codes.prequant.any()
    moving = still.clone()
    moving[:, 4, 7] = 0.02
    tokens = net.encode(moving)
    assert tokens.prequant.any(-1).nonzero()[:, 1].unique().tolist() == [2]


def test_picture_and_camera_reach_codes_and_reconstruction() -> None:
    net = make(condition="image", views=2)
    velocity, _ = paddles(2)
    velocity[:, :, 5] = 0.02
    image = torch.rand(2, 3, 64, 64, generator=torch.manual_seed(0))
    first, second = (net.context(velocity, x, None) for x in (image, 1 - image))
    view = net.context(velocity, image, torch.ones(2).long())
    codes = net.quantize(velocity, first)
    for other in (second, view):
        assert (net.quantize(velocity, other).prequant != codes.prequant).any()
        made = [net.decode(codes.quantized, context).moving for context in (first, other)]
        assert not torch.equal(*made)
    with pytest.raises(ValueError, match=r"data\.images"):
        net(velocity)


def test_windows_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(16, 100, 2\).*model\.points"):
        make()(torch.zeros(1, 16, 100, 2))
    with pytest.raises(ValueError, match="code_length 5"):
        MotionTokenizer(code_length=5)


def test_every_parameter_gets_a_gradient() -> None:
    net = make(condition="image", views=2).train()
    velocity, _ = paddles(4)
    context = net.context(velocity, torch.rand(4, 3, 64, 64), torch.tensor([0, 1, 0, 1]))
    made = net.decode(net.quantize(velocity, context).quantized, context)
    loss = motion_loss(made, velocity, velocity[..., 0] == velocity[..., 0])
    (loss.recon + loss.classes).mean().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_overfit_tokenizer_tells_directions_apart_and_gives_the_motion_back() -> None:
    torch.manual_seed(0)
    net = MotionTokenizer(points=25, hidden_dim=32, depth=1, heads=2)
    velocity, way = paddles(32, side=5)
    visible = torch.ones(velocity.shape[:3], dtype=torch.bool)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for _ in range(400):
        context = net.context(velocity, None, None)
        made = net.decode(net.quantize(velocity, context).quantized, context)
        loss = motion_loss(made, velocity, visible)
        optimizer.zero_grad()
        (loss.recon + loss.classes).mean().backward()
        optimizer.step()
        schedule.step()
    out = net.eval()(velocity)
    moving = velocity.any(-1)
    error = (out.x_recon - velocity)[moving].square().mean() / velocity[moving].square().mean()
    assert error < 0.1
    codes, moved = out.codebook_indices, net.moving_tokens(velocity)
    assert usage(count_codes(codes, moved, 240)[1])["perplexity"] > 9  # of 18: place, way, speed
    assert adjusted_mutual_info_score(way[moved], codes[moved]) > 0.2
    left, right = (set(codes[moved & (way == side)].tolist()) for side in (-1, 1))
    assert len(left & right) <= 0.1 * len(left | right)
