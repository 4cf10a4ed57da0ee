"""The fast network: shapes, and what each part may see."""

import pytest
import torch

from lit_modules.flow.factorized_unet import FactorizedVideoUNet, TimeConvolution


def small(**more) -> FactorizedVideoUNet:
    """A network whose zero-initialised layers have weights, so that everything acts."""
    torch.manual_seed(0)
    net = FactorizedVideoUNet(widths=[16, 32], depths=[1, 1], time_dim=16, **more)
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return net


@pytest.mark.parametrize("size", [(16, 16), (12, 20), (60, 64), (4, 4)])
def test_every_size_that_divides_by_the_stem_fits(size: tuple[int, int]) -> None:
    x = torch.randn(2, 7, 3, *size)
    assert small()(x, torch.rand(2)).shape == (2, 3, 3, *size)


def test_size_that_does_not_divide_names_value_and_remedy() -> None:
    with pytest.raises(ValueError, match=r"height 18 must divide by 4; set data\.size"):
        small()(torch.zeros(1, 7, 2, 18, 16), torch.zeros(1))


def test_untrained_network_predicts_nothing() -> None:
    net = FactorizedVideoUNet(widths=[16, 32], depths=[1, 1], time_dim=16)
    assert not net(torch.randn(1, 7, 2, 8, 8), torch.rand(1)).any()


def test_clips_of_a_batch_do_not_see_each_other() -> None:
    net, x, t = small(), torch.randn(2, 7, 4, 16, 16), torch.rand(2)
    other = torch.cat([x[:1], torch.randn_like(x[:1])])
    torch.testing.assert_close(net(x, t)[0], net(other, t)[0])


def test_far_frames_are_seen_by_attention_over_time() -> None:
    x, t = torch.randn(1, 7, 12, 8, 8), torch.rand(1)
    changed = x.clone()
    changed[:, :, -1] += 1
    for levels, reaches in ((0, False), (1, True)):
        net = small(attention_levels=levels)
        difference = (net(changed, t) - net(x, t))[:, :, 0].abs().max()
        assert (difference > 1e-6) == reaches


def test_condition_of_a_frame_reaches_it() -> None:
    net, x, t = small(attention_levels=0), torch.randn(1, 7, 12, 8, 8), torch.rand(1)
    condition = torch.zeros(1, 12, 16)
    condition[:, 5] = 1
    change = (net(x, t, condition) - net(x, t, 0 * condition)).abs().amax((0, 1, 3, 4))
    assert change[5] > 1e-3
    assert change[0] == 0


def test_time_convolution_is_a_convolution_over_time() -> None:
    layer = TimeConvolution(5)
    x = torch.randn(2, 6, 5, 3, 4)  # (b, t, c, h, w)
    # (out, 3 * in) -> (out, in, 3, 1, 1)
    kernel = layer.mix.weight.unflatten(1, (3, 5)).permute(0, 2, 1)[..., None, None]
    expected = torch.nn.functional.conv3d(
        x.transpose(1, 2), kernel, layer.mix.bias, padding=(1, 0, 0)
    )
    folded = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    got = layer(folded, 6).unflatten(0, (2, 6)).transpose(1, 2)
    torch.testing.assert_close(got, expected)
