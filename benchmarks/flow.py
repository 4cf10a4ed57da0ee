"""Preset `mario` against `reference` and against a 3-D U-Net from PyPI: work, time and memory.

Operations are counted without computing (a multiply-add is 2). All contenders of a comparison take
turns in one run, and a ratio is the median over the rounds. Times are CPU time of one thread by
default, so other work on the machine does not count. The peer is `video-diffusion-pytorch`'s
`Unet3D` with as many parameters; where it is not installed its rows are missing.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import multiprocessing
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import torch
import yaml
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import configs
from benchmarks.obgd import medians, paired, ratio
from lit_modules import LitFlowVideo
from lit_modules.flow.solver import integrate

PEER = "video-diffusion-pytorch"
Shape = tuple[int, int, int]  # frames, height, width
FULL, LONG, SHORT, SMALL = (16, 240, 256), (60, 240, 256), (4, 240, 256), (16, 64, 64)


def main(argv: list[str]) -> dict[str, Any]:
    """Returns parameters, operations, seconds and memory of each contender, and ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks flow", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds of each comparison")
    parser.add_argument("--threads", type=int, default=1, help="the CPU time of all is counted")
    parser.add_argument("--steps", type=int, default=2, help="Euler steps of sampling")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    work = {
        label(shape): {name: round(tera_operations(name, shape), 4) for name in contenders(shape)}
        for shape in (FULL, LONG, SHORT, SMALL)
    }
    figures: dict[str, Any] = {
        "parameters": {
            name: sum(p.numel() for p in build(name, SMALL).parameters())
            for name in ("mario", *contenders(SHORT)[1:], *contenders(SMALL)[1:])
        },
        "forward_tflop": work,
        "times_less_work_than_reference": round(
            work[label(FULL)]["reference"] / work[label(FULL)]["mario"], 2
        ),
        "threads": options.threads,
    }
    for shape in (SHORT, SMALL):
        names = contenders(shape)
        figures[label(shape)] = {
            "peak_memory_mib": {name: in_new_process(peak_memory, name, shape) for name in names},
            "forward_backward": compare(forward_backward, names, shape, options.rounds),
            "sampling": {"steps": options.steps}
            | compare(sampling(options.steps), names, shape, options.rounds),
        }
    return figures


def compare(
    task: Callable[[nn.Module, Shape], Callable[[], None]],
    names: Iterable[str],
    shape: Shape,
    rounds: int,
) -> dict[str, Any]:
    """CPU seconds of a task for one clip, and how many times faster `mario` is than each."""
    times = paired({name: task(build(name, shape), shape) for name in names}, rounds, 1, warm_up=1)
    gc.collect()  # gigabytes of gradients, before the next networks are made
    return {
        "seconds": {name: round(ms / 1e3, 4) for name, ms in medians(times).items()},
        "times_faster_than": {n: ratio(times, n, "mario") for n in times if n != "mario"},
    }


def label(shape: Shape) -> str:
    """Frames by height by width."""
    return "x".join(map(str, shape))


def contenders(shape: Shape) -> list[str]:
    """Who is compared at this size: pictures of full size are beyond the peer."""
    if shape != SMALL:
        return ["mario", "reference"]
    return ["mario", PEER] if importlib.util.find_spec("video_diffusion_pytorch") else ["mario"]


def build(name: str, shape: Shape) -> nn.Module:
    """The network of a preset, or the peer."""
    return peer() if name == PEER else preset(name, shape).net


def preset(name: str, shape: Shape) -> LitFlowVideo:
    """The module of `configs/flow/<name>.yaml` for clips of this shape."""
    text = Path(*configs.__path__, "flow", f"{name}.yaml").read_text()
    arguments = yaml.safe_load(text)["model"]["init_args"]
    for elsewhere in ("optimizer", "lr_scheduler"):
        arguments.pop(elsewhere, None)
    arguments |= {"clip_length": shape[0], "size": shape[1:], "known_frames": 0}
    return LitFlowVideo(**arguments)


def peer() -> nn.Module:
    """The peer's network, 21M parameters: the nearest below ours (the next one has 27M).

    Its trainer reads pictures by torchvision, of which the network needs nothing.
    """
    stubs = {f"torchvision{part}": MagicMock() for part in ("", ".transforms", ".utils")}
    with patch.dict(sys.modules, stubs):
        package = importlib.import_module("video_diffusion_pytorch")
    net: nn.Module = package.Unet3D(dim=48)
    return net


def inputs(net: nn.Module, shape: Shape) -> tuple[Tensor, Tensor]:
    """One clip, with the channels of known frames where the network takes them, and its time."""
    return torch.randn(1, 3 if is_peer(net) else 7, *shape), torch.full((1,), 0.5)


def is_peer(net: nn.Module) -> bool:
    """Whether this is the peer, which takes three channels."""
    return type(net).__name__ == "Unet3D"


def tera_operations(name: str, shape: Shape) -> float:
    """Operations of a forward pass over one clip, in units of 10^12."""
    device = "cpu" if name == PEER else "meta"  # the peer looks at values on its way
    with torch.device(device), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net = build(name, shape)
        net(*inputs(net, shape))
    return float(counter.get_total_flops()) / 1e12


def forward_backward(net: nn.Module, shape: Shape) -> Callable[[], None]:
    """Forward pass over one clip and gradients of all parameters."""
    clips, time = inputs(net, shape)

    def step() -> None:
        net.zero_grad()
        net(clips, time).square().mean().backward()

    return step


def sampling(steps: int) -> Callable[[nn.Module, Shape], Callable[[], None]]:
    """One clip from noise, by steps of Euler."""

    def task(net: nn.Module, shape: Shape) -> Callable[[], None]:
        clips, _ = inputs(net, shape)
        noise, known = clips[:, :3], clips[:, 3:]
        times = torch.linspace(1, 0, steps + 1)

        @torch.no_grad()
        def sample() -> None:
            integrate(lambda x, t: net(torch.cat([x, known], 1), t.expand(1)), noise, times)

        return sample

    return task


def in_new_process(measure: Callable[[str, Shape], float], name: str, shape: Shape) -> float:
    """What `measure` finds where nothing else was done before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (name, shape))


def peak_memory(name: str, shape: Shape) -> float:
    """MiB that the network with its gradients and a forward and backward pass add (Linux only)."""
    torch.set_num_threads(1)
    before = resident("VmRSS")
    forward_backward(build(name, shape), shape)()
    return round(resident("VmHWM") - before, 1)


def resident(kind: str) -> float:
    """MiB of this process in memory: now (`VmRSS`) or at most so far (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024
