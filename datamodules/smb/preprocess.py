"""Episodes of PNG frames to lossless videos with labels: a thousandth of the files, exact pixels.

The report in the output folder is also the memory of the work: an episode that it lists as
finished is not done again, one that it lists as begun is begun again.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from datamodules.clip.split import level_of
from datamodules.labels import SUFFIX
from datamodules.recording.envs import Shot, Take
from datamodules.recording.writer import write_avi
from datamodules.smb.report import REPORT, Episode, PreprocessError, Report, video_of
from datamodules.smb_format import OUTCOMES, SmbFrame, episodes, frame_number, read_frame
from datamodules.video.decoding import VideoError
from datamodules.video.folder import list_videos
from datamodules.video.sources import NOMINAL_RATE

LOSSLESS = ("h264", "ffv1")


class Numbered(NamedTuple):
    """A good frame."""

    number: int
    """Of the emulated frame."""
    name: str
    frame: SmbFrame
    stretch: int
    """Counts the gaps before it."""


def preprocess(
    input_dir: Path, output_dir: Path, codec: str = "h264", overwrite: bool = False
) -> Report:
    """Turns every episode below a folder into a video with labels; goes on where it stopped.

    An episode `a/b/<name>` becomes `a/b/<name>.avi` and `a/b/<name>.labels.npz`. Frames that
    cannot be repaired are left out and named; as no video reaches over a gap, frames behind one go
    to `<name>_f<number of the first>.avi`.

    Args:
        input_dir: folder of episodes in the format of `smb_format`.
        output_dir: folder for the videos and `report.json`; made if missing.
        codec: one of `LOSSLESS`.
        overwrite: whether to begin anew where the folder holds results of something else.

    Raises:
        PreprocessError: if there is nothing to do or it would overwrite something.
    """
    input_dir = input_dir.resolve()
    if not input_dir.is_dir():
        raise PreprocessError(f"there is no folder {input_dir}; set --input_dir to the episodes")
    folders = [path for path in list_videos(str(input_dir), episodes=True)[1] if path.is_dir()]
    if not folders:
        raise PreprocessError(
            f"{input_dir} holds no frames such as me_s1_e1_1-1_f1_a0_2026-01-01_00-00-00.win.png; "
            "set --input_dir to a folder of episodes (videos need no preprocessing)"
        )
    root = input_dir.parent if input_dir in folders else input_dir  # one episode alone
    with locked(output_dir):
        if overwrite:
            (output_dir / REPORT).unlink(missing_ok=True)
        report = Report(output_dir, codec)
        names = {path: path.relative_to(root).as_posix() for path in folders}
        files = {path: episodes(path) for path in folders}
        sources = {path: digest(files[path]) for path in folders}
        if not overwrite:
            for path in folders:
                report.refuse_to_overwrite(names[path], sources[path])
        with progress_bar(sum(map(len, files.values()))) as (progress, task):
            for path in folders:
                name = names[path]
                progress.update(task, description=path.name)
                if not (known := report.episodes.get(name)) or not known.finished:
                    report.episodes[name] = Episode(sources[path], level_of(path.name))
                    report.save()  # what is begun may be written over
                    count = partial(progress.advance, task)
                    convert(files[path], output_dir / name, codec, report.episodes[name], count)
                    report.save()
                else:
                    progress.advance(task, len(files[path]))
    return report


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes a folder and keeps other processes of this program out of it.

    Raises:
        PreprocessError: if one is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise PreprocessError(f"another process writes to {folder}; wait for it") from None
    finally:
        os.close(handle)


@contextmanager
def progress_bar(total: int) -> Iterator[tuple[Progress, TaskID]]:
    """Counts frames."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("frames"), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True)) as bar:
        yield bar, bar.add_task("", total=total)


def digest(files: list[Path]) -> str:
    """Tells whether an episode is still the same, without reading it."""
    states = ((path.name, os.lstat(path)) for path in files)
    text = "\n".join(f"{name} {s.st_size} {s.st_mtime_ns}" for name, s in states)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def convert(
    files: list[Path], target: Path, codec: str, result: Episode, count: Callable[[], object]
) -> None:
    """Writes the videos of one episode.

    Args:
        files: in the order of their numbers.
        target: path of the videos, less what `video_of` adds.
        codec: one of `LOSSLESS`.
        result: is told what has become of it.
        count: called once a file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    clear(target)
    numbers = [frame_number(path) for path in files]
    step = max(1, int(np.median(np.diff(numbers)))) if len(numbers) > 1 else 1
    frames = good_frames(files, step, result, count)
    for _, group in groupby(frames, key=lambda frame: frame.stretch):
        stretch = iter(group)
        first, *more = islice(stretch, 2)
        if not more:
            result.quarantined.append((first.name, "it is alone between gaps"))
            continue
        video = video_of(target, first.number if result.videos else None)
        shots = (
            Shot(frame.palette[frame.indices], frame.buttons, frame.ram)
            for _, _, frame, _ in chain([first], more, stretch)
        )
        result.outcome = OUTCOMES.get(first.frame.outcome)
        fps = NOMINAL_RATE / step
        length = write_avi(video, Take(shots, outcome=first.frame.outcome), fps, codec)
        result.videos.append(video.name)
        result.frames += length
        result.seconds += length / fps
    result.finished = True


def clear(target: Path) -> None:
    """Removes what an earlier process has made of an episode, or left behind when it was killed."""
    name = glob.escape(target.name)
    for pattern in (f"{name}.avi", f"{name}_f*.avi", f".{name}*.avi.*"):
        for path in target.parent.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.with_suffix(SUFFIX).unlink(missing_ok=True)
                path.unlink()


def good_frames(
    files: list[Path], step: int, result: Episode, count: Callable[[], object]
) -> Iterator[Numbered]:
    """The frames that can be read, in order; the others go into `result`.

    Args:
        files: in the order of their numbers.
        step: emulated frames from one frame to the next; another distance is a gap.
        result: is told what is left out.
        count: called once a file.
    """
    stretch, before = 0, (0, (0, 0))
    for path in files:
        count()
        try:
            frame = read_frame(path)
        except (VideoError, OSError) as error:
            result.quarantined.append((path.name, str(error)))
            continue
        number = frame_number(path)
        if before[1] != (0, 0) and (number - before[0], frame.indices.shape) != (step, before[1]):
            stretch += 1
        before = (number, frame.indices.shape)
        yield Numbered(number, path.name, frame, stretch)
