"""Our ObGD step against a loop over parameters and fused Adam, and the whole step of a frame.

All contenders of a comparison take turns in one run, and a ratio is the median over the rounds.
Times are CPU time of one thread by default, so other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from lit_modules.streaming_ae.change import ChangeDetector
from lit_modules.streaming_ae.losses import C1, C2, TAPS, StreamingLoss
from lit_modules.streaming_ae.obgd import AdaptiveObGD, ObGD
from lit_modules.streaming_ae.three_branch import ThreeBranchAutoencoder


def main(argv: list[str]) -> dict[str, Any]:
    """Returns milliseconds of each contender and the ratios between them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks obgd", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="rounds of the steps alone")
    parser.add_argument("--repeats", type=int, default=20, help="steps in a row in each round")
    parser.add_argument(
        "--frames", type=int, default=30, help="rounds of the whole step of a frame"
    )
    parser.add_argument("--threads", type=int, default=1, help="the CPU time of all is counted")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    steps = paired(make_steps(), options.rounds, options.repeats)
    frames = paired(make_frames(), options.frames, 1)
    parameters = list(ThreeBranchAutoencoder().parameters())
    return {
        "parameters": sum(p.numel() for p in parameters),
        "parameter_tensors": len(parameters),
        "threads": options.threads,
        "step_ms": medians(steps),
        "step_times_faster": {
            "ObGD than its loop": ratio(steps, "loop ObGD", "ObGD"),
            "AdaptiveObGD than its loop": ratio(steps, "loop AdaptiveObGD", "AdaptiveObGD"),
            "ObGD than fused Adam": ratio(steps, "fused Adam", "ObGD"),
            "AdaptiveObGD than fused Adam": ratio(steps, "fused Adam", "AdaptiveObGD"),
        },
        "frame_ms": medians(frames),
        "frame_times_faster": ratio(frames, "average-pooled SSIM, loop ObGD", "ours"),
    }


def paired(
    contenders: dict[str, Callable[[], None]], rounds: int, repeats: int, warm_up: int = 2
) -> dict[str, list[float]]:
    """CPU milliseconds a call of each contender in each round, after some rounds to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(warm_up + rounds):
        for name, call in contenders.items():
            start = time.process_time()
            for _ in range(repeats):
                call()
            times[name].append((time.process_time() - start) / repeats * 1e3)
    return {name: values[warm_up:] for name, values in times.items()}


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    """Median of each contender's times."""
    return {name: round(statistics.median(values), 4) for name, values in times.items()}


def ratio(times: dict[str, list[float]], slow: str, fast: str) -> float:
    """Median over the rounds of the time of `slow` over that of `fast`."""
    pairs = zip(times[slow], times[fast], strict=True)
    return round(statistics.median(s / f for s, f in pairs), 2)


def make_steps() -> dict[str, Callable[[], None]]:
    """Optimizers' steps alone, each on a three-branch network of its own that holds gradients."""
    error = torch.tensor(0.3)
    number = error.item()
    optimizers: dict[str, Callable[[list[Tensor]], Optimizer]] = {
        "ObGD": ObGD,
        "loop ObGD": LoopObGD,
        "AdaptiveObGD": AdaptiveObGD,
        "loop AdaptiveObGD": LoopAdaptiveObGD,
        "fused Adam": lambda parameters: torch.optim.Adam(parameters, lr=1.0e-4, fused=True),
    }
    steps: dict[str, Callable[[], None]] = {}
    for name, make in optimizers.items():
        parameters: list[Tensor] = list(ThreeBranchAutoencoder().parameters())
        step: Any = make(parameters).step
        for p in parameters:
            gradient = 0.01 * torch.randn_like(p)
            p.grad = gradient if p.grad is None else p.grad.copy_(gradient)
        if name == "fused Adam":
            steps[name] = step
        else:
            steps[name] = functools.partial(step, number if "loop" in name else error)
    return steps


def make_frames() -> dict[str, Callable[[], None]]:
    """Whole steps on a frame: forward, loss, backward, update."""
    frame, previous = torch.rand(1, 3, 224, 224), torch.rand(1, 3, 224, 224)
    change = ChangeDetector()(frame, previous, torch.zeros(1))
    contenders: dict[str, tuple[Callable[[list[Tensor]], Optimizer], StreamingLoss]] = {
        "ours": (ObGD, StreamingLoss()),
        "average-pooled SSIM, loop ObGD": (LoopObGD, AveragePooledLoss()),
    }
    frames: dict[str, Callable[[], None]] = {}
    for name, (make, loss) in contenders.items():
        net = ThreeBranchAutoencoder()
        optimizer: Any = make(list(net.parameters()))

        def learn(
            net: ThreeBranchAutoencoder = net, optimizer: Any = optimizer, loss: Any = loss
        ) -> None:
            optimizer.zero_grad()
            error = (2 * loss(net(frame)[0], frame, change).total).sqrt()
            error.backward()
            optimizer.step(error.detach())

        frames[name] = learn
    return frames


class LoopObGD(Optimizer):
    """Algorithm 3 of the paper, parameter by parameter."""

    def __init__(self, params: list[Tensor], lr: float = 1.0, kappa: float = 2.0) -> None:
        super().__init__(params, {"lr": lr, "kappa": kappa, "decay": 0.99 * 0.8})
        for p in params:
            self.state[p] = {"trace": torch.zeros_like(p), "square": torch.zeros_like(p)}

    @torch.no_grad()
    def step(self, delta: float | Tensor, reset: bool = False) -> None:  # type: ignore[override]
        """As `ObGD.step`."""
        delta, group = float(delta), self.param_groups[0]
        length = 0.0
        for p in group["params"]:
            trace = self.state[p]["trace"]
            trace.mul_(group["decay"]).add_(p.grad)
            length += trace.abs().sum().item()
        bound = group["lr"] * group["kappa"] * max(abs(delta), 1.0) * length
        size = group["lr"] / max(bound, 1.0)
        for p in group["params"]:
            trace = self.state[p]["trace"]
            p.sub_(size * delta * trace)
            if reset:
                trace.zero_()


class LoopAdaptiveObGD(LoopObGD):
    """The paper's adaptive variant, parameter by parameter."""

    steps = 0

    @torch.no_grad()
    def step(self, delta: float | Tensor, reset: bool = False) -> None:  # type: ignore[override]
        """As `AdaptiveObGD.step`."""
        delta, group = float(delta), self.param_groups[0]
        length, self.steps = 0.0, self.steps + 1
        correction = 1 - 0.999**self.steps
        for p in group["params"]:
            trace, square = self.state[p]["trace"], self.state[p]["square"]
            trace.mul_(group["decay"]).add_(p.grad)
            square.mul_(0.999).add_(0.001 * (delta * trace).square())
            length += (trace / (square / correction + 1e-8).sqrt()).abs().sum().item()
        bound = group["lr"] * group["kappa"] * max(abs(delta), 1.0) * length
        size = group["lr"] / max(bound, 1.0)
        for p in group["params"]:
            trace, square = self.state[p]["trace"], self.state[p]["square"]
            p.sub_(size * delta * trace / (square / correction + 1e-8).sqrt())
            if reset:
                trace.zero_()


class AveragePooledLoss(StreamingLoss):
    """`StreamingLoss` whose SSIM averages over a square window by pooling."""

    def _errors(self, reconstruction: Tensor, frame: Tensor, reduction: str) -> list[Tensor]:
        x, y = reconstruction, frame
        mean_x, mean_y = pool(x), pool(y)
        variances = pool(x * x) - mean_x * mean_x + pool(y * y) - mean_y * mean_y
        covariance = pool(x * y) - mean_x * mean_y
        likeness = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
        likeness = likeness / ((mean_x * mean_x + mean_y * mean_y + C1) * (variances + C2))
        squared = F.mse_loss(x, y, reduction=reduction)
        return [squared, F.l1_loss(x, y, reduction=reduction), 1 - likeness]


def pool(maps: Tensor) -> Tensor:
    """Mean over each window as large as ours that lies inside the picture."""
    return F.avg_pool2d(maps, TAPS, stride=1)
