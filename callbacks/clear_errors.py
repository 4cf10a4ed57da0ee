"""A mistake of the user's ends in one line that names it; a mistake of ours keeps its traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.fabric.utilities.exceptions import MisconfigurationException

_REMEDIES = {
    "No supported gpu backend found!": "set --trainer.accelerator cpu (or --device cpu)",
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
