"""Frames of live Atari a CPU-second: our stream against `AtariVectorEnv` and gymnasium with cv2.

Frame skip 1, no max-pooling, random play with sticky actions. CPU time counts all threads and all
worker processes. Contenders take turns within a round and ratios are taken within a round, so that
whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import ale_py
import cv2
import gymnasium as gym
import numpy as np
import torch
from ale_py.vector_env import AtariVectorEnv

from datamodules import AleStreamDataModule
from datamodules.streams.games import DEFAULT_GAMES, ale_games

SIDE = 224
CHUNK = 64
OURS = ("palette", "rgb_worker", "rgb_in_process")
PEERS = ("vector_env", "gymnasium_cv2")


def main(argv: list[str]) -> dict[str, Any]:
    """Figures of each game and their medians over all games."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ale", description=__doc__)
    parser.add_argument("--games", nargs="+", default=list(DEFAULT_GAMES))
    parser.add_argument("--frames", type=int, default=1024, help="frames a contender and round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    gym.register_envs(ale_py)
    games = {game: compare(game, options.frames, options.rounds) for game in options.games}
    names = next(iter(games.values()))
    return {
        "frames_a_round": options.frames,
        "rounds": options.rounds,
        "median": {name: median(figures[name] for figures in games.values()) for name in names},
        "least": {name: min(figures[name] for figures in games.values()) for name in names},
        "games": games,
    }


def compare(game: str, frames: int, rounds: int) -> dict[str, float]:
    """Medians over the rounds of ratios and of CPU microseconds a frame."""
    contenders: dict[str, Iterator[None]] = {
        "palette": palette(game),
        "rgb_worker": ready_rgb(game, num_workers=1),
        "rgb_in_process": ready_rgb(game, num_workers=0),
        "vector_env": vector_env(game),
        "gymnasium_cv2": gymnasium_cv2(game),
    }
    rows: dict[str, list[float]] = {}
    for _ in range(rounds):
        costs = {name: cost(steps, frames) for name, steps in contenders.items()}
        for name, (everything, main_process) in costs.items():
            rows.setdefault(f"{name}_us", []).append(everything)
            if name == "palette":
                rows.setdefault("palette_main_process_us", []).append(main_process)
        for peer in PEERS:
            for name in OURS:
                ratio = costs[peer][0] / costs[name][0]
                rows.setdefault(f"{name}_over_{peer}", []).append(ratio)
    return {name: round(median(values), 2) for name, values in rows.items()}


def cost(steps: Iterator[None], frames: int) -> tuple[float, float]:
    """CPU microseconds a frame, of all processes and of this one."""
    for _ in range(4 * CHUNK):  # what workers have played while others had their turn is not free
        next(steps)
    workers = [child.pid for child in multiprocessing.active_children() if child.pid]
    everything, main_process = cpu_seconds(workers), time.process_time()
    for _ in range(frames):
        next(steps)
    main_process = time.process_time() - main_process
    return (cpu_seconds(workers) - everything) / frames * 1e6, main_process / frames * 1e6


def cpu_seconds(workers: list[int]) -> float:
    """CPU time of this process, all its threads, and of its workers."""
    # The CPU clock of another process on Linux, see clock_getcpuclockid(3).
    return time.process_time() + sum(time.clock_gettime(~pid << 3 | 2) for pid in workers)


def palette(game: str) -> Iterator[None]:
    """Ours: palette frames delivered from a worker process."""
    data = AleStreamDataModule(game, frame_skip=1, num_workers=1, chunk=CHUNK)
    for _ in data.train_dataloader():
        yield


def ready_rgb(game: str, num_workers: int) -> Iterator[None]:
    """Ours: `(1, 3, 224, 224)` uint8, ready for the model."""
    data = AleStreamDataModule(
        game, size=(SIDE, SIDE), frame_skip=1, num_workers=num_workers, chunk=CHUNK
    )
    for batch in data.train_dataloader():
        data.on_after_batch_transfer(batch, 0)
        yield


def vector_env(game: str) -> Iterator[None]:
    """The emulator's own vector environment at 224 RGB, one environment on one thread."""
    env = AtariVectorEnv(
        ale_games()[game],
        num_envs=1,
        num_threads=1,
        img_height=SIDE,
        img_width=SIDE,
        grayscale=False,
        stack_num=1,
        frameskip=1,
        maxpool=False,
        repeat_action_probability=0.25,
        use_fire_reset=False,
    )
    env.reset(seed=0)
    for action in actions(env.single_action_space.n):  # type: ignore[attr-defined]
        env.step(np.array([action]))
        yield


def gymnasium_cv2(game: str) -> Iterator[None]:
    """The v5 environment in RGB and a bilinear resize."""
    env = gym.make(f"ALE/{game}-v5", frameskip=1, obs_type="rgb")
    env.reset(seed=0)
    for action in actions(env.action_space.n):  # type: ignore[attr-defined]
        frame, _, terminated, truncated, _ = env.step(action)
        cv2.resize(frame, (SIDE, SIDE))
        if terminated or truncated:
            env.reset()
        yield


def actions(count: int) -> Iterator[int]:
    """Random actions, drawn ahead so that no contender pays for them."""
    drawn = np.random.default_rng(0).integers(count, size=1 << 16).tolist()
    while True:
        yield from drawn
