"""Recordings one after the other or in several processes, with one progress bar over frames."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

import av
import gymnasium as gym
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from datamodules.recording.envs import Report

EVERY = 15  # frames a report: a message to another process is not for free
PATIENCE = 1.0  # seconds between looks whether the workers are alive
ERRORS = (ValueError, TypeError, OSError, ImportError, gym.error.Error, av.error.FFmpegError)
"""What a wrong setting, a full disk or somebody else's environment may raise."""


class Recording(NamedTuple):
    """What was written."""

    path: Path
    frames: int
    seconds: float
    note: str


class Stopped(BaseException):
    """The recording is given up, as the process that asked for it does not want it any more."""


Record = Callable[[int, Report], Recording]
"""Makes the n-th recording."""
Opener = Callable[[], Record]
"""What a process calls once to be able to record."""


class Message(NamedTuple):
    """From a worker: how far the recording is, or that it is done, or what went wrong."""

    number: int
    frames: int = 0
    note: str = ""
    done: Recording | None = None
    error: str = ""


class Bar:
    """Progress over the frames of all recordings; those that end early are taken off the total."""

    def __init__(self, count: int, frames: int) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("frames"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.frames = frames
        self.total = count * frames
        self.task = self.progress.add_task("recording", total=self.total)
        self.reached: dict[int, int] = {}

    def show(self, message: Message) -> None:
        """Moves on."""
        self.reached[message.number] = message.frames
        if message.done:
            self.reached[message.number] = message.done.frames
            self.total -= self.frames - message.done.frames
        self.progress.update(
            self.task,
            completed=sum(self.reached.values()),
            total=self.total,
            description=message.note or "recording",
        )


def record_all(opener: Opener, count: int, frames: int, processes: int) -> Iterator[Recording]:
    """Makes recordings and shows how far they are.

    Args:
        opener: must be picklable where there are several processes.
        count: how many recordings.
        frames: the most frames of one.
        processes: how many processes make them; 1 is this one.

    Yields:
        Each recording when it is finished.

    Raises:
        ValueError: with the reason, if one cannot be made; the others are given up.
    """
    bar = Bar(count, frames)
    with bar.progress:
        if processes > 1 and count > 1:
            yield from elsewhere(opener, count, min(processes, count), bar.show)
            return
        record = opener()
        for index in range(count):

            def report(at: int, note: str, index: int = index) -> None:
                bar.show(Message(index, at, note))

            done = record(index, report)
            bar.show(Message(index, done=done))
            yield done


def elsewhere(
    opener: Opener, count: int, processes: int, show: Callable[[Message], None]
) -> Iterator[Recording]:
    """Recordings by worker processes, as they come."""
    context = multiprocessing.get_context("spawn")  # a fork copies locks that threads hold
    messages: Queue[Message] = context.Queue()
    following, stop = context.Value("i", 0), context.Event()
    arguments = (opener, count, following, stop, messages)
    workers = [context.Process(target=work, args=arguments) for _ in range(processes)]
    for worker in workers:
        worker.start()
    try:
        left = count
        while left:
            try:
                message = messages.get(timeout=PATIENCE)
            except Empty:
                if not all(worker.is_alive() or worker.exitcode == 0 for worker in workers):
                    raise ValueError("a process died, perhaps for want of memory") from None
                continue
            if message.error:
                raise ValueError(message.error)
            show(message)
            if message.done:
                left -= 1
                yield message.done
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def work(opener: Opener, count: int, following: Any, stop: Any, messages: Queue[Message]) -> None:
    """A worker process: takes the next recording until there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started us tells us to stop
    parent = multiprocessing.parent_process()
    index = 0

    def report(at: int, note: str) -> None:
        if stop.is_set() or parent is None or not parent.is_alive():
            raise Stopped
        messages.put(Message(index, at, note))

    try:
        record = opener()
        while not stop.is_set():
            with following.get_lock():
                index, following.value = following.value, following.value + 1
            if index >= count:
                return
            messages.put(Message(index, done=record(index, report)))
    except ERRORS as error:
        messages.put(Message(index, error=str(error)))
    except Stopped:
        messages.cancel_join_thread()  # nobody may be there to read
