"""Whether generated clips do what the held buttons say: Breakout, left against right.

Records play, trains the preset `tiny` with actions on it, and fits a linear probe on real frames
that tells left from right by three frames in a row. The same probe then reads generated clips,
made from actions that were really played. What the folder already holds is not made again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

from datamodules import AviClipDataModule
from datamodules.buttons import LEFT, RIGHT
from lit_modules import LitFlowVideo
from lit_modules.base import unit
from lit_modules.checkpoints import load_module

PRESET = "configs/flow/tiny.yaml"
RIDGE = 1.0  # of the mean variance of a feature


def main(argv: list[str]) -> dict[str, Any]:
    """Returns balanced accuracies on real and generated clips; chance is one half."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks actions", description=__doc__)
    parser.add_argument("--env", default="ALE/Breakout-v5")
    parser.add_argument("--steps", type=int, default=800, help="training steps")
    parser.add_argument("--clips", type=int, default=64, help="clips to generate")
    parser.add_argument("--guidance", nargs="+", type=float, default=[1.0, 2.0])
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark_actions"))
    options = parser.parse_args(argv)
    recordings = options.folder / "recordings"
    if not recordings.exists():
        record(options.env, recordings)
    checkpoint = options.folder / "tiny/version_0/checkpoints/last.ckpt"
    if not checkpoint.exists():
        train(recordings, options.folder, options.steps)
    module: Any = load_module(checkpoint)
    data = AviClipDataModule(str(recordings), module.clip_length, size=module.size, batch_size=16)
    data.setup("test")

    probe = Probe(clips(data, data.train_dataloader()))
    held_out = list(clips(data, data.test_dataloader()))
    figures = {"env": options.env, "steps": options.steps, "real": probe.accuracy(held_out)}
    for guidance in options.guidance:
        made = list(generated(module, held_out, options.clips, guidance))
        figures[f"generated_guidance_{guidance:g}"] = probe.accuracy(made)
        others = [(video, action.roll(1, 0)) for video, action in made]
        figures[f"other_clips_actions_guidance_{guidance:g}"] = probe.accuracy(others)
    return figures


def record(env: str, folder: Path) -> None:
    """Random play whose actions are held for ten frames on average."""
    command = [
        *(sys.executable, "-m", "datamodules.recording", "--env", env, "--out", str(folder)),
        *("--episodes", "10", "--frames", "600", "--sticky", "0.9"),
    ]
    subprocess.run(command, check=True)


def train(recordings: Path, folder: Path, steps: int) -> None:
    """As a user would."""
    command = [
        *(sys.executable, "train.py", "fit", "-c", PRESET, "--model.actions", "true"),
        *("--data.data_dir", str(recordings), "--trainer.max_steps", str(steps)),
        *("--trainer.logger.save_dir", str(folder), "--trainer.logger.name", "tiny"),
        *("--trainer.logger.version", "version_0"),
    ]
    subprocess.run(command, check=True)


def clips(data: AviClipDataModule, loader: Iterable[Any]) -> Iterable[tuple[Tensor, Tensor]]:
    """Videos `(b, 3, t, h, w)` in [0, 1] and actions `(b, t)`."""
    for batch in loader:
        batch = data.on_after_batch_transfer(batch, 0)
        yield batch["video"].float() / 255, batch["action"]


def generated(
    module: LitFlowVideo, real: list[tuple[Tensor, Tensor]], count: int, guidance: float
) -> Iterable[tuple[Tensor, Tensor]]:
    """Clips made from the actions and first frames of real ones."""
    made = 0
    for video, action in track(real, f"generating, guidance {guidance:g}"):
        if made >= count:
            return
        first = 2 * video[:, :, :1] - 1
        samples = module.sample(
            len(video), first=made, actions=action, first_frames=first, guidance=guidance
        )
        made += len(video)
        yield unit(samples.video), action


class Probe:
    """Ridge regression from three frames in a row to the side that the middle one's action means.

    Args:
        batches: real clips and their actions.
    """

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        parts = [moments(*batch) for batch in batches]
        features, sides = (torch.cat(column) for column in zip(*parts, strict=True))
        self.mean = features.mean(0)
        centred = features - self.mean
        # In the dual form there are as many unknowns as moments, in the primal as many as pixels.
        gram = centred @ centred.T
        gram.diagonal().add_(RIDGE * gram.diagonal().mean())
        self.weight = centred.T @ torch.linalg.solve(gram, sides - sides.mean())

    def accuracy(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Share of moments told rightly, mean over both sides, and its standard error."""
        parts = [moments(*batch) for batch in batches]
        features, sides = (torch.cat(column) for column in zip(*parts, strict=True))
        right = ((features - self.mean) @ self.weight > 0) == (sides > 0)
        shares = [right[sides == side].double() for side in (-1, 1)]
        spread = sum(float(share.var() / len(share)) for share in shares) ** 0.5 / 2
        mean = sum(float(share.mean()) for share in shares) / 2
        return {"balanced_accuracy": mean, "standard_error": spread, "moments": len(sides)}


def moments(video: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Both differences around each frame in which left or right is held, and -1 or 1."""
    grey = video.mean(1)  # (b, 3, t, h, w) -> (b, t, h, w)
    change = grey.diff(dim=1)
    around = torch.stack([change[:, :-1], change[:, 1:]], 2).flatten(2)  # (b, t - 2, 2 * h * w)
    held = action[:, 1:-1]
    side = ((held & RIGHT) > 0).float() - ((held & LEFT) > 0).float()
    return around[side != 0], side[side != 0]
