"""Checkpoints that are whole or not there, and a run that outlives a disk that is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_warn

from lit_modules.checkpoints import FORMAT, read_or_newest
from lit_modules.sealed_file import write_sealed

WITHHELD = "withheld"
"""Entry by which a callback keeps a checkpoint from being written, with its reason."""


class SafeCheckpoint(TorchCheckpointIO):
    """Writes checkpoints in one move, with their SHA-256, and reads none that has changed since.

    Lightning's own plugin writes to `$TMPDIR` first and moves from there: on another file system
    that is a copy, which a kill cuts in two. A checkpoint that cannot be written is a warning; then
    the last good ones stay, also those that Lightning asks to remove, until one is written again.
    A damaged one is named, and the newest whole one of its folder read in its place.
    """

    def __init__(self) -> None:
        self.failed = False
        self._spared: list[Path] = []

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Saves; Lightning calls this on rank 0 alone."""
        if storage_options is not None:
            raise TypeError("SafeCheckpoint writes local files and takes no storage_options")
        reason = checkpoint.pop(WITHHELD, None)
        try:
            if reason is None:
                write_sealed(checkpoint | {"litarcade_format": FORMAT}, Path(path))
        except OSError as error:
            reason = error.strerror or str(error)
        self.failed = reason is not None
        if self.failed:
            step = checkpoint.get("global_step")
            rank_zero_warn(
                f"{path} was not written at step {step} ({reason}); training goes on, the last "
                "good checkpoint stays"
            )
            return
        spared, self._spared = self._spared, []
        for old in spared:
            if old != Path(path):
                super().remove_checkpoint(old)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads onto the CPU, by `weights_only=True` whatever is asked for.

        Raises:
            FileNotFoundError: no such file.
            ValueError: neither it nor any other of its folder is whole.
        """
        return read_or_newest(path)[1]

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a checkpoint, unless what was to take its place could not be written."""
        if self.failed:
            self._spared.append(Path(path))
        else:
            super().remove_checkpoint(path)
