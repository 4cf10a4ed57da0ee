"""What `generate.py compress` and `decompress` do with what they are given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import imageio.v3 as imageio
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from callbacks.compression import Compression
from callbacks.decompression import Decompression
from callbacks.group_coders import GroupCoder, LosslessCoder, ModelCoder, digest
from callbacks.verb_files import new_files
from datamodules.footage import Footage
from lit_modules import LitVideoCodec

Quality = Literal["lossless", 1, 2, 3, 4, 5, 6]
Load = Callable[[str], LitVideoCodec]
"""From a checkpoint's path to its model."""


def compress(
    source: str,
    out: str,
    overwrite: bool,
    quality: Quality,
    max_kbps: float | None,
    group_frames: int,
    yardstick: bool,
    ckpt_path: str | None,
    state: str | None,
    load: Load,
) -> None:
    """Writes `<name>.lav` and `metrics.json` into the folder `out`.

    Raises:
        FileExistsError: they are there, and are not to be written over.
        ValueError: there is no checkpoint where one is needed, or no quality up to this one keeps
            to `max_kbps`.
    """
    paths = new_files(out, overwrite, f"{Path(source).stem}.lav", "metrics.json")
    known = None
    coders: Iterator[GroupCoder] = iter([LosslessCoder()])
    if quality != "lossless":
        if ckpt_path is None:
            raise ValueError(
                f"quality {quality} needs a trained codec: give --ckpt_path, or --quality lossless"
            )
        module, path = load(ckpt_path), ckpt_path
        coders = (ModelCoder(module, path, depth) for depth in range(quality, 0, -1))
        known = Footage(source).state(state, module.state_dim)
    for coder in coders:  # the first that is small enough
        job = Compression(coder, group_frames, yardstick and quality == "lossless")
        with Progress(*Progress.get_default_columns(), TimeElapsedColumn()) as bar:
            task = bar.add_task("frames", total=frames_of(source))
            job.run(source, paths[0], known, partial(bar.advance, task))
        if max_kbps is None or (rate := job.figures()["kbps"]) <= max_kbps:
            break
        paths[0].unlink()
        print(f"quality {coder.about['quality']} takes {rate:.1f} kbps")
    else:
        raise ValueError(
            f"max_kbps {max_kbps:g} cannot be kept: the least was {rate:.1f} kbps; allow more"
            + (", or give --quality 1 to 6 with a --ckpt_path" if quality == "lossless" else "")
        )
    if yardstick and quality != "lossless":
        with Console().status("classical codecs, as near to the video"):
            job.compare(source)
    write(paths[1], {"input": Path(source).name, **job.figures()})
    print("\n".join(job.summary()))
    print(f"written to {paths[0]} and {paths[1]}")


def decompress(source: str, out: str, overwrite: bool, ckpt_path: str | None, load: Load) -> None:
    """Writes `<name>.avi`, `metrics.json` and, of what is damaged, `concealed.png` into `out`.

    Raises:
        FileExistsError: they are there, and are not to be written over.
        ValueError: there is no checkpoint where one is needed, or another one.
    """
    names = (f"{Path(source).stem}.avi", "metrics.json", "concealed.png")
    *paths, map_path = new_files(out, overwrite, *names)
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
    if (concealed := job.picture()) is not None:
        imageio.imwrite(map_path, concealed)
        print(f"what is made up or repeated: {map_path}")
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
