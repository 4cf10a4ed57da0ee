"""HST-MAE on a GPU: the same masks as on a CPU, and what bf16 and compiling cost."""

import pytest
import torch
from torch import Tensor

from lit_modules import LitMaskedAutoencoder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def module(device: str = "cuda") -> LitMaskedAutoencoder:
    torch.manual_seed(0)
    sizes = {"dims": (64, 64, 128, 128), "depths": (1, 1, 1, 1), "decoder_dim": 128}
    module = LitMaskedAutoencoder(**sizes, patch=2, size=(64, 64), clip_length=8, state_dim=3)
    for parameter in module.net.parameters():  # far from the small start, so that everything acts
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return module.to(device).eval()


def given(net: LitMaskedAutoencoder) -> tuple[Tensor, Tensor, Tensor]:
    """Clips, their masks and state."""
    generator = torch.Generator().manual_seed(1)
    video = torch.rand(2, 3, 8, 64, 64, generator=generator) - 0.5
    state = torch.rand(2, 8, 3, generator=generator)
    video, state = video.to(net.device), state.to(net.device)
    return video, net.masks(range(2), video, "tube", 0.75), state


def test_masks_on_the_gpu_are_those_of_the_cpu() -> None:
    gpu, cpu = module(), module("cpu")
    assert torch.equal(given(gpu)[1].cpu(), given(cpu)[1])


def test_hidden_pixels_change_no_bit_on_the_gpu() -> None:
    net = module()
    video, hidden, state = given(net)
    restored = net.restore(video, hidden, state)
    again = net.restore(torch.where(restored == video, video, -video), hidden, state)
    assert torch.equal(again, restored)


def test_restoring_in_bf16_stays_near_float32() -> None:
    net = module()
    exact = net.restore(*given(net))
    with torch.autocast("cuda", torch.bfloat16):
        rounded = net.restore(*given(net))
    assert (rounded.float() - exact).square().mean().sqrt() < 0.05 * exact.std()


def test_compiled_network_agrees_with_eager() -> None:
    net = module()
    exact = net.restore(*given(net))
    net.net.compile()
    torch.testing.assert_close(net.restore(*given(net)), exact, rtol=1e-2, atol=1e-2)
