"""HST-MAE on a GPU in bf16: training and inference, eager and compiled, half and whole decoder.

A training step is the module's own (masks, losses and gradients) and AdamW, from clips that already
lie on the device; its share of the GPU (MFU) counts the operations of its forward and backward pass
without any that are done twice. The decoder is half when running cells are on. Inference goes from
masked clips to restored ones.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.flow import label
from benchmarks.flow_gpu import known_peak, measure
from benchmarks.mae import arguments_of, giga_operations, parameters
from benchmarks.videomae import clip_shape
from lit_modules import LitMaskedAutoencoder

DECODERS = {"half": 2, "whole": 4}


class Standing(LitMaskedAutoencoder):
    """The module without a trainer, in the middle of its run."""

    @property
    def progress(self) -> float:
        """Half."""
        return 0.5


def main(argv: list[str]) -> dict[str, Any]:
    """Measures every variant in one run; needs a GPU unless told to do without."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks mae_gpu", description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["balanced", "base"], help="of configs/mae")
    parser.add_argument("--rounds", type=int, default=20, help="timed steps of a variant")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[32, 64], help="of training")
    parser.add_argument("--restored", type=int, nargs="+", default=[1, 32], help="clips at once")
    parser.add_argument("--modes", nargs="+", default=["eager", "compile"])
    parser.add_argument("--peak_tflops", type=float, help="of the GPU in bf16, where it is unknown")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("this benchmark needs a GPU and there is none; run it where there is one")
    warnings.filterwarnings("ignore", "You are trying to `self.log")  # there is no trainer
    torch.set_float32_matmul_precision("high")
    peak = options.peak_tflops or known_peak(options.device)
    return {
        "mask_ratio": 0.9,
        "peak_tflops": peak,
        **{name: of_preset(name, peak, options) for name in options.presets},
    }


def of_preset(name: str, peak: float | None, options: Any) -> dict[str, Any]:
    """Figures of a preset, and how many times faster a step is with half the decoder."""
    module = fresh_module(name, "eager", "half", options.device)
    figures: dict[str, Any] = {
        "clip": label(clip_shape(module.net)),
        "parameters": parameters(module.net),
    }
    for decoder in DECODERS:
        module = fresh_module(name, "eager", decoder, options.device)
        figures[f"training_tflop_{decoder}_decoder"] = giga_operations(training(module, 1)) / 1e3
    for mode in options.modes:
        for batch_size in options.batch_sizes:
            rates = {}
            for decoder in DECODERS:
                module = fresh_module(name, mode, decoder, options.device)
                figure = measure(training(module, batch_size), options.rounds, options.device)
                rates[decoder] = batch_size / figure["seconds"]
                work = figures[f"training_tflop_{decoder}_decoder"]
                figure |= {
                    "clips_per_second": rates[decoder],
                    "mfu": peak and work * rates[decoder] / peak,
                }
                figures[f"training_{mode}_{decoder}_decoder_batch_{batch_size}"] = figure
            times = rates["half"] / rates["whole"]
            figures[f"times_faster_by_half_decoder_{mode}_batch_{batch_size}"] = times
        module = fresh_module(name, mode, "half", options.device).eval()
        for count in options.restored:
            figure = measure(restoring(module, count), options.rounds, options.device)
            figure |= {"clips_per_second": count / figure["seconds"]}
            figures[f"inference_{mode}_batch_{count}"] = figure
    return figures


def fresh_module(name: str, mode: str, decoder: str, device: str) -> LitMaskedAutoencoder:
    """The preset with new weights."""
    torch.manual_seed(0)
    changes = {"decoded_cubes": DECODERS[decoder], "mask_ratio": 0.9}
    module = Standing(**arguments_of(name) | changes).to(device)
    if mode != "eager":
        module.net.compile(mode=None if mode == "compile" else mode)
    return module


def training(module: LitMaskedAutoencoder, batch_size: int) -> Callable[[], None]:
    """One training step after another, on clips that stay on the device."""
    (frames, height, width), device = clip_shape(module.net), module.device
    optimizer = torch.optim.AdamW(module.parameters(), lr=1.0e-4, fused=True)
    video = torch.randint(256, (batch_size, 3, frames, height, width), device=device)
    batch = {
        "video": video.to(torch.uint8),
        "state": torch.rand(batch_size, frames, module.state_dim, device=device),
        "state_mask": torch.ones(batch_size, frames, dtype=torch.bool, device=device),
        "sample": torch.arange(batch_size),  # of which the masks are drawn, on the CPU
    }

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = module.training_step(batch, 0)["loss"]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        batch["sample"] += batch_size

    return step


def restoring(module: LitMaskedAutoencoder, count: int) -> Callable[[], None]:
    """The same clips restored again and again, with their state."""
    shape, device = clip_shape(module.net), module.device
    video = torch.rand(count, 3, *shape, device=device) * 2 - 1
    state = torch.rand(count, shape[0], module.state_dim, device=device)
    hidden = module.masks(range(count), video, "tube", 0.9)

    def restore() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            module.restore(video, hidden, state)

    return restore
