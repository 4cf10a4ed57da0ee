"""Flow matching on a GPU: noise of a sample, bytes of a seed, and what bf16 costs."""

import pytest
import torch

from lit_modules import LitFlowVideo
from lit_modules.layers.noise import SampleNoise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def module() -> LitFlowVideo:
    torch.manual_seed(0)
    module = LitFlowVideo(size=(32, 32), clip_length=8, widths=(64, 128), depths=(1, 1))
    for parameter in module.net.parameters():
        if not parameter.any():  # what starts at zero hides the rest
            torch.nn.init.normal_(parameter, std=0.02)
    return module.cuda().eval()


def test_a_sample_draws_the_same_in_any_batch_on_the_gpu() -> None:
    noise = SampleNoise(seed=7)
    whole = noise.normal(noise.generators(range(8), "cuda"), (3, 5, 64, 64))
    part = noise.normal(noise.generators(torch.tensor([6, 1], device="cuda")), (3, 5, 64, 64))
    assert torch.equal(part, whole[[6, 1]])


def test_same_seed_gives_the_same_bytes_on_the_gpu() -> None:
    net = module()
    first, second = (net.sample(2, seed=3, steps=3).video for _ in range(2))
    assert torch.equal(first, second)


def test_sampling_in_bf16_stays_near_float32() -> None:
    net = module()
    exact = net.sample(1, seed=0, steps=4, solver="euler").video
    with torch.autocast("cuda", torch.bfloat16):
        rounded = net.sample(1, seed=0, steps=4, solver="euler").video
    assert (rounded - exact).square().mean().sqrt() < 0.05 * exact.std()


def test_compiled_network_agrees_with_eager() -> None:
    net = module()
    exact = net.sample(1, seed=0, steps=2).video
    net.net.compile()
    torch.testing.assert_close(net.sample(1, seed=0, steps=2).video, exact, rtol=1e-2, atol=1e-2)
