"""Videos to tracks, and tracks to and from HDF5, by the command line."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from datamodules.tracking.batch import extract_all, jobs_of
from datamodules.tracking.collection import list_files
from datamodules.tracking.extract import PART_STEPS, Settings
from datamodules.tracking.hdf5 import HORIZON, SUFFIXES, import_hdf5, write_hdf5
from datamodules.tracking.motion import STEP_FPS
from datamodules.tracking.store import SUFFIX, TracksError, TracksFile, views_of
from datamodules.tracking.trackers import TRACKERS
from datamodules.video.folder import list_videos

PROGRAM = "python -m datamodules.tracking"
EXAMPLES = f"""examples:
  {PROGRAM} extract --input data_video/breakout --out tracks/breakout --processes 4
  {PROGRAM} export-hdf5 --input tracks/breakout --out hdf5/breakout
  {PROGRAM} check --input tracks/breakout --delete

A verb that was stopped goes on where it was when it is given again. Exit status: 0 all was done; 1
something could not be done, the rest was; 2 wrong usage; 130 stopped."""


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, out: str | None) -> Any:
        one = verbs.add_parser(name, help=text, description=f"{text.capitalize()}.")
        one.add_argument("--input", type=Path, required=True, metavar="DIR", help="folder, looked "
            "through to its bottom, or one file")  # fmt: skip
        if out:
            one.add_argument("--out", type=Path, required=True, metavar="DIR", help=f"folder for "
                f"{out}, made if missing")  # fmt: skip
            one.add_argument("--overwrite", action="store_true", help="write over what was made of "
                "something else or in another way")  # fmt: skip
        return one.add_argument

    add = verb("extract", "track the points of a grid through videos", f"<name>{SUFFIX}")
    add("--tracker", choices=TRACKERS, default=TRACKERS[0], help="lucas_kanade; dis, for pictures "
        "that move all over; cotracker, a network (default: %(default)s)")  # fmt: skip
    add("--checkpoint", metavar="FILE", help="of cotracker: its weights")
    add("--grid", type=int, default=20, metavar="N", help="points in a row and in a column "
        "(default: %(default)s)")  # fmt: skip
    add("--resize_shorter", type=int, metavar="PIXELS", help="shrink the shorter side of larger "
        "frames to this before tracking (default: the frame's own size)")  # fmt: skip
    add("--pre_gate", type=int, default=8, metavar="LEVEL", help="brightness of 255 by which a "
        "pixel of a cell must change, else its point is still (default: %(default)s)")  # fmt: skip
    add("--images", action="store_true", help="keep a small picture of every fourth step")
    add("--part_steps", type=int, default=PART_STEPS, metavar="N", help="steps of 1/20 s after "
        "which a long video gets another file (default: %(default)s, ten minutes)")  # fmt: skip
    add("--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="videos that are "
        "done at once (default: %(default)s)")  # fmt: skip
    add = verb(
        "import-hdf5", "read root/<view>/{tracks,vis} of HDF5 files", f"<name>.<view>{SUFFIX}"
    )
    add("--fps", type=float, default=STEP_FPS, help="frames a second of the files (default: "
        "%(default)s)")  # fmt: skip
    add = verb("export-hdf5", "write tracks as root/<view>/{tracks,vis}", "<name>.hdf5")
    add("--horizon", type=int, default=HORIZON, metavar="N", help="frames that the points are "
        "followed for (default: %(default)s)")  # fmt: skip
    add = verb("check", f"list files *{SUFFIX} that cannot be read", None)
    add("--delete", action="store_true", help="delete them, so that extract makes them anew")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Does what the command line asks for."""
    parser = arguments()
    options = parser.parse_args(argv)

    def fail(status: int, reason: object) -> NoReturn:
        parser.exit(status, f"{PROGRAM}: error: {' '.join(str(reason).split())}\n")

    terminate: Any = signal.signal(signal.SIGTERM, interrupt)
    try:
        if not options.input.exists():
            raise ValueError(f"there is no {options.input}; set --input to a folder or file")
        failures = VERBS[options.verb](options)
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("LITARCADE_TRACEBACK"):
            raise
        fail(1, error)
    except KeyboardInterrupt:
        fail(130, "stopped; give the same command to go on")
    finally:
        signal.signal(signal.SIGTERM, terminate)
    for path, reason in failures:
        print(f"failed: {path}: {reason}")
    if failures:
        fail(1, f"{len(failures)} file(s) could not be used, the others are done")


Failures = list[tuple[Path, str]]


def extract(options: argparse.Namespace) -> Failures:
    """Tracks videos."""
    root, videos = list_videos(str(options.input), episodes=True)
    if not videos:
        raise ValueError(f"{options.input} holds no videos; set --input to a folder that does")
    settings = Settings(
        options.tracker,
        {
            "grid": options.grid,
            "resize_shorter": options.resize_shorter,
            "still_difference": options.pre_gate,
            **({"checkpoint": options.checkpoint} if options.checkpoint else {}),
        },
        options.images,
        options.part_steps,
    )
    settings.make()  # what is wrong with them is wrong for all videos
    names = [(video, video.relative_to(root).as_posix()) for video in videos]
    jobs = jobs_of(names, options.out, options.overwrite)
    report = extract_all(jobs, settings, options.processes)
    for job, done in report.done:
        for damage in done.damages:
            print(f"damaged: {job.video}: {damage} ({done.frames} good frames are used)")
    steps, new = (sum(getattr(done, name) for _, done in report.done) for name in ("steps", "new"))
    print(f"{len(report.done)} videos, {steps:,} steps ({new:,} new) in {options.out}")
    return [(job.video, reason) for job, reason in report.failures]


def import_all(options: argparse.Namespace) -> Failures:
    """Reads HDF5 files."""
    files, root = files_below(options.input, SUFFIXES)
    failures, made = [], 0
    for path in files:
        name = path.relative_to(root).as_posix()
        target = options.out / Path(name).with_suffix("")
        try:
            made += len(import_hdf5(path, name, target, options.fps, options.overwrite))
        except ValueError as error:
            failures.append((path, str(error)))
    print(f"{made} files in {options.out}")
    return failures


def export_all(options: argparse.Namespace) -> Failures:
    """Writes HDF5 files."""
    files, _ = files_below(options.input, (SUFFIX,))
    failures: Failures = []
    videos: dict[Path, list[TracksFile]] = {}
    for path in files:
        try:
            file = TracksFile(path)
        except TracksError as error:
            failures.append((path, str(error)))
        else:
            target = options.out / Path(file.about.name).with_suffix(".hdf5")
            videos.setdefault(target, []).append(file)
    for target, parts in videos.items():
        try:
            if options.overwrite or not target.exists():
                write_hdf5(target, views_of(parts), options.horizon)
        except TracksError as error:
            failures.append((target, str(error)))
    print(f"{len(videos)} videos in {options.out}")
    return failures


def check(options: argparse.Namespace) -> Failures:
    """Lists bad files."""
    files, _ = files_below(options.input, (SUFFIX,))
    failures = []
    for path in files:
        try:
            TracksFile(path)
        except TracksError as error:
            failures.append((path, str(error)))
            if options.delete:
                path.unlink()
    gone = " and are deleted" if options.delete else ""
    print(f"{len(files)} files, {len(failures)} of which cannot be read{gone}")
    return [] if options.delete else failures


def files_below(path: Path, suffixes: Sequence[str]) -> tuple[list[Path], Path]:
    """Files of some kind, and the folder that their names are relative to."""
    files = list_files(path, suffixes)
    if not files:
        raise ValueError(f"{path} holds no {' or '.join(suffixes)}; set --input to what does")
    return files, path.parent if path.is_file() else path


def interrupt(*_: object) -> None:
    """What `kill` does is what Ctrl+C does."""
    raise KeyboardInterrupt


VERBS = {"extract": extract, "import-hdf5": import_all, "export-hdf5": export_all, "check": check}

if __name__ == "__main__":
    main()
