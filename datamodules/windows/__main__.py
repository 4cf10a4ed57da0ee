"""Sees to videos before they are segmented: `python -m datamodules.windows split|check`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from datamodules.windows.check import check
from datamodules.windows.split import split


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m datamodules.windows", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)

    cut = verbs.add_parser("split", help="cut long videos into parts, labels beside them as well")
    cut.add_argument("source", metavar="DIR", help="a folder, or one file")
    cut.add_argument("out", metavar="OUT", type=Path, help="where the parts go, lossless")
    cut.add_argument("--seconds", type=float, default=40.0, help="longest part (default 40)")
    cut.add_argument("--workers", type=int, default=1, help="processes (default 1)")

    look = verbs.add_parser("check", help="list corrupt videos, and remove them")
    look.add_argument("source", metavar="DIR", help="a folder, or one file")
    look.add_argument("--dry-run", action="store_true", help="list them and remove nothing")
    look.add_argument("--workers", type=int, default=1, help="processes (default 1)")

    given = parser.parse_args(argv)
    try:
        if given.verb == "split":
            failed = bool(split(given.source, given.out, given.seconds, given.workers))
        else:
            failed = bool(check(given.source, given.dry_run, given.workers)) and given.dry_run
    except (OSError, ValueError) as error:
        raise SystemExit(f"windows: error: {error}") from None
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
