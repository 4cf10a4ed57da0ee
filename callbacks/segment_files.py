"""The files of one segmented video."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, TextIO

import numpy as np

from callbacks.atomic_file import replace_file
from callbacks.segment_overlay import SPAN, OverlayVideo, Panel, Point
from datamodules.video_io import Rgb, write_video
from lit_modules.latent_action.session import Found, Progress

RESULTS = ("segments", "code_indices", "prequant", "energy.jsonl", "overlay.mp4", "video.json")
MOST_CLIPS = 8  # that wait for the thread: their frames are in memory
CUTS_PER_SECOND = 20  # steps a second

Batch = Mapping[str, Any]


class VideoFiles:
    """Writes what is found in a video while it is read; `video.json` comes last.

    Args:
        folder: where the files go; results of an earlier run in it are removed.
        video: name of the video.
        facts: what each sidecar and the summary repeat: `path`, `energy`, `thresholds`,
            `codebook_size`, `stride`, `horizon`.
        settings: kept in the summary, for the next run to compare.
        clips: write a clip of each segment.
        overlay: write the video with its energy below.
        prequant: write the tokens before rounding.
        thread: encodes clips beside the work.
    """

    def __init__(
        self,
        folder: Path,
        video: str,
        facts: Mapping[str, Any],
        settings: Mapping[str, Any],
        clips: bool,
        overlay: bool,
        prequant: bool,
        thread: ThreadPoolExecutor,
    ) -> None:
        self.folder, self.video, self.facts, self.settings = folder, video, facts, settings
        self.clips, self.overlay, self.thread = clips, overlay, thread
        self.prequant: list[Any] | None = [] if prequant else None
        clear(folder)
        (folder / "segments").mkdir(parents=True)
        (folder / "code_indices").mkdir()
        self.jsonl: TextIO = (folder / "energy.jsonl").open("w", buffering=1)
        self.frames: deque[tuple[float, Rgb]] = deque()  # that a segment may still need
        self.fps = 30.0
        self.drawing: OverlayVideo | None = None
        self.undrawn: deque[tuple[float, Rgb]] = deque()
        self.curve: deque[Point] = deque()
        self.jobs: deque[Future[None]] = deque()
        self.notes: list[str] = []
        self.windows = self.still = self.dropped = self.segments = self.size = 0
        self.segment_seconds = self.energy_sum = self.energy_max = 0.0

    def add(self, batch: Batch, progress: Progress) -> None:
        """Takes a batch and what it has led to."""
        frames = list(zip(batch["frame_seconds"].tolist(), batch["frames"], strict=True))
        if len(frames) > 1:
            gaps = np.diff(batch["frame_seconds"])
            self.fps = 1 / median(gaps.tolist())
        self.frames.extend(frames if self.clips else ())
        self.notes += batch["notes"]
        self.dropped += batch["dropped"]
        for window in progress.windows:
            self.jsonl.write(json.dumps(asdict(window)) + "\n")
            self.windows, self.still = self.windows + 1, self.still + window.still
            self.energy_sum += window.energy
            self.energy_max = max(self.energy_max, window.energy)
        if self.prequant is not None and progress.prequant is not None:
            self.prequant.append(progress.prequant)
        for found in progress.found:
            self.write_segment(found)
        while self.frames and self.frames[0][0] < progress.undecided:
            self.frames.popleft()
        if self.overlay:
            self.draw(frames, batch, progress)

    def write_segment(self, found: Found) -> None:
        """Writes the sidecar of a segment and queues its clip."""
        segment, name = found.segment, f"{self.video}_seg{found.number:03d}"
        self.segments += 1
        self.segment_seconds += segment.end - segment.start
        shots = [
            (seconds, pixels)
            for seconds, pixels in self.frames
            if segment.start <= seconds < segment.end
        ]
        energies = [window.energy for window in found.windows]
        sidecar = {
            "video": self.video,
            "segment": found.number,
            "start_seconds": round(segment.start, 6),
            "end_seconds": round(segment.end, 6),
            "ended_by": segment.ended_by,
            "codes": [window.codes for window in found.windows if window.codes is not None],
            "windows": [window.index for window in found.windows],
            "window_seconds": [round(window.seconds, 6) for window in found.windows],
            "window_energy": energies,
            "clip": f"segments/{name}.mp4" if shots else None,
            "frames": len(shots),
            "fps": CUTS_PER_SECOND,
            **self.facts,
        }
        path = self.folder / "code_indices" / f"{name}.codes.json"
        replace_file(path, (json.dumps(sidecar, indent=1) + "\n").encode())
        if not shots:
            return
        while len(self.jobs) >= MOST_CLIPS:
            self.jobs.popleft().result()
        span = shots[-1][0] - shots[0][0]
        fps = (len(shots) - 1) / span if span > 0 else self.fps
        clip = self.folder / "segments" / f"{name}.mp4"
        pictures = [pixels for _, pixels in shots]
        self.jobs.append(self.thread.submit(write_video, clip, pictures, fps))

    def draw(self, frames: list[tuple[float, Rgb]], batch: Batch, progress: Progress) -> None:
        """Queues frames of the overlay as far as their windows are known."""
        middle = batch["velocity"].shape[1] / CUTS_PER_SECOND / 2
        for window in progress.windows:
            self.curve.append(Point(window.seconds + middle, window.smoothed, window.open))
        self.undrawn.extend(frames)
        known = self.curve[-1].seconds if self.curve else 0.0
        while self.undrawn and (batch["last"] or self.undrawn[0][0] <= known):
            seconds, pixels = self.undrawn.popleft()
            while self.curve and self.curve[0].seconds < seconds - SPAN - 1:
                self.curve.popleft()
            curve = [point for point in self.curve if point.seconds <= seconds + 0.05]
            on, off = (self.facts["thresholds"][name] for name in ("on", "off"))
            if self.drawing is None:
                path = self.folder / "overlay.mp4"
                self.drawing = OverlayVideo(path, self.fps, on, off)
            now = f"{curve[-1].energy:.4g}" if curve else "-"
            state = "open" if curve and curve[-1].open else "-"
            lines = [
                f"{seconds:.1f} s  {state}  {self.segments} segments  {self.dropped} dropped",
                f"{self.facts['energy']} {now}",
                f"on {on:.4g}  off {off:.4g}  {self.windows} windows, {self.still} still",
            ]
            self.drawing.add(Panel(pixels, seconds, curve, lines))

    def finish(self, batch: Batch) -> None:
        """Waits for what is being written; the video is done when `video.json` is there.

        Raises:
            OSError, ValueError: what could not be written.
        """
        self.close()
        if self.prequant:
            (self.folder / "prequant").mkdir()
            np.save(self.folder / "prequant" / f"{self.video}.npy", np.concatenate(self.prequant))
        problems = [*self.notes, *([batch["error"]] if batch["error"] else [])]
        live = "://" in self.facts["path"] or self.facts["path"].isdigit()
        damaged = self.notes and not live  # a live source that drops is no damage
        summary = {
            "video": self.video,
            "status": "failed" if batch["error"] else "damaged" if damaged else "done",
            "problems": problems,
            "seconds": round(batch["end"], 6),
            "windows": self.windows,
            "still_windows": self.still,
            "dropped_windows": self.dropped,
            "segments": self.segments,
            "segment_seconds": round(self.segment_seconds, 6),
            "mean_energy": self.energy_sum / self.windows if self.windows else 0.0,
            "max_energy": self.energy_max,
            **self.facts,
            "settings": self.settings,
        }
        replace_file(self.folder / "video.json", (json.dumps(summary, indent=1) + "\n").encode())

    def close(self) -> None:
        """Closes all files; what is being written is complete then."""
        self.jsonl.close()
        if self.drawing is not None:
            self.drawing.close()
        while self.jobs:
            self.jobs.popleft().result()


def clear(folder: Path) -> None:
    """Removes the results of an earlier run, and nothing else."""
    for name in RESULTS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
