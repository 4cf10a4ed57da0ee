"""Which videos of a folder cannot be read to their end."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.progress import track

from datamodules.labels import SUFFIX
from datamodules.video.decoding import VideoError, read_frames
from datamodules.windows.feed import list_sources


def check(source: str, dry_run: bool = True, workers: int = 1) -> dict[str, str]:
    """Decodes every video to its end, and shows those that are damaged.

    Args:
        source: a folder, or one file.
        dry_run: remove nothing; else damaged videos are deleted, and labels beside them.
        workers: processes that decode.

    Returns:
        What is wrong with each damaged video, by its path.

    Raises:
        ValueError: if there is no video.
    """
    paths = [video.path for video in list_sources(source)]
    with ProcessPoolExecutor(workers) as pool:
        reasons = list(track(pool.map(problem, paths), "videos", total=len(paths)))
    damaged = {path: why for path, why in zip(paths, reasons, strict=True) if why}
    for path, why in damaged.items():
        print(f"{path}: {why}")
        if not dry_run and Path(path).is_file():
            Path(path).unlink()
            Path(path).with_name(Path(path).stem + SUFFIX).unlink(missing_ok=True)
    fate = ("; nothing was removed" if dry_run else "; they were removed") if damaged else ""
    print(f"{len(damaged)} of {len(paths)} videos are damaged{fate}")
    return damaged


def problem(path: str) -> str | None:
    """What is wrong with a video, None if it can be read to its end."""
    try:
        for _ in read_frames(path):
            pass
    except VideoError as error:
        return str(error)
    return None
