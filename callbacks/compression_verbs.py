"""What `generate.py compress` and `decompress` do with what they are given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from rich.progress import Progress, TimeElapsedColumn

from callbacks.compression import Compression
from callbacks.decompression import Decompression
from callbacks.group_coders import GroupCoder, LosslessCoder, ModelCoder, digest
from datamodules.footage import Footage
from lit_modules import LitVideoCodec

Quality = Literal["lossless", 1, 2, 3, 4, 5, 6]
Load = Callable[[str], LitVideoCodec]
"""From a checkpoint's path to its model."""


def compress(
    source: str,
    paths: list[Path],
    quality: Quality,
    group_frames: int,
    yardstick: bool,
    ckpt_path: str | None,
    state: str | None,
    load: Load,
) -> None:
    """Writes `paths`: the `.lav` file and `metrics.json`."""
    coder: GroupCoder
    known = None
    if quality == "lossless":
        coder = LosslessCoder()
    elif ckpt_path is None:
        raise ValueError(
            f"quality {quality} needs a trained codec: give --ckpt_path, or --quality lossless"
        )
    else:
        module = load(ckpt_path)
        coder = ModelCoder(module, ckpt_path, quality)
        known = Footage(source).state(state, module.state_dim)
    job = Compression(coder, group_frames, yardstick)
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn()) as bar:
        task = bar.add_task("frames", total=frames_of(source))
        job.run(source, paths[0], known, lambda count: bar.advance(task, count))
    write(paths[1], {"input": Path(source).name, **job.figures()})
    print("\n".join(job.summary()))
    print(f"written to {paths[0]} and {paths[1]}")


def decompress(source: str, paths: list[Path], ckpt_path: str | None, load: Load) -> None:
    """Writes `paths`: the video and `metrics.json`."""
    job = Decompression(source)
    coder: GroupCoder
    if job.header.mode != "learned":
        coder = LosslessCoder()
    else:
        needed = job.header.about.get("model")
        if ckpt_path is None:
            raise ValueError(
                f"{source} was compressed by a trained codec (digest {needed}), which decodes it: "
                "give --ckpt_path"
            )
        if digest(ckpt_path) != needed:
            raise ValueError(
                f"{ckpt_path} has digest {digest(ckpt_path)}, {source} needs the checkpoint with "
                f"digest {needed}"
            )
        coder = ModelCoder(load(ckpt_path), ckpt_path, 1)
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn()) as bar:
        task = bar.add_task("frames", total=len(job.times))
        job.run(paths[0], coder, lambda count: bar.advance(task, count))
    write(paths[1], {"input": Path(source).name, **job.figures()})
    print("\n".join(job.summary()))
    print(f"written to {paths[0]} and {paths[1]}")


def frames_of(source: str) -> int | None:
    """How many the file announces, if it does."""
    try:
        return Footage(source).announced
    except (ValueError, OSError):
        return None  # which reading it will explain


def write(path: Path, figures: dict[str, Any]) -> None:
    """Writes plain values."""
    path.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")
