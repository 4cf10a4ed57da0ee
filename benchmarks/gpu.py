"""Updates per second of preset `atari` on a GPU: eager, compiled, captured; 1 and 64 streams.

One update is forward, loss, backward, Muon and running mean for one frame of each stream, from
frames that already lie on the device, so the figure is the learner's alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import mse_loss

from lit_modules.layers.muon import Muon
from lit_modules.streaming_ae.pixel_shuffle import PixelShuffleAutoencoder

WARM_UP = 20
Update = Callable[[torch.Tensor], torch.Tensor]


def main(argv: list[str]) -> dict[str, Any]:
    """Measures every variant in one run; needs a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--updates", type=int, default=1000, help="timed updates of each variant")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 64])
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        raise ValueError("this benchmark needs a GPU and there is none; run it where there is one")
    torch.set_float32_matmul_precision("high")
    figures: dict[str, Any] = {}
    for streams in options.streams:
        for precision in ("float32", "bfloat16"):
            for mode in ("eager", "compile", "graph"):
                torch.manual_seed(0)
                learner = Learner(streams, precision, compile=mode == "compile")
                update: Update = learner.update
                if mode == "graph":
                    update = captured(update, streams)
                rate = updates_per_second(update, streams, options.updates)
                figures[f"{mode}_{precision}_{streams}_streams"] = {
                    "updates_per_second": rate,
                    "frames_per_second": rate * streams,
                }
        eager = figures[f"eager_float32_{streams}_streams"]["updates_per_second"]
        for figure in figures.values():
            if "ratio_to_eager" not in figure:
                figure["ratio_to_eager"] = figure["updates_per_second"] / eager
    return figures


class Learner:
    """Network, optimizer and running mean whose update neither allocates by shape nor syncs."""

    def __init__(self, streams: int, precision: str, compile: bool) -> None:
        self.net = PixelShuffleAutoencoder().cuda()
        if compile:
            self.net.compile()
        self.optimizer = Muon(self.net.parameters())
        self.dtype = getattr(torch, precision)
        self.mean = torch.zeros(streams, 3, 224, 224, device="cuda")

    def update(self, frame: torch.Tensor) -> torch.Tensor:
        """Learns from `frame` `(streams, 3, 224, 224)` in [0, 1]; returns its loss."""
        with torch.autocast("cuda", self.dtype, enabled=self.dtype != torch.float32):
            correction, _ = self.net(frame - self.mean)
        loss = mse_loss(self.mean + correction, frame)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        self.mean.lerp_(frame, 1 / 200)
        return loss.detach()


def captured(update: Update, streams: int) -> Update:
    """The same update replayed from a CUDA graph."""
    static = torch.zeros(streams, 3, 224, 224, device="cuda")
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            update(static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = update(static)

    def replay(frame: torch.Tensor) -> torch.Tensor:
        static.copy_(frame)
        graph.replay()
        return loss

    return replay


def updates_per_second(update: Update, streams: int, updates: int) -> float:
    """Updates a second over frames that differ from one to the next."""
    frames = torch.rand(16, streams, 3, 224, 224, device="cuda")
    for index in range(WARM_UP):
        update(frames[index % 16])
    torch.cuda.synchronize()
    start = time.perf_counter()
    for index in range(updates):
        update(frames[index % 16])
    torch.cuda.synchronize()
    return updates / (time.perf_counter() - start)
