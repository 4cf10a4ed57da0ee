"""Random 16-frame clips a CPU-second and wrong clips: ours against cv2, PyAV and torchcodec.

Every frame of the files carries its number, so a clip is right if it shows the frames asked for.
All decode on one thread and hand over RGB, but `cached`, which hands over what goes to the device:
palette indices where the file has few colours; `cached_rgb` looks them up. They take turns within
a round, so that whatever else the machine does falls on all of them alike; CPU time counts all
threads. The cache is filled before, which takes `seconds_to_fill`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import av
import cv2
import numpy as np
import torch

from benchmarks.numbered_video import WRITERS, number_of, write_numbered
from datamodules.pixels import clips_to_rgb
from datamodules.video.cache import open_recordings
from datamodules.video.decoder import Rgb
from datamodules.video.store import Palette, Pixels

SIZE = (240, 256)
LENGTH = 16
Contender = Callable[[int], Any]
"""From the number of the first frame to RGB `(16, h, w, 3)`, or what `Recording.frames` returns."""


def main(argv: list[str]) -> dict[str, Any]:
    """Figures of each kind of file, and their medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks video", description=__doc__)
    parser.add_argument("--files", nargs="+", choices=list(WRITERS), default=list(WRITERS))
    parser.add_argument("--frames", type=int, default=600, help="length of each file")
    parser.add_argument("--clips", type=int, default=20, help="clips a contender and round")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: compare(Path(folder), name, options.frames, options.clips, options.rounds)
            for name in options.files
        }
    names = next(iter(files.values()))
    return {
        "clip_frames": LENGTH,
        "height_width": SIZE,
        "clips_a_file": options.clips * options.rounds,
        "torchcodec": "compared" if torchcodec_works() else "not installed",
        "median": {
            name: median(row[name] for row in files.values())
            for name in names
            if not name.endswith("_wrong")
        },
        "wrong": {
            name: sum(row[name] for row in files.values())
            for name in names
            if name.endswith("_wrong")
        },
        "files": files,
    }


def compare(folder: Path, name: str, frames: int, clips: int, rounds: int) -> dict[str, float]:
    """Clips a CPU-second and wrong clips of each contender, and ratios taken within a round."""
    path = write_numbered(folder, name, frames, SIZE)
    begin = time.process_time()
    (cached,) = open_recordings(path, None, str(folder / "cache"))
    row = {"seconds_to_fill": time.process_time() - begin}
    (uncached,) = open_recordings(path)
    contenders: dict[str, Contender] = {
        "cached": lambda start: cached.frames(np.arange(start, start + LENGTH)),
        "cached_rgb": lambda start: ready(cached.frames(np.arange(start, start + LENGTH))),
        "uncached": lambda start: uncached.frames(np.arange(start, start + LENGTH))[0],
        "cv2": by_cv2(path),
        "pyav": by_pyav(path),
    }
    if torchcodec_works():
        contenders["torchcodec"] = by_torchcodec(path)
    rng = np.random.default_rng(0)
    rates: dict[str, list[float]] = {contender: [] for contender in contenders}
    wrong = dict.fromkeys(contenders, 0)
    for _ in range(rounds):
        starts = rng.integers(0, frames - LENGTH, clips).tolist()
        for contender, read in contenders.items():
            seconds, errors = attempt(read, starts)
            rates[contender].append(clips / seconds)
            wrong[contender] += errors
    for contender in contenders:
        row[f"{contender}_clips_per_cpu_second"] = median(rates[contender])
        row[f"{contender}_wrong"] = wrong[contender]
        for one in ("cached", "cached_rgb"):
            if not contender.startswith("cached"):
                pairs = zip(rates[one], rates[contender], strict=True)
                row[f"{one}_over_{contender}"] = median(ours / theirs for ours, theirs in pairs)
    return {key: round(value, 2) for key, value in row.items()}


def attempt(read: Contender, starts: list[int]) -> tuple[float, int]:
    """CPU seconds for the clips that begin with these frames, and how many of them are wrong."""
    seconds, wrong = 0.0, 0
    for start in starts:
        begin = time.process_time()
        try:
            clip = read(start)
        except (RuntimeError, IndexError, ValueError, av.error.FFmpegError):
            clip = []
        seconds += time.process_time() - begin
        rgb = looked_up(*clip) if isinstance(clip, tuple) else clip
        wrong += [number_of(frame) for frame in rgb] != list(range(start, start + LENGTH))
    return seconds, wrong


def looked_up(frames: Pixels, palette: Palette | None) -> Pixels:
    """RGB `(t, h, w, 3)`."""
    if palette is None:
        return frames
    return palette.view(np.uint8).reshape(256, 4)[:, :3][frames]


def ready(clip: tuple[Pixels, Palette | None]) -> Pixels:
    """RGB as the datamodule makes it of a batch on the CPU, seen as `(t, h, w, 3)`."""
    frames, palette = clip
    palettes = np.zeros((1, 256), np.int32) if palette is None else palette[None]
    video = clips_to_rgb(torch.from_numpy(frames)[None], torch.from_numpy(palettes))[0]
    return video.movedim(0, -1).numpy()


def by_cv2(path: Path) -> Contender:
    """OpenCV, seeking by the number of the frame."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])

    def read(start: int) -> Rgb:
        capture.set(cv2.CAP_PROP_POS_FRAMES, start)
        pictures = (capture.read()[1] for _ in range(LENGTH))
        return np.stack([cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) for picture in pictures])

    return read


def by_pyav(path: Path) -> Contender:
    """PyAV, seeking to the time of the frame at the file's rate."""
    container = av.open(str(path))
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    rate, base = stream.average_rate, stream.time_base
    assert rate is not None
    assert base is not None
    first = stream.start_time or 0

    def read(start: int) -> Rgb:
        target = round(start / rate / base) + first
        container.seek(target, stream=stream)
        pictures: list[Any] = []
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts >= target:
                pictures.append(frame.to_ndarray(format="rgb24"))
            if len(pictures) == LENGTH:
                break
        return np.stack(pictures)

    return read


def torchcodec_works() -> bool:
    """Whether it is installed and finds FFmpeg's libraries."""
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def by_torchcodec(path: Path) -> Contender:
    """The default mode, which reads through the file once so as to be exact."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1)

    def read(start: int) -> Rgb:
        frames: Rgb = decoder.get_frames_in_range(start, start + LENGTH).data.numpy()
        return frames

    return read
