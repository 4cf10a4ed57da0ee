import pytest
import torch
from torch import Tensor

from lit_modules.streaming_ae.pixel_shuffle import PixelShuffleAutoencoder


def _net(**arguments) -> PixelShuffleAutoencoder:
    torch.manual_seed(0)
    return PixelShuffleAutoencoder(**{"size": (32, 48), "width": 8, **arguments})


def _trained(net: PixelShuffleAutoencoder) -> PixelShuffleAutoencoder:
    """Fill every weight, as training would: the last layers start at zero."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.1)
    return net


def _frames(height: int = 32, width: int = 48) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_the_code_of_the_default_network_is_within_the_budget():
    net = PixelShuffleAutoencoder()
    (code,) = net.encode(torch.rand(1, 3, 224, 224))
    assert code[0].numel() == net.code_floats <= 4495


@pytest.mark.parametrize("latent_channels", [1, 5])
def test_code_floats_counts_the_code_of_one_frame(latent_channels):
    net = _net(latent_channels=latent_channels)
    codes = net.encode(_frames())
    assert sum(code[0].numel() for code in codes) == net.code_floats == latent_channels * 4 * 6


def test_an_untrained_network_reconstructs_zero_and_can_learn():
    net = _net()
    reconstruction, _ = net(_frames())
    assert reconstruction.shape == (2, 3, 32, 48)
    assert reconstruction.abs().sum() == 0
    (reconstruction - _frames()).square().mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.decoder_linear.parameters())


def test_the_reconstruction_depends_on_the_code_alone():
    net = _trained(_net())
    reconstruction, codes = net(_frames())
    assert torch.equal(net.decode(codes), reconstruction)
    assert torch.equal(codes[0], net.encode(_frames())[0])


def test_the_code_stays_bounded_whatever_the_frame():
    net = _trained(_net())
    (code,) = net.encode(1000 * _frames())
    assert code.abs().max() <= 1
    assert net.encode(_frames())[0].std() > 0.01


def test_frames_of_a_batch_do_not_mix():
    net = _trained(_net(residual_blocks=1, transformer_blocks=1))
    torch.testing.assert_close(net(_frames())[0][:1], net(_frames()[:1])[0])


def test_an_untrained_network_with_a_background_reconstructs_it():
    net = _net(background=True)
    background = _frames() / 2
    assert torch.equal(net(_frames(), background)[0], background)
    (net(_frames(), background)[0] - _frames()).square().mean().backward()
    gradient = net.decoder_linear.bias.grad.view(4, 64)
    assert all(channel.abs().sum() > 0 for channel in gradient)


def test_full_cover_hides_the_background():
    net = _trained(_net(background=True))
    with torch.no_grad():
        for layer in (net.decoder[-1], net.decoder_linear):
            layer.weight.view(4, 64, -1)[3] = 0
            layer.bias.view(4, 64)[3] = 0.5  # the two paths add up to a cover of 1
    codes = net.encode(_frames(), _frames().flip(0))
    hidden = net.decode(codes, torch.zeros(2, 3, 32, 48))
    torch.testing.assert_close(net.decode(codes, _frames()), hidden)


def test_a_pixel_returns_to_its_place():
    """A change in one corner changes the reconstruction there, and nothing far from it."""
    net = _trained(_net(size=(128, 128)))
    frames, changed = _frames(128, 128), _frames(128, 128)
    changed[:, :, :8, :8] += 1
    difference = (net(changed)[0] - net(frames)[0]).abs()
    assert difference[:, :, :8, :8].max() > 1e-3
    assert difference[:, :, 64:, 64:].max() == 0


def test_optional_blocks_start_as_the_identity():
    plain, hybrid = _net(), _net(residual_blocks=1, transformer_blocks=1)
    names = [name for name, _ in hybrid.named_parameters() if "project" in name]
    assert len(names) == 6
    hybrid.encoder[0], hybrid.encoder[2] = plain.encoder[0], plain.encoder[2]
    hybrid.encoder[-1], hybrid.encoder_linear = plain.encoder[-1], plain.encoder_linear
    assert torch.equal(hybrid.encode(_frames())[0], plain.encode(_frames())[0])


def test_every_parameter_learns():
    net = _trained(_net(residual_blocks=1, transformer_blocks=1, background=True))
    net(_frames(), _frames().flip(0))[0].square().mean().backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_feature_maps_show_both_sides_on_the_code_grid():
    net = _net()
    maps = net.feature_maps(_frames())
    assert {name.split("/")[0] for name in maps} == {"encoder", "decoder"}
    assert {tuple(feature.shape[-2:]) for feature in maps.values()} == {(4, 6)}
    assert torch.equal(maps["encoder/code"], net.encode(_frames())[0])


@pytest.mark.parametrize(
    ("size", "message"),
    [((230, 224), "frame height 230 .* set data.size"), ((224, 0), "frame width 0 .* data.size")],
)
def test_a_size_that_does_not_fit_is_named_with_its_remedy(size, message):
    with pytest.raises(ValueError, match=message):
        PixelShuffleAutoencoder(size)
