"""The segmenter against the clock: how many times real time, and how long a window takes.

Each video is 240x256 and goes through `Trainer.predict` window by window, as from a camera: decode,
track, encode with a tokenizer of the preset's size (its weights do not matter here), find segments
and write them. `wall` figures hold for the machine as it is loaded, `cpu` figures count the time
of all threads, so two cores do at best twice as much.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import ale_py
import cv2
import gymnasium as gym
import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from callbacks import SegmentWriter
from datamodules import VideoWindowDataModule
from datamodules.video_io import Rgb, write_video
from lit_modules import LitSegmenter
from lit_modules.latent_action.tokenizer import MotionTokenizer

FPS = 30
BUDGET = 0.2  # seconds from one window to the next
OUTPUTS: dict[str, dict[str, bool]] = {
    "codes": {"clips": False, "overlay": False},
    "codes_clips": {"clips": True, "overlay": False},
    "codes_clips_overlay": {"clips": True, "overlay": True},
}


class Stopwatch(Callback):
    """Wall and CPU seconds of each batch, from the request to the last byte handed to a thread."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.main: list[float] = []

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins."""
        self.began = self.wall_mark = time.perf_counter()
        self.cpu_began, self.main_mark = time.process_time(), time.thread_time()

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """A window is done."""
        wall, main = time.perf_counter(), time.thread_time()
        self.wall.append(wall - self.wall_mark)
        self.main.append(main - self.main_mark)
        self.wall_mark, self.main_mark = wall, main

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Everything is written."""
        self.all_wall = time.perf_counter() - self.began
        self.all_cpu = time.process_time() - self.cpu_began


def main(argv: list[str]) -> dict[str, Any]:
    """Figures of each video and each set of outputs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks segment", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the made videos")
    parser.add_argument("--game", default="ALE/Breakout-v5", help="one whose camera stands still")
    parser.add_argument("--scrolling", type=Path, help="a video that scrolls; else one is made")
    options = parser.parse_args(argv)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        videos = {"static": play(folder, options.game, options.seconds)}
        videos["scrolling"] = options.scrolling or scroll(folder, options.seconds)
        figures: dict[str, Any] = {
            name: {kind: measure(path, folder / name / kind, kind) for kind in OUTPUTS}
            for name, path in videos.items()
        }
    return {"budget_ms": 1000 * BUDGET, "height_width": [240, 256], **figures}


def measure(path: Path, out: Path, kind: str) -> dict[str, float]:
    """One pass over a video."""
    torch.manual_seed(0)
    module = LitSegmenter(energy="velocity", mode="l2_mean", on=5e-4)
    module.tokenizer = MotionTokenizer().eval().requires_grad_(False)
    watch = Stopwatch()
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[SegmentWriter(str(out), **OUTPUTS[kind]), watch],
    )
    data = VideoWindowDataModule(str(path), batch_size=1)
    trainer.predict(module, datamodule=data)
    seconds = (len(watch.wall) - 1) * BUDGET + 0.8
    figures = {
        "video_seconds": seconds,
        "times_real_time_wall": seconds / watch.all_wall,
        "times_real_time_cpu": seconds / watch.all_cpu,
        "p95_ms_wall": 1000 * float(np.percentile(watch.wall, 95)),
        "p95_ms_cpu_of_main_thread": 1000 * float(np.percentile(watch.main, 95)),
        "median_ms_cpu_of_main_thread": 1000 * float(np.median(watch.main)),
    }
    return {name: round(value, 2) for name, value in figures.items()}


def play(folder: Path, game: str, seconds: float) -> Path:
    """Random play, each pixel repeated to 240x256."""
    gym.register_envs(ale_py)
    env = gym.make(game, frameskip=2, render_mode="rgb_array")
    env.action_space.seed(0)
    env.reset(seed=0)
    pictures = []
    for _ in range(round(seconds * FPS)):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
        picture = np.asarray(env.render())
        size = (256, 240)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        pictures.append(picture)
    env.close()
    return written(folder / "static.avi", pictures)


def scroll(folder: Path, seconds: float) -> Path:
    """Tiles that move by two pixels a frame below a sky."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 255, (15, 64, 3)).astype(np.uint8)
    tiles[:9][rng.random((9, 64)) < 0.8] = (92, 148, 252)
    world = np.kron(tiles, np.ones((16, 16, 1), np.uint8))
    world[::8, ::4] //= 2
    frames = range(round(seconds * FPS))
    return written(
        folder / "scrolling.avi", [np.roll(world, -2 * i, axis=1)[:, :256] for i in frames]
    )


def written(path: Path, pictures: list[Rgb]) -> Path:
    """A file as people exchange them."""
    write_video(path, pictures, FPS, "xvid")
    return path
