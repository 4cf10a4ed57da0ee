"""What a generator makes: at this moment of its training, without disturbing it, and in files."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import WeightAveraging
from numpy.typing import NDArray
from torch import Tensor

from callbacks.stream_position import rng_states, set_rng_states
from datamodules.video_io import to_uint8, write_video
from lit_modules.base import unit
from lit_modules.flow.module import Samples

GAP = 2
"""Black pixels between the clips of a grid."""


def draw(trainer: L.Trainer, module: L.LightningModule, num: int, seed: int) -> Tensor:
    """`num` clips by `module.sample`, uint8 `(num, 3, t, h, w)` on the CPU.

    With averaged weights where they are averaged, in the precision of the training, in evaluation
    mode. Afterwards weights, modes and global random numbers are as before, so that a run with
    pictures equals one without.
    """
    generator: Any = module
    modes = [(part, part.training) for part in module.modules()]
    states = rng_states(module.device)
    try:
        module.eval()
        precision = trainer.precision_plugin.forward_context()
        with torch.no_grad(), averaged_weights(trainer, module), precision:
            video = generator.sample(num, seed).video
        return to_uint8(unit(video.float())).cpu()
    finally:
        set_rng_states(states, module.device)
        for part, training in modes:
            part.training = training


def write_clips(made: Iterable[Samples], paths: Sequence[Path], fps: float) -> tuple[float, float]:
    """Writes single clips as they are made, and a grid of them all into the last of `paths`.

    Returns:
        Seconds and evaluations of the network that a clip took.
    """
    clips, evaluations = [], 0
    start = time.perf_counter()
    for path, samples in zip(paths[:-1], made, strict=True):
        clips.append(to_uint8(unit(samples.video[0])).cpu())
        evaluations += samples.evaluations
        write_video(path, clip_frames(clips[-1]), fps)
    seconds = time.perf_counter() - start
    write_video(paths[-1], grid_frames(torch.stack(clips)), fps)
    return seconds / len(clips), evaluations / len(clips)


@contextmanager
def averaged_weights(trainer: L.Trainer, module: L.LightningModule) -> Iterator[None]:
    """Puts the averages of `EMAWeightAveraging` in place of the weights, and these back.

    Lightning does so for a validation and at the end of a training alone.
    """
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    in_place = trainer.validating or trainer.sanity_checking
    averages = [c for c in callbacks if isinstance(c, WeightAveraging) and not in_place]
    for average in averages:
        average.on_validation_epoch_start(trainer, module)
    try:
        yield
    finally:
        for average in averages:
            average.on_validation_epoch_end(trainer, module)


def clip_frames(clip: Tensor) -> Iterator[NDArray[np.uint8]]:
    """One clip `(3, t, h, w)` uint8 -> its frames `(h, w, 3)`."""
    for frame in clip.permute(1, 2, 3, 0):
        yield np.ascontiguousarray(frame.numpy())


def grid_frames(clips: Tensor) -> Iterator[NDArray[np.uint8]]:
    """Clips `(n, 3, t, h, w)` uint8 -> frames of all of them, side by side in a square or nearly.

    Black lines of two pixels lie between the clips; places that are left over are black.
    """
    n, _, _, h, w = clips.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    for frames in clips.permute(2, 0, 3, 4, 1).numpy():  # (n, h, w, 3) of each time
        picture = np.zeros((rows * (h + GAP) - GAP, columns * (w + GAP) - GAP, 3), np.uint8)
        for place, frame in enumerate(frames):
            top, left = place // columns * (h + GAP), place % columns * (w + GAP)
            picture[top : top + h, left : left + w] = frame
        yield picture
