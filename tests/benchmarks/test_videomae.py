"""The peer of HST-MAE: as large, shown the same, its pixels in the right places."""

import pytest
import torch
from torch import Tensor

from benchmarks.mae import PEERS, preset
from benchmarks.videomae import VideoMAE, tokens_of
from lit_modules.mae import MaskedAutoencoder
from lit_modules.mae.masking import hidden_pixels

pytest.importorskip("transformers")
SIDE = 16  # of a mask unit, in pixels


def small() -> MaskedAutoencoder:
    torch.manual_seed(0)
    return MaskedAutoencoder((8, 8, 64, 8), (1, 1, 1, 1), 64, 1, 2, 4, (48, 32))


def peer() -> VideoMAE:
    torch.manual_seed(0)
    return VideoMAE(small()).eval()


def clips() -> tuple[Tensor, Tensor, Tensor]:
    """Two clips, their hidden units and pixels."""
    generator = torch.Generator().manual_seed(1)
    video = torch.rand(2, 3, 4, 48, 32, generator=generator) * 2 - 1
    hidden = torch.zeros(2, 12, dtype=torch.bool)
    for row in hidden:
        row[torch.randperm(12, generator=generator)[:7]] = True
    hidden = hidden.view(2, 2, 3, 2)
    return video, hidden, hidden_pixels(hidden, SIDE, video.shape)[:, None].expand_as(video)


def test_the_peer_has_our_number_of_parameters_within_a_tenth() -> None:
    ours = preset("tiny").net
    count = sum(p.numel() for p in ours.parameters())
    for split in PEERS.values():
        theirs = sum(p.numel() for p in VideoMAE(ours, split).parameters())
        assert theirs == pytest.approx(count, rel=0.1)


def test_the_peer_sees_what_we_see_and_nothing_else() -> None:
    net, (video, hidden, pixels) = peer(), clips()
    with torch.no_grad():
        made = net(video, hidden)
        assert torch.equal(net(torch.where(pixels, torch.rand_like(video), video), hidden), made)
        # Each unit that is visible is seen: another there, another answer.
        for place in (~hidden[0]).nonzero():
            changed = video.clone()
            t, y, x = (place * torch.tensor([2, SIDE, SIDE])).tolist()
            changed[0, :, t : t + 2, y : y + SIDE, x : x + SIDE] *= -1
            assert not torch.equal(net(changed, hidden)[0], made[0])


def test_what_is_predicted_lands_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that answers as its own library orders the truth restores the truth."""
    net, (video, hidden, pixels) = peer(), clips()
    seen = torch.where(pixels, 0.5, video)

    def truth(_video: Tensor, _hidden: Tensor) -> Tensor:
        # As in `VideoMAEForPreTraining.forward`: (b, t, c, h, w) -> (b, T, H, W, 2, s, s, c)
        frames = video.transpose(1, 2).reshape(2, 2, 2, 3, 6, 8, 4, 8)
        tokens = frames.permute(0, 1, 4, 6, 2, 5, 7, 3).reshape(2, 2 * 6 * 4, -1)
        return tokens[tokens_of(hidden)].view(2, -1, tokens.shape[-1])

    monkeypatch.setattr(net, "forward", truth)
    assert torch.equal(net.restore(seen, hidden), video)
    assert net.loss(video, hidden) == 0


def test_the_loss_is_the_library_s_own_but_for_the_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library scales its input by ImageNet's colours to get the truth; ours is the input."""
    net, (video, hidden, _) = peer(), clips()
    mean, std = (
        torch.tensor(values).view(3, 1, 1, 1)
        for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    with torch.no_grad():
        given = {"pixel_values": video.transpose(1, 2), "bool_masked_pos": tokens_of(hidden)}
        theirs = net.net(**given).loss
        made = net(video, hidden)
    monkeypatch.setattr(net, "forward", lambda video, hidden: made)
    torch.testing.assert_close(net.loss(video * std + mean, hidden), theirs)
