"""Long videos cut into parts, and the labels beside them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from datamodules.labels import SUFFIX, UNREADABLE
from datamodules.video.decoder import Rgb
from datamodules.video.decoding import VideoError, read_frames
from datamodules.video.encoding import write_video
from datamodules.windows.feed import Video, list_sources


def split(source: str, out: Path, seconds: float = 40.0, workers: int = 1) -> list[str]:
    """Cuts every video into parts named `<video>_000.avi` and so on, lossless.

    A part holds the frames of `seconds` seconds by the timestamps of the video; the last one may
    be shorter. Of the labels, everything that has one row a frame goes with its frames. Parts that
    are there already stay as they are.

    Args:
        source: a folder, or one file.
        out: folder for the parts; made if missing.
        seconds: longest part, above 0.
        workers: processes that decode and encode.

    Returns:
        What could not be read, with the reason; what lies before the damage is in the parts.

    Raises:
        ValueError: if there is no video, or `seconds` is not above 0.
    """
    if not seconds > 0:
        raise ValueError(f"seconds {seconds} leave nothing of a video; give a number above 0")
    out.mkdir(parents=True, exist_ok=True)
    videos = list_sources(source)
    job = partial(split_one, out=out, seconds=seconds)
    with ProcessPoolExecutor(workers) as pool:
        problems = list(track(pool.map(job, videos), "videos", total=len(videos)))
    parts = sum(1 for _ in out.glob("*.avi"))
    print(f"{parts} parts of {len(videos)} videos in {out}")
    failed = [problem for problem in problems if problem]
    for problem in failed:
        print(problem)
    return failed


def split_one(video: Video, out: Path, seconds: float) -> str | None:
    """Cuts one video; what is wrong with it, or None."""
    problems: list[str] = []
    frames = until_damage(video.path, problems)
    labels = read_arrays(Path(video.path))
    number = done = 0
    first = next(frames, None)
    while first is not None:
        part = out / f"{video.name}_{number:03d}.avi"
        taken = Taken(first, frames, (number + 1) * seconds)
        if part.exists():
            for _ in taken:
                pass
        else:
            rate = taken.rate()
            write_video(part, taken, rate, "h264")
            cut = {name: rows[done : done + taken.count] for name, rows in labels.items()}
            if cut:
                cut["seconds"] = np.arange(taken.count) / rate
                np.savez_compressed(part.with_suffix(SUFFIX), **cut)
        first, done, number = taken.rest, done + taken.count, number + 1
    return problems[0] if problems else None


def until_damage(path: str, problems: list[str]) -> Iterator[tuple[Rgb, float]]:
    """The frames of a video; what ends them early goes to `problems`."""
    try:
        yield from read_frames(path)
    except VideoError as error:
        problems.append(f"{path}: {error}")


class Taken:
    """The frames of a part.

    Args:
        first: its first frame.
        frames: those behind.
        end: seconds before which it ends.
    """

    def __init__(
        self, first: tuple[Rgb, float], frames: Iterator[tuple[Rgb, float]], end: float
    ) -> None:
        self.frames, self.end = chain([first], frames), end
        self.count = 0
        self.rest: tuple[Rgb, float] | None = None
        """The first frame of the next part, None at the end of the video."""

    def rate(self) -> float:
        """Frames a second of the first frames."""
        ahead = list(islice(self.frames, 31))
        self.frames = chain(ahead, self.frames)
        span = ahead[-1][1] - ahead[0][1]
        return round((len(ahead) - 1) / span, 3) if span > 0 else 30.0

    def __iter__(self) -> Iterator[Rgb]:
        for pixels, seconds in self.frames:
            if seconds >= self.end - 1e-6:
                self.rest = pixels, seconds
                return
            self.count += 1
            yield pixels


def read_arrays(path: Path) -> dict[str, Any]:
    """Everything in the labels beside a video that has one row a frame."""
    try:
        with np.load(path.with_name(path.stem + SUFFIX), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file}
    except UNREADABLE:
        return {}
    frames = len(arrays.get("action", ()))
    return {name: rows for name, rows in arrays.items() if rows.ndim and len(rows) == frames}
