"""Bad files never stop a run and never pass silently."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from rich.console import Console
from rich.table import Table

from datamodules.video.decoding import VideoError


class Quarantine:
    """What is wrong with which file: one warning a file, a table of all at the end.

    Args:
        root: folder that paths are shown relative to.
        strict: whether the first bad file ends the run.
    """

    def __init__(self, root: Path, strict: bool = False) -> None:
        self.root, self.strict = root, strict
        self.entries: list[tuple[Path, str]] = []

    def add(self, path: Path, reason: str, kept: int = 0) -> None:
        """Notes a file.

        Args:
            path: the file.
            reason: what is wrong with it.
            kept: frames of it that are used all the same.

        Raises:
            VideoError: if the run is strict.
        """
        if self.strict:
            raise VideoError(f"{path}: {reason}; mend or remove it, or set data.strict to false")
        consequence = f"{kept} good frames are used" if kept else "left out"
        self.entries.append((path, f"{reason} ({consequence})" if kept else reason))
        rank_zero_warn(
            f"{path}: {consequence}: {reason}" if kept else f"{path} is left out: {reason}"
        )

    @rank_zero_only
    def show(self) -> None:
        """Prints the table, if there is anything in it."""
        if not self.entries:
            return
        table = Table(title=f"Bad files in {self.root}", title_justify="left")
        table.add_column("file", overflow="fold")
        table.add_column("reason", overflow="fold")
        for path, reason in self.entries:
            shown = path.relative_to(self.root) if path.is_relative_to(self.root) else path
            table.add_row(str(shown), reason)
        Console(stderr=True).print(table)
