"""HST-MAE against VideoMAE of `transformers`: work, time and memory, training and inference.

Both have about the same number of parameters and see the same clips under the same mask.
VideoMAE comes twice: shaped as in its paper (a narrow decoder), and with our widths of encoder and
decoder. Training is forward, loss, backward and AdamW; inference goes from the masked clip to the
restored one. All contenders take turns in one run, and a ratio is the median over the rounds. Times
are CPU time, of one thread by default, so other work on the machine does not count. A multiply-add
is two operations. Where `transformers` is not installed the peer's rows are missing.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import mse_loss
from torch.utils.flop_counter import FlopCounterMode

import configs
from benchmarks.flow import label, resident
from benchmarks.obgd import medians, paired, ratio
from benchmarks.videomae import VideoMAE, clip_shape, installed
from lit_modules import LitMaskedAutoencoder
from lit_modules.layers.noise import SampleNoise
from lit_modules.mae import MaskedAutoencoder
from lit_modules.mae.cubes import grid_of
from lit_modules.mae.masking import RunningCell, TubeMask

OURS, WHOLE = "HST-MAE", "HST-MAE, whole decoder in training"
PEERS = {"VideoMAE": "paper", "VideoMAE, our widths": "ours"}


class Clips(NamedTuple):
    """What a contender is given."""

    video: Tensor  # (b, 3, t, h, w) in [-1, 1]
    hidden: Tensor  # bool (b, T, H, W)
    state: Tensor | None  # (b, t, d)


class Task(NamedTuple):
    """What is measured of a contender."""

    kind: str  # `training` or `inference`
    preset: str
    batch_size: int
    mask_ratio: float


def main(argv: list[str]) -> dict[str, Any]:
    """Returns parameters, operations, clips a second and memory of each contender, and ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks mae", description=__doc__)
    parser.add_argument("--preset", default="tiny", help="of configs/mae")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds of each comparison")
    parser.add_argument("--threads", type=int, default=1, help="the CPU time of all is counted")
    parser.add_argument("--batch_size", type=int, default=4, help="clips of a training step")
    parser.add_argument("--mask_ratio", type=float, default=0.9, help="of tubes, in (0, 1)")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    net = preset(options.preset).net
    tasks = [
        Task("training", options.preset, options.batch_size, options.mask_ratio),
        Task("inference", options.preset, 1, options.mask_ratio),
    ]
    return {
        "preset": options.preset,
        "clip": label(clip_shape(net)),
        "mask_ratio": options.mask_ratio,
        "threads": options.threads,
        "parameters": {name: parameters(build(name, net)) for name in [OURS, *peers()]},
        **{task.kind: compare(task, net, options.rounds, options.threads) for task in tasks},
    }


def compare(task: Task, net: MaskedAutoencoder, rounds: int, threads: int) -> dict[str, Any]:
    """Speed, work and memory of each contender, and how many times faster ours is than each."""
    names = [OURS, WHOLE, *peers()] if task.kind == "training" else [OURS, *peers()]
    given = clips(net, task.batch_size, task.mask_ratio)
    calls = {name: prepare(task.kind, build(name, net), given) for name in names}
    work = {name: giga_operations(call) / task.batch_size for name, call in calls.items()}
    times = paired(calls, rounds, 1, warm_up=1)
    return {
        "batch_size": task.batch_size,
        "clips_per_cpu_second": {
            name: round(task.batch_size * 1e3 / ms, 3) for name, ms in medians(times).items()
        },
        "gflop_a_clip": {name: round(value, 3) for name, value in work.items()},
        "peak_memory_mib": {name: in_new_process(task, name, threads) for name in names},
        "times_faster_than": {name: ratio(times, name, OURS) for name in names if name != OURS},
    }


class Ours(nn.Module):
    """Our network in the words of the peer.

    Args:
        net: the network.
        running_cell: whether training computes but half of the hidden cubes.
    """

    def __init__(self, net: MaskedAutoencoder, running_cell: bool) -> None:
        super().__init__()
        self.net, self.running_cell = net, running_cell
        self.restore = net.restore

    def loss(self, video: Tensor, hidden: Tensor, state: Tensor | None = None) -> Tensor:
        """Mean squared error over the hidden pixels that are computed."""
        computed = None
        if self.running_cell:
            generators = SampleNoise(0).generators(range(len(video)))
            computed = RunningCell()(generators, grid_of(video, self.net.encoder.unit_side))
        made = self.net(video, hidden, computed, state)
        return mse_loss(made.hidden.float(), self.net.pixels(video, made.hidden_cubes))


def peers() -> list[str]:
    """The peers that are installed."""
    return list(PEERS) if installed() else []


def build(name: str, net: MaskedAutoencoder) -> Any:
    """A contender by its name: our network, or a peer of its size."""
    torch.manual_seed(0)
    return VideoMAE(net, PEERS[name]) if name in PEERS else Ours(net, name != WHOLE)


def preset(name: str) -> LitMaskedAutoencoder:
    """The module of `configs/mae/<name>.yaml` with new weights."""
    torch.manual_seed(0)
    return LitMaskedAutoencoder(**arguments_of(name))


def arguments_of(name: str) -> dict[str, Any]:
    """What `configs/mae/<name>.yaml` says of the module."""
    path = Path(*configs.__path__, "mae", f"{name}.yaml")
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.yaml"))
        raise ValueError(f"preset {name} is not in configs/mae; set --preset to one of {known}")
    arguments: dict[str, Any] = yaml.safe_load(path.read_text())["model"]["init_args"]
    return {k: v for k, v in arguments.items() if k not in ("optimizer", "lr_scheduler")}


def clips(net: MaskedAutoencoder, count: int, mask_ratio: float) -> Clips:
    """Noise under tube masks, with a state where the network takes one."""
    torch.manual_seed(0)
    video = torch.rand(count, 3, *clip_shape(net)) * 2 - 1
    generators = SampleNoise(0).generators(range(count))
    hidden = TubeMask()(generators, grid_of(video, net.encoder.unit_side), mask_ratio)
    values = net.state_tokens.state_dim
    return Clips(video, hidden, torch.rand(count, video.shape[2], values) if values else None)


def prepare(kind: str, contender: Any, given: Clips) -> Callable[[], None]:
    """The task as a call: a training step, or clips restored."""
    if kind == "inference":
        contender.eval()

        @torch.inference_mode()
        def restore() -> None:
            contender.restore(*given)

        return restore

    optimizer = torch.optim.AdamW(contender.parameters(), lr=1.0e-4, fused=True)

    def step() -> None:
        contender.loss(*given).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def giga_operations(call: Callable[[], None]) -> float:
    """Operations of a call in units of 10^9, attention taken apart so that it counts."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        call()
    return float(counter.get_total_flops()) / 1e9


def parameters(module: nn.Module) -> int:
    """How many there are."""
    return sum(p.numel() for p in module.parameters())


def in_new_process(task: Task, name: str, threads: int) -> float:
    """`peak_memory` where nothing else was done before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_memory, (task, name, threads))


def peak_memory(task: Task, name: str, threads: int) -> float:
    """MiB that two calls of a task add to the weights at most (Linux only)."""
    torch.set_num_threads(threads)
    net = preset(task.preset).net
    call = prepare(task.kind, build(name, net), clips(net, task.batch_size, task.mask_ratio))
    Path("/proc/self/clear_refs").write_text("5")  # forgets what imports took at most
    before = resident("VmRSS")
    call()
    call()
    return round(resident("VmHWM") - before, 1)
