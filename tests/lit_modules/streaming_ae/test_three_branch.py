import pytest
import torch
from torch import Tensor

from lit_modules.streaming_ae.obgd import ObGD
from lit_modules.streaming_ae.three_branch import ThreeBranchAutoencoder


def net(**arguments) -> ThreeBranchAutoencoder:
    torch.manual_seed(0)
    return ThreeBranchAutoencoder(**arguments)


def test_sizes_are_those_of_the_specification() -> None:
    autoencoder = net()
    frame = torch.rand(1, 3, 224, 224)
    reconstruction, codes = autoencoder(frame)
    assert [tuple(code.shape[1:]) for code in codes] == [(3, 27, 27), (2, 25, 25), (2, 23, 23)]
    assert sum(code.numel() for code in codes) == autoencoder.code_floats == 4495
    assert sum(p.numel() for p in autoencoder.parameters()) == 44305
    maps = autoencoder.feature_maps(frame)
    shapes = {name: tuple(value.shape[1:]) for name, value in maps.items()}
    assert shapes == {
        "encoder/small": (3, 27, 27),
        "encoder/medium": (2, 25, 25),
        "encoder/large": (2, 23, 23),
        "decoder/small": (3, 223, 223),
        "decoder/medium": (3, 221, 221),
        "decoder/large": (3, 219, 219),
    }
    assert reconstruction.shape == frame.shape
    assert 0 < reconstruction.min() < reconstruction.max() < 1


@pytest.mark.parametrize("size", [(43, 43), (44, 97), (240, 256)])
@pytest.mark.parametrize("blocks", [{}, {"residual_blocks": 1, "transformer_blocks": 1}])
def test_any_size_large_enough_fits(size: tuple[int, int], blocks: dict[str, int]) -> None:
    autoencoder = net(size=size, latent_channels=4, **blocks)
    frame = torch.rand(2, 3, *size)
    reconstruction, codes = autoencoder(frame)
    assert reconstruction.shape == frame.shape
    assert sum(code[0].numel() for code in codes) == autoencoder.code_floats
    torch.testing.assert_close(autoencoder.decode(autoencoder.encode(frame)), reconstruction)


@pytest.mark.parametrize(("size", "named"), [((42, 224), "height 42"), ((224, 30), "width 30")])
def test_too_small_a_frame_is_refused_by_name(size: tuple[int, int], named: str) -> None:
    with pytest.raises(ValueError, match=rf"frame {named} must be at least 43; set data.size"):
        net(size=size)


def test_streams_of_a_batch_do_not_meet() -> None:
    autoencoder = net(size=(48, 48), residual_blocks=1, transformer_blocks=1)
    frames = torch.rand(3, 3, 48, 48)
    together = autoencoder(frames)[0]
    apart = torch.cat([autoencoder(frame[None])[0] for frame in frames])
    torch.testing.assert_close(together, apart)


def test_each_layer_is_normalised_over_the_whole_sample() -> None:
    autoencoder = net(size=(64, 64))
    outputs: list[Tensor] = []
    for layer in autoencoder.modules():
        if isinstance(layer, torch.nn.GroupNorm):
            layer.register_forward_hook(lambda *_: outputs.append(_[-1]))
    autoencoder(torch.rand(1, 3, 64, 64))
    assert len(outputs) == 3 * (3 + 3) + 1
    for output in outputs:
        assert output.mean().abs() < 1e-4
        assert (output.square().mean() - 1).abs() < 0.1  # short of 1 where ε counts


@pytest.mark.parametrize("blocks", [0, 1])
def test_every_parameter_gets_a_gradient(blocks: int) -> None:
    autoencoder = net(
        size=(64, 64), residual_blocks=blocks, transformer_blocks=blocks, sparsity=0.0
    )
    for block in autoencoder.modules():  # their last layers start at zero and let nothing through
        for p in block.parameters(recurse=False):
            if not p.any():
                torch.nn.init.normal_(p, std=0.1)
    frame = torch.rand(1, 3, 64, 64)
    (autoencoder(frame)[0] - frame).square().mean().backward()
    idle = {name for name, p in autoencoder.named_parameters() if not p.grad.any()}
    assert not idle


def test_a_still_picture_is_learnt_online() -> None:
    autoencoder = net(size=(64, 64))
    optimizer = ObGD(autoencoder.parameters())
    frame = torch.zeros(1, 3, 64, 64)
    frame[:, 0, 16:40, 8:48] = 1
    losses: list[Tensor] = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (autoencoder(frame)[0] - frame).square().mean()
        error = (2 * loss).sqrt()
        error.backward()
        optimizer.step(error.detach())
        losses.append(loss.detach())
    assert losses[-1] < 0.5 * losses[0]
