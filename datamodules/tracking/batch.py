"""Many videos to tracks, in several processes, with one progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from datamodules.tracking.extract import Done, Job, Settings, extract

EVERY = 30  # frames a report


@dataclass
class Report:
    """What has become of all videos."""

    done: list[tuple[Job, Done]] = field(default_factory=list)
    failures: list[tuple[Job, str]] = field(default_factory=list)
    """Videos without (complete) tracks, and why."""

    def add(self, job: Job, work: Callable[[], Done]) -> None:
        """Notes the result of a video; one that fails does not stop the others."""
        try:
            self.done.append((job, work()))
        except BrokenProcessPool:
            self.failures.append((job, "its process died, perhaps for want of memory"))
        except Exception as error:
            if os.environ.get("LITARCADE_TRACEBACK"):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            self.failures.append((job, reason))


class Stopped(BaseException):
    """The work is given up, as the process that asked for it does not want it any more."""


def extract_all(jobs: Sequence[Job], settings: Settings, processes: int) -> Report:
    """Extracts the tracks of videos and shows how far it is.

    Args:
        jobs: the videos and where their tracks go.
        settings: how tracks are made.
        processes: how many videos are done at once; 1 does them in this process.
    """
    report = Report()
    with Bar(len(jobs)) as bar:
        if processes <= 1 or len(jobs) <= 1:
            threads = cv2.getNumThreads()
            cv2.setNumThreads(1)  # a frame is too small to share out
            for job in jobs:
                report.add(job, lambda job=job: extract(job, settings, bar.frame))  # type: ignore[misc]
                bar.video(job)
            cv2.setNumThreads(threads)
            return report
        for job, future in elsewhere(jobs, settings, min(processes, len(jobs)), bar):
            report.add(job, future.result)
            bar.video(job)
    order = {job: place for place, job in enumerate(jobs)}
    report.done.sort(key=lambda entry: order[entry[0]])
    report.failures.sort(key=lambda entry: order[entry[0]])
    return report


def elsewhere(
    jobs: Sequence[Job], settings: Settings, processes: int, bar: Bar
) -> Iterator[tuple[Job, Future[Done]]]:
    """Results of worker processes, as they come."""
    context = multiprocessing.get_context("spawn")  # a fork copies locks that threads hold
    frames, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(processes, context, initializer=begin, initargs=(frames, stop))
    futures = {pool.submit(work, job, settings): job for job in jobs}
    left = set(futures)
    try:
        while left:
            finished, left = wait(left, timeout=0.2, return_when=FIRST_COMPLETED)
            bar.frames(frames.value)
            for future in finished:
                yield futures[future], future
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


SHARED: list[Any] = []
"""In a worker: the count of frames of all workers, and whether to stop."""


def begin(frames: Any, stop: Any) -> None:
    """Begins a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started us tells us to stop
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    SHARED[:] = frames, stop


def work(job: Job, settings: Settings) -> Done:
    """One video, in a worker."""
    frames, stop = SHARED
    parent = multiprocessing.parent_process()
    mine = 0

    def progress() -> None:
        nonlocal mine
        mine += 1
        if mine % EVERY == 0:
            with frames.get_lock():
                frames.value += EVERY
            if stop.is_set() or parent is None or not parent.is_alive():
                raise Stopped

    return extract(job, settings, progress)


class Bar:
    """Counts videos and frames.

    Args:
        total: videos.
    """

    def __init__(self, total: int) -> None:
        self.progress = Progress(
            TextColumn("Tracking"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("videos, {task.fields[frames]:,} frames"),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            disable=getattr(rank_zero_only, "rank", 0) != 0,
        )
        self.task = self.progress.add_task("", total=total, frames=0)
        self.count = 0

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def frame(self) -> None:
        """One more frame."""
        self.frames(self.count + 1)

    def frames(self, count: int) -> None:
        """How many frames there have been."""
        self.count = count
        self.progress.update(self.task, frames=count)

    def video(self, job: Job) -> None:
        """A video is done."""
        self.progress.update(self.task, advance=1, description=job.name)


def jobs_of(videos: Sequence[tuple[Path, str]], out: Path, overwrite: bool = False) -> list[Job]:
    """Tracks beside each other as the videos are; two of one stem keep their suffixes.

    Args:
        videos: paths and names relative to their folder.
        out: folder for the tracks.
        overwrite: whether tracks of something else may be replaced.
    """
    stems = [Path(name).with_suffix("").as_posix() for _, name in videos]
    targets = [
        out / (stem if stems.count(stem) == 1 else name)
        for stem, (_, name) in zip(stems, videos, strict=True)
    ]
    return [
        Job(video, name, target, overwrite=overwrite)
        for (video, name), target in zip(videos, targets, strict=True)
    ]
