"""What is to be recorded under which names, and one recording of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from datamodules.recording.envs import Report, Shot, Studio, Take, open_studio
from datamodules.recording.levels import LevelStudio
from datamodules.recording.mario import EMULATED_FPS
from datamodules.recording.workers import EVERY, Recording
from datamodules.recording.writer import write_avi, write_pngs
from datamodules.smb_format import FAIL, OUTCOMES, Episode
from datamodules.streams.games import find_game


@dataclass(frozen=True)
class Plan:
    """What is to be recorded, and how; see `--help`."""

    env: str
    """`mario` or the name of a game."""
    levels: tuple[str, ...]
    """One empty level where the game has none."""
    policy: str
    frames: int
    episodes: int
    seed: int
    codec: str
    format: str
    out: Path
    fps: float | None
    sticky: float
    rom: str | None

    @property
    def count(self) -> int:
        """Number of recordings."""
        return len(self.levels) * self.episodes

    def name(self, index: int) -> str:
        """`<NNN>_<level or game>_<policy>_s<seed>`, the same whatever else is recorded."""
        title = self.levels[index // self.episodes] or re.sub(r"[^\w.]+", "-", self.title)
        return f"{index:03}_{title}_{self.policy}_s{self.seed_of(index)}"

    @property
    def title(self) -> str:
        """Name of the game."""
        return find_game(self.env).name

    def seed_of(self, index: int) -> int:
        """Each episode has its own."""
        return self.seed + index % self.episodes

    def episode(self, index: int, outcome: int) -> Episode:
        """Names of the folder and the files of an episode as PNG."""
        level = self.levels[index // self.episodes]
        user = f"litarcade-{self.policy}"
        return Episode(user, f"s{self.seed_of(index)}", index, level, outcome or FAIL)

    def paths(self, index: int) -> list[Path]:
        """Everything that the recording may be written to."""
        if self.format == "avi":
            name = self.name(index)
            return [self.out / f"{name}.avi", self.out / f"{name}.labels.npz"]
        return [self.out / self.episode(index, outcome).folder for outcome in OUTCOMES]


class Recorder:
    """Makes the recordings of a plan, one process its share of them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.studio: Studio
        if plan.env == "mario":
            self.studio = LevelStudio(plan.rom, plan.policy, plan.fps, plan.sticky)
        else:
            self.studio = open_studio(find_game(plan.env), plan.fps, plan.sticky)

    def __call__(self, index: int, report: Report) -> Recording:
        """Makes the n-th recording."""
        plan, studio = self.plan, self.studio
        level = plan.levels[index // plan.episodes]
        report(0, "")
        take = studio.take(plan.seed_of(index), level, plan.frames, report)
        take = replace(take, shots=watched(take, plan.frames, report))
        if plan.format == "avi":
            path = plan.paths(index)[0]
            frames = write_avi(path, take, studio.fps, plan.codec)
        else:
            episode = plan.episode(index, take.outcome or 0)
            path = plan.out / episode.folder
            every = round(EMULATED_FPS / studio.fps)
            frames = write_pngs(plan.out, episode, take, every, replaces=plan.paths(index))
        ending = {None: studio.note, 0: "cut"} | OUTCOMES
        return Recording(path, frames, frames / studio.fps, ending[take.outcome])


def watched(take: Take, frames: int, report: Report) -> Iterator[Shot]:
    """The first shots as they are made."""
    for index, shot in zip(range(frames), take.shots, strict=False):
        if index % EVERY == 0:
            report(index, "")
        yield shot
