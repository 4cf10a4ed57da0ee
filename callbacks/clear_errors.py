"""A mistake of the user's ends in one line that names it; a mistake of ours keeps its traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser

_REMEDIES = {
    "No supported gpu backend found!": "set --trainer.accelerator cpu",
    "out of memory": "lower the batch size, the number of streams or the frame size",
}


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Turns errors about values, files and settings into `program: error: ...` and exit status 1.

    `LITARCADE_TRACEBACK=1` in the environment keeps the traceback.
    """
    try:
        yield
    except (ValueError, OSError, MisconfigurationException, ImportError, RuntimeError) as error:
        known = not isinstance(error, RuntimeError) or "out of memory" in str(error)
        if os.environ.get("LITARCADE_TRACEBACK") or not known:
            raise
        text = " ".join(str(error).split())
        remedies = [remedy for sign, remedy in _REMEDIES.items() if sign in text]
        sys.stderr.write(f"{program}: error: {'; '.join([text, *remedies])}\n")
        raise SystemExit(1) from None


class OneLineParser(LightningArgumentParser):
    """A parser that answers a mistake with the mistake, not with the whole usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the innermost reason in one line; exit status 2."""
        sys.stderr.write(f"{self.prog.split()[0]}: error: {' '.join(message.split())}\n")
        raise SystemExit(2)
