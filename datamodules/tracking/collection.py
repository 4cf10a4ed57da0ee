"""The tracks of a folder: those that lie in it, or those of its videos or HDF5 files, made once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from datamodules.tracking.batch import extract_all
from datamodules.tracking.extract import Job, Settings
from datamodules.tracking.hdf5 import SUFFIXES, import_hdf5, key_of
from datamodules.tracking.motion import STEP_FPS
from datamodules.tracking.store import SUFFIX, TracksError, TracksFile, parts_of
from datamodules.video.decoding import VideoError, explain
from datamodules.video.folder import list_videos, natural
from datamodules.video.quarantine import Quarantine


def open_tracks(
    folder: str,
    settings: Settings,
    cache: Path,
    processes: int = 1,
    strict: bool = False,
    hdf5_fps: float = STEP_FPS,
) -> list[TracksFile]:
    """Opens all tracks of a folder.

    Args:
        folder: folder or file of tracks, of HDF5 files or of videos; what is named first here
            counts where there are several kinds.
        settings: how videos are tracked.
        cache: folder where tracks of videos and HDF5 files are kept.
        processes: videos that are tracked at once.
        strict: whether a bad file ends the run.
        hdf5_fps: frames a second of HDF5 files.

    Raises:
        ValueError: if nothing can be read.
        VideoError: if a file is bad and `strict` is set.
    """
    root = Path(folder).parent if Path(folder).is_file() else Path(folder)
    quarantine = Quarantine(root, strict)
    # A cache that lies in the folder of the videos holds no tracks that somebody put there.
    ready = [path for path in list_files(folder, (SUFFIX,)) if cache not in path.parents]
    if ready:
        found = list(opened(ready, quarantine))
    elif foreign := list_files(folder, SUFFIXES):
        found = list(opened(imported(foreign, root, cache, hdf5_fps, quarantine), quarantine))
    else:
        found = list(tracked(folder, settings, cache, processes, quarantine))
    quarantine.show()
    if not found:
        raise ValueError(
            f"no readable video, *{SUFFIX} or HDF5 file in {folder}; set data.data_dir to a folder "
            f"that has some, or record some: litarcade-record --env ALE/Breakout-v5 --out {folder}"
        )
    return found


def list_files(folder: str | Path, suffixes: Sequence[str]) -> list[Path]:
    """Files of some kind below a folder, or the one file, in natural order."""
    root = Path(folder)
    paths = [root] if root.is_file() else root.rglob("*")
    return sorted((p for p in paths if p.name.endswith(tuple(suffixes))), key=natural)


def opened(paths: Iterable[Path], quarantine: Quarantine) -> Iterator[TracksFile]:
    """Those files that can be read."""
    for path in paths:
        try:
            yield TracksFile(path)
        except TracksError as error:
            quarantine.add(path, str(error))


def imported(
    paths: Sequence[Path], root: Path, cache: Path, fps: float, quarantine: Quarantine
) -> Iterator[Path]:
    """Tracks of HDF5 files, made where they are not there yet."""
    for path in paths:
        target = cache / f"{path.stem[:40]}-{key_of(path, fps)}"
        try:
            yield from import_hdf5(path, path.relative_to(root).as_posix(), target, fps)
        except TracksError as error:
            quarantine.add(path, str(error))


def tracked(
    folder: str, settings: Settings, cache: Path, processes: int, quarantine: Quarantine
) -> Iterator[TracksFile]:
    """Tracks of videos, made where they are not there yet."""
    root, videos = list_videos(folder, episodes=True)
    jobs = []
    for video in videos:
        try:
            key = settings.key(video)
        except VideoError as error:
            quarantine.add(video, explain(video, str(error)))
        else:
            target = cache / f"{video.stem[:40]}-{key}"
            jobs.append(Job(video, video.relative_to(root).as_posix(), target, key))
    missing = [job for job in jobs if not is_complete(job)]
    if missing:
        report = extract_all(missing, settings, processes)
        for job, reason in report.failures:
            quarantine.add(job.video, reason)
        for job, done in report.done:
            if done.damages:
                quarantine.add(job.video, "; ".join(done.damages), done.frames)
    for job in jobs:
        if is_complete(job):
            yield from parts_of(job.target)


def is_complete(job: Job) -> bool:
    """Whether all tracks of a video are there."""
    parts = list(parts_of(job.target))
    return bool(parts) and parts[-1].about.last
