"""Levels of Super Mario Bros. as recordings: first the play is found, then it is played again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from datamodules.recording.envs import Report, Shot, Studio, Take, stride
from datamodules.recording.mario import EMULATED_FPS, LEVELS, Mario
from datamodules.recording.policies import HURRY, PAD, bursts, sticky
from datamodules.recording.search import search
from datamodules.smb_format import FAIL
from datamodules.streams.games import PLAY, generator

POLICIES = ("random", "right", "search")
FAIL_FRAMES, WIN_FRAMES = 90, 240  # emulated frames that are shown of an end


class LevelStudio(Studio):
    """Records levels from their start.

    Args:
        rom: file of the game; None takes an installed one.
        policy: `random` draws from what the pad allows, `right` runs and jumps to the right,
            `search` finishes levels.
        fps: frames a second; None is 30.
        stick: probability that `random` holds its buttons for another emulated frame.
    """

    def __init__(
        self, rom: str | Path | None, policy: str, fps: float | None, stick: float
    ) -> None:
        self.policy, self.stick = policy, stick
        self.skip, self.fps = stride(EMULATED_FPS, fps)
        self.mario = Mario(rom)

    def take(self, seed: int, level: str, frames: int, report: Report) -> Take:
        """The play of a level to its end, or cut where it has so many frames."""
        held, outcome = self._find(seed, level, (frames - 1) * self.skip + 1, report)
        return Take(self._replay(level, held), held, outcome)

    def _find(self, seed: int, level: str, longest: int, report: Report) -> tuple[list[int], int]:
        """Buttons of each emulated frame, and how the play ends."""
        mario, rng = self.mario, generator(seed, PLAY, LEVELS.index(level))
        mario.begin(level)
        held: list[int] = []
        if self.policy == "search":
            note = f"searching {level}"
            held = search(mario, rng, longest, lambda x: report(0, f"{note}, pixel {x}"))[:longest]
            mario.begin(level)
            for byte in held:
                mario.step(byte)
        elif self.policy == "right":
            held = self._play(bursts(HURRY, rng), longest)
        else:
            held = self._play(sticky(PAD, self.stick, rng), longest)
        outcome = mario.place.outcome
        left = FAIL_FRAMES if outcome == FAIL else WIN_FRAMES if outcome else 0
        while left and len(held) < longest and not mario.gone:
            mario.step(0)
            held.append(0)
            left -= 1
        return held, outcome

    def _play(self, presses: Iterator[int], longest: int) -> list[int]:
        """Plays until the player or the level is lost."""
        held = []
        for byte in islice(presses, longest):
            self.mario.step(byte)
            held.append(byte)
            if self.mario.place.outcome:
                break
        return held

    def _replay(self, level: str, held: list[int]) -> Iterator[Shot]:
        """Shows every few frames; the emulator comes to the same end each time."""
        self.mario.begin(level)
        for frame, byte in enumerate(held):
            picture = self.mario.step(byte)
            if frame % self.skip == 0:
                yield Shot(picture, byte, self.mario.ram)
