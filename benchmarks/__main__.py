"""Runs one benchmark and writes its figures, machine and versions to `benchmarks/results/`."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from callbacks.clear_errors import one_line_errors

NAMES = (
    *("actions", "ale", "codec", "codec_lossless", "flow", "flow_gpu", "forgetting"),
    *("gpu", "mae", "mae_gpu", "obgd", "latent_actions", "restore", "segment", "streaming"),
    *("tracking", "video"),
)
PACKAGES = (
    "torch",
    "lightning",
    "ale-py",
    "gymnasium",
    "opencv-python",
    "av",
    "constriction",
    "numba",
    "torchcodec",
    "torchdiffeq",
    "transformers",
    "vector-quantize-pytorch",
    "video-diffusion-pytorch",
)
RESULTS = Path(__file__).with_name("results")


def main(argv: list[str]) -> None:
    """`argv` is the benchmark's name and its own options (`--help` lists them)."""
    if not argv or argv[0] not in NAMES:
        print(f"usage: python -m benchmarks {{{','.join(NAMES)}}} [options]")
        raise SystemExit(0 if argv and argv[0] in ("-h", "--help") else 2)
    name, *options = argv
    figures = importlib.import_module(f"benchmarks.{name}").main(options)
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["python -m benchmarks", *argv]),
        "machine": describe_machine(),
        "versions": dict(installed_versions()),
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    print(f"written to {path}")


def installed_versions() -> Iterator[tuple[str, str]]:
    """Those of the packages that are there: a GPU machine needs no games."""
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            yield package, version(package)


def describe_machine() -> dict[str, Any]:
    """What the figures depend on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "gpu": gpu,
    }


if __name__ == "__main__":
    with one_line_errors("benchmarks"):
        main(sys.argv[1:])
