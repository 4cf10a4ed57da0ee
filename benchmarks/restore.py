"""Hidden pixels of held-out levels: HST-MAE, a VideoMAE that was trained as long, and baselines.

The peer is the VideoMAE of `transformers` with about as many parameters. It learns from the clips
of the run whose checkpoint is judged (the same folder, size, looks and order), under tubes of the
same mask units and on plain pixels, for as much CPU time as that run took, at the best of some
learning rates that are tried out before at no charge. All are then judged on the same held-out
clips under the same masks. What is interrupted goes on where it last was saved.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from rich.progress import track

from benchmarks.mae import parameters
from benchmarks.videomae import VideoMAE
from benchmarks.videomae_training import Recipe, VideoMAETraining
from datamodules import SmbFrameDataModule
from lit_modules import LitMaskedAutoencoder
from lit_modules.base import unit
from lit_modules.checkpoints import load_module
from lit_modules.mae.baselines import BASELINES, ORACLES
from lit_modules.metrics import RestorationQuality

OURS, PLAIN, PEER = "HST-MAE with state", "HST-MAE without state", "VideoMAE"


class Run(NamedTuple):
    """A training run of ours."""

    data: dict[str, Any]  # arguments of its datamodule
    seconds: float  # of training, by the clock
    steps: int
    half: bool  # whether in bf16

    @classmethod
    def of(cls, checkpoint: Path) -> Run:
        """What the files of the run tell in which a checkpoint lies.

        Raises:
            ValueError: they are not there.
        """
        folder = checkpoint.resolve().parent.parent
        for name in ("config.yaml", "summary.json"):
            if not (folder / name).is_file():
                raise ValueError(
                    f"{folder} has no {name}; give a checkpoint in the folder of a run that ended"
                )
        config = yaml.safe_load((folder / "config.yaml").read_text())
        summary = json.loads((folder / "summary.json").read_text())
        seconds = summary["frames"] / summary["frames_per_second"]
        half = str(config["trainer"].get("precision")).startswith("bf16")
        return cls(config["data"]["init_args"], seconds, summary["steps"], half)


def main(argv: list[str]) -> dict[str, Any]:
    """Returns the quality of each contender and what the peer was given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks restore", description=__doc__)
    parser.add_argument("--ckpt_path", type=Path, required=True, help="ours, in its run's folder")
    parser.add_argument("--data_dir", help="where the run's recordings lie now")
    parser.add_argument("--val_levels", nargs="+", help="levels held out; those of the run")
    parser.add_argument("--cpu_minutes", type=float, help="of the peer's training; as ours took")
    parser.add_argument("--threads", type=int, default=2, help="of ours and of the peer")
    parser.add_argument("--precision", choices=("32", "bf16"), help="of the peer; as ours")
    parser.add_argument("--split", choices=("paper", "ours"), default="paper", help="of its widths")
    parser.add_argument("--batch_size", type=int, help="of the peer; as ours")
    parser.add_argument("--rates", type=float, nargs="+", default=[5.0e-4, 1.5e-3])
    parser.add_argument("--trial_minutes", type=float, default=2.0, help="CPU time a rate")
    parser.add_argument("--clips", type=int, default=128, help="held-out clips that are judged")
    parser.add_argument("--mask_ratio", type=float, default=0.9, help="of tubes, in (0, 1)")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark_restore"))
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    run = Run.of(options.ckpt_path)
    module: Any = load_module(options.ckpt_path)
    minutes = options.cpu_minutes or run.seconds * options.threads / 60
    overrides = {
        "data_dir": options.data_dir,
        "val_levels": options.val_levels,
        "batch_size": options.batch_size,
    }
    arguments = run.data | {name: value for name, value in overrides.items() if value is not None}

    recipe = Recipe(
        minutes=minutes,
        mask_ratio=options.mask_ratio,
        half=run.half if options.precision is None else options.precision == "bf16",
    )
    peer, history = trained_peer(module, arguments, recipe, options)
    data = SmbFrameDataModule(**arguments)
    data.setup("test")
    batches = list(held_out(data, options.clips))
    quality = judge(module, peer, batches, options.mask_ratio)
    ours = quality[OURS]["psnr_masked"]
    return {
        "clips": sum(len(batch["video"]) for batch in batches),
        "held_out": sorted({data.game_names[int(i)] for b in batches for i in b["source"]}),
        "mask": "tube",
        "mask_ratio": options.mask_ratio,
        "parameters": {"HST-MAE": parameters(module.net), PEER: parameters(peer)},
        "training": {
            "HST-MAE": {"core_minutes": run.seconds * options.threads / 60, "steps": run.steps},
            PEER: history,
        },
        "threads": options.threads,
        "quality": quality,
        "db_above": {
            name: round(ours - figures["psnr_masked"], 3) for name, figures in quality.items()
        },
    }


def trained_peer(
    module: LitMaskedAutoencoder, arguments: dict[str, Any], recipe: Recipe, options: Any
) -> tuple[VideoMAE, dict[str, Any]]:
    """The peer with its mean weights, and how it came to them.

    Args:
        module: ours.
        arguments: of the datamodule.
        recipe: but for the learning rate.
        options: `rates`, `trial_minutes`, `split` and `folder`.
    """

    def train(name: str, rate: float, minutes: float) -> VideoMAETraining:
        torch.manual_seed(0)
        data = SmbFrameDataModule(**arguments | {"state": "none"})
        data.setup("fit")
        training = VideoMAETraining(
            VideoMAE(module.net, options.split),
            data,
            recipe._replace(rate=rate, minutes=minutes),
            options.folder / options.split / f"{name}.pt",
        )
        training.run()
        return training

    trials = {
        rate: train(f"trial_{rate:g}", rate, options.trial_minutes).loss for rate in options.rates
    }
    best = min(trials, key=trials.__getitem__)
    training = train("videomae", best, recipe.minutes)
    history = {
        "cpu_minutes": training.seconds / 60,
        "steps": training.steps,
        "loss": training.loss,
        "rate": best,
        "losses_of_trials": {f"{rate:g}": loss for rate, loss in trials.items()},
        "trial_minutes": options.trial_minutes,
        "split": options.split,
        "sizes": training.peer.sizes._asdict(),
        "half_precision": recipe.half,
    }
    return training.mean, history


def held_out(data: SmbFrameDataModule, clips: int) -> Iterator[dict[str, Any]]:
    """Batches of held-out clips, together so many or a few more."""
    for batch in islice(data.test_dataloader(), -(-clips // data.batch_size)):
        yield data.on_after_batch_transfer(batch, 0)


@torch.no_grad()
def judge(
    module: LitMaskedAutoencoder,
    peer: VideoMAE,
    batches: list[dict[str, Any]],
    mask_ratio: float,
) -> dict[str, dict[str, float]]:
    """Quality of restored clips, all under the same tubes, by contender."""
    fills = BASELINES | ORACLES
    names = [OURS, *([PLAIN] if module.state_dim else []), PEER, *fills]
    quality = {name: RestorationQuality(module.regions) for name in names}
    for batch in track(batches, "judging"):
        video = module.scale(batch["video"])
        hidden, pixels = module.masked(batch, video, "tube", mask_ratio)
        true = unit(video)
        restored = module.restorations(batch, video, hidden)
        made = {
            OURS: unit(restored["state"]),
            PEER: unit(peer.restore(video, hidden)),
            **{name: fill(true, pixels, batch.get("camera")) for name, fill in fills.items()},
        }
        if "no_state" in restored:
            made[PLAIN] = unit(restored["no_state"])
        for name, clip in made.items():
            quality[name].update(clip, true, pixels)
    return {
        name: {figure: round(float(x), 5) for figure, x in metric.compute().items()}
        for name, metric in quality.items()
    }
