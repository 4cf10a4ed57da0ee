"""Preset `mario` on a GPU: training and sampling, eager and compiled, in bf16.

A training step is the module's own (noise of each sample, forward, loss, backward) and AdamW, from
clips that already lie on the device; its share of the GPU (MFU) counts three forward passes. A clip
is sampled by Euler's rule, one network evaluation a step.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.flow import Shape, label, preset, tera_operations
from lit_modules import LitFlowVideo

# Dense bf16 TFLOP/s from NVIDIA's data sheets.
PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0, "4090": 165.0}


def main(argv: list[str]) -> dict[str, Any]:
    """Measures every variant in one run; needs a GPU unless told to do without."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks flow_gpu", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="timed steps or clips of a variant")
    parser.add_argument("--frames", type=int, default=16, help="frames of a clip")
    parser.add_argument("--size", type=int, nargs=2, default=[240, 256], help="height and width")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[8, 32], help="of training")
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 2], help="Euler steps")
    parser.add_argument("--modes", nargs="+", default=["eager", "compile"])
    parser.add_argument("--peak_tflops", type=float, help="of the GPU in bf16, where it is unknown")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("this benchmark needs a GPU and there is none; run it where there is one")
    warnings.filterwarnings("ignore", "You are trying to `self.log")  # there is no trainer
    torch.set_float32_matmul_precision("high")
    shape: Shape = (options.frames, *options.size)
    peak = options.peak_tflops or known_peak(options.device)
    work = tera_operations("mario", shape)

    figures: dict[str, Any] = {"clip": label(shape), "forward_tflop": work, "peak_tflops": peak}
    for mode in options.modes:
        for batch_size in options.batch_sizes:
            module = fresh_module(mode, shape, options.device)
            figure = measure(training(module, batch_size), options.rounds, options.device)
            rate = batch_size / figure["seconds"]
            figure |= {"clips_per_second": rate, "mfu": peak and 3 * work * rate / peak}
            figures[f"training_{mode}_batch_{batch_size}"] = figure
        module = fresh_module(mode, shape, options.device).eval()
        for steps in options.steps:
            figure = measure(sampling(module, steps), options.rounds, options.device)
            figures[f"sampling_{mode}_{steps}_steps"] = figure
    return figures


def known_peak(device: str) -> float | None:
    """The GPU's TFLOP/s in bf16, where its name tells."""
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def fresh_module(mode: str, shape: Shape, device: str) -> LitFlowVideo:
    """The preset with new weights."""
    torch.manual_seed(0)
    module = preset("mario", shape).to(device)
    if mode != "eager":
        module.net.compile(mode=None if mode == "compile" else mode)
    return module


def training(module: LitFlowVideo, batch_size: int) -> Callable[[], None]:
    """One training step after another, on clips that stay on the device."""
    frames, (height, width), device = module.clip_length, module.size, module.device
    optimizer = torch.optim.AdamW(module.parameters(), lr=1.0e-4, fused=True)
    video = torch.randint(256, (batch_size, 3, frames, height, width), device=device)
    batch: dict[str, Tensor] = {
        "video": video.to(torch.uint8),
        "action": torch.randint(256, (batch_size, frames), device=device),
        "sample": torch.arange(batch_size, device=device),
    }

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = module.training_step(batch, 0)["loss"]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        batch["sample"] += batch_size

    return step


def sampling(module: LitFlowVideo, steps: int) -> Callable[[], None]:
    """One clip after another from noise."""

    def sample() -> None:
        with torch.autocast(module.device.type, torch.bfloat16):
            module.sample(1, steps=steps, solver="euler", guidance=1.0)

    return sample


def measure(task: Callable[[], None], rounds: int, device: str) -> dict[str, Any]:
    """Median seconds of a call, after three to warm up, and the most memory it takes."""
    gc.collect()  # what was measured before
    for _ in range(3):
        task()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(rounds):
        synchronize(device)
        start = time.perf_counter()
        task()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None
    return {"seconds": statistics.median(seconds), "peak_memory_mib": memory}


def synchronize(device: str) -> None:
    """Waits until the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()
