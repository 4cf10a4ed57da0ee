"""Super Mario Bros. with the game's state: the datamodule, and preprocessing by the command line.

    python -m datamodules.smb --input_dir smbdataset --output_dir data_video/smb

turns every episode of PNG frames into a lossless video with labels beside it, which all
datamodules of clips read. Run it again and it goes on where it stopped. Exit status: 0 done, also
where single files had to be left out; 1 it could not be done; 2 wrong usage; 130 stopped.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from datamodules.smb.preprocess import LOSSLESS, preprocess
from datamodules.smb.report import REPORT, PreprocessError, Report

SHOWN = 20  # bad files in the terminal; the report names all


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m datamodules.smb",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--input_dir", type=Path, required=True, metavar="DIR", help="folder of episodes in the "
        "format of the smbdataset, looked through to its bottom")  # fmt: skip
    add("--output_dir", type=Path, required=True, metavar="DIR", help="folder for videos, labels "
        "and report.json, made if missing")  # fmt: skip
    add("--codec", choices=LOSSLESS, default=LOSSLESS[0], help="h264 is a tenth of the size, ffv1 "
        "has checksums (default: %(default)s)")  # fmt: skip
    add("--strict", action="store_true", help="exit with 1 if a file had to be left out")
    add("--overwrite", action="store_true", help="begin anew where the folder holds results of "
        "other frames or of another codec")  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Preprocesses what the command line asks for."""
    parser = arguments()
    options = parser.parse_args(argv)

    def fail(status: int, reason: object) -> NoReturn:
        parser.exit(status, f"{parser.prog}: error: {' '.join(str(reason).split())}\n")

    terminate: Any = signal.signal(signal.SIGTERM, interrupt)
    try:
        report = preprocess(options.input_dir, options.output_dir, options.codec, options.overwrite)
    except (PreprocessError, OSError) as error:
        if os.environ.get("LITARCADE_TRACEBACK"):
            raise
        fail(1, error)
    except KeyboardInterrupt:
        fail(130, "stopped; give the same command to go on")
    finally:
        signal.signal(signal.SIGTERM, terminate)
    show(report)
    totals = report.totals()
    print(f"wrote {options.output_dir / REPORT}")
    if not totals["frames"]:
        fail(1, f"not one frame of {options.input_dir} could be used")
    if options.strict and totals["quarantined"]:
        fail(1, f"{totals['quarantined']} files had to be left out")


def interrupt(*_: object) -> None:
    """What `kill` does is what Ctrl+C does."""
    raise KeyboardInterrupt


def show(report: Report) -> None:
    """Prints counts by level, and bad files with their reasons."""
    console = Console(width=None if Console().is_terminal else 160)
    table = Table(title=f"{report.path.parent}", title_justify="left")
    for column in ("level", "episodes", "won", "frames", "seconds", "left out"):
        table.add_column(column, justify="left" if column == "level" else "right")
    levels: dict[str, list[Any]] = {}
    for episode in report.episodes.values():
        row = levels.setdefault(episode.level or "unknown", [0, 0, 0, 0.0, 0])
        facts = (1, episode.outcome == "win", episode.frames, episode.seconds)
        for i, fact in enumerate((*facts, len(episode.quarantined))):
            row[i] += fact
    for level, (count, won, frames, seconds, bad) in sorted(levels.items()):
        table.add_row(level, f"{count}", f"{won}", f"{frames:,}", f"{seconds:,.1f}", f"{bad:,}")
    console.print(table)
    totals = report.totals()
    print(f"{totals['finished']} episodes, {totals['frames']:,} frames")
    bad = [(name, *entry) for name, e in report.episodes.items() for entry in e.quarantined]
    for name, file, reason in bad[:SHOWN]:
        print(f"left out: {name}/{file}: {reason}")
    if len(bad) > SHOWN:
        print(f"and {len(bad) - SHOWN} more, see {report.path}")


if __name__ == "__main__":
    main()
