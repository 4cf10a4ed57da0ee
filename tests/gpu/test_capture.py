"""On a GPU: an update captured in a CUDA graph equals the same update launched eagerly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from lit_modules.layers.muon import Muon
from lit_modules.streaming_ae.obgd import AdaptiveObGD, ObGD

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def make_update(optimizer_class: type, net: nn.Module) -> Callable[[torch.Tensor], None]:
    optimizer = optimizer_class(net.parameters())

    def update(x: torch.Tensor) -> None:
        error = (2 * (net(x) - x).square().mean()).sqrt()
        error.backward()
        if optimizer_class is Muon:
            optimizer.step()
        else:
            optimizer.step(error.detach())
        optimizer.zero_grad(set_to_none=False)

    return update


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 3, 3, padding=1))
    return layers.cuda()


@pytest.mark.parametrize("optimizer_class", [ObGD, AdaptiveObGD, Muon])
def test_captured_step_equals_eager_step(optimizer_class: type) -> None:
    frames = torch.rand(8, 1, 3, 16, 16, device="cuda")
    eager_net, graph_net = network(), network()
    eager, update = make_update(optimizer_class, eager_net), make_update(optimizer_class, graph_net)
    static = frames[0].clone()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for frame in frames[:3]:
            static.copy_(frame)
            update(static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        update(static)  # recorded, not run
    for frame in frames[3:]:
        static.copy_(frame)
        graph.replay()
    for frame in frames:
        eager(frame)
    for one, other in zip(eager_net.parameters(), graph_net.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
