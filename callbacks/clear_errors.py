"""A mistake of the user's ends in one line that names it; a mistake of ours keeps its traceback."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser

OTHER_FOLDER = "choose another folder (--trainer.logger.save_dir or --out)"
REMEDIES = {
    "No supported gpu backend found!": "set --trainer.accelerator cpu",
    "out of memory": "lower the batch size, the number of streams or the frame size",
    "Not a directory": OTHER_FOLDER,
    "Permission denied": OTHER_FOLDER,
    "Read-only file system": OTHER_FOLDER,
    "No space left": OTHER_FOLDER,
    "is not accepted": "--help lists what there is",
    "does not accept option": "--help lists what there is",
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
        sys.stderr.write(one_line(program, str(error)))
        raise SystemExit(1) from None


class OneLineParser(LightningArgumentParser):
    """A parser that answers a mistake with the mistake, not with the whole usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the reason in one line; exit status 2."""
        if not self.exit_on_error:  # an attempt inside the parser, which has others left
            super().error(message, ex)
        sys.stderr.write(one_line(self.prog.split()[0], message))
        raise SystemExit(2)


def one_line(program: str, message: str) -> str:
    """The reason in a message of many lines, and the remedy where one is known.

    A value that fits none of several types is answered by the reason of each; the first is that of
    the class which was asked for, the others say that it is not null.
    """
    union = r"Does not validate against any of the Union subtypes.*?Errors:\s*- "
    message = re.sub(union + r"(.*?)\s*(\n\s*- .*|$)", r"\1", message, flags=re.DOTALL)
    remedies = [remedy for sign, remedy in REMEDIES.items() if sign in message]
    return f"{program}: error: {'; '.join([' '.join(message.split()), *remedies])}\n"
