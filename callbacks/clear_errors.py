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

from callbacks.allowed_imports import refusal

OTHER_FOLDER = "choose another folder (--trainer.logger.save_dir or --out)"
LESS_MEMORY = (
    "lower data.batch_size (or data.streams), data.clip_length and model.clip_length, "
    "data.size and model.size, or the network (model.widths, model.base)"
)
LESS_TO_MAKE = "lower --num, --seconds or --frames, or set --device cpu"
REMEDIES = {
    "No supported gpu backend found!": "set --trainer.accelerator cpu",
    "Not a directory": OTHER_FOLDER,
    "Permission denied": OTHER_FOLDER,
    "Read-only file system": OTHER_FOLDER,
    "No space left": OTHER_FOLDER,
    "is not accepted": "--help lists what there is",
    "does not accept option": "--help lists what there is",
}

MISTAKES = (ValueError, OSError, MisconfigurationException, ImportError)


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Turns errors about values, files and settings into `program: error: ...` and exit status 1.

    `LITARCADE_TRACEBACK=1` in the environment keeps the traceback.
    """
    try:
        yield
    except (*MISTAKES, RuntimeError, MemoryError) as error:
        no_memory = out_of_memory(error)
        known = isinstance(error, MISTAKES) or no_memory is not None
        if os.environ.get("LITARCADE_TRACEBACK") or not known:
            raise
        message = str(error)
        if no_memory is not None:
            remedy = LESS_TO_MAKE if program.startswith("generate") else LESS_MEMORY
            message = f"{no_memory}; {remedy}"
        sys.stderr.write(one_line(program, message))
        raise SystemExit(1) from None


def out_of_memory(error: BaseException) -> str | None:
    """How much could not be had, without the state of the allocator; None for another error."""
    message = str(error)
    signs = ("out of memory", "can't allocate memory", "STATUS_ALLOC_FAILED")
    if isinstance(error, MISTAKES):
        return None
    if not isinstance(error, MemoryError) and not any(sign in message for sign in signs):
        return None
    asked = re.search(r"allocate ([\d.]+ (?:bytes|[KMGTPE]iB))", message)
    return f"out of memory ({asked[1]} more were needed)" if asked else "out of memory"


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
    message = refusal(message) or message
    union = r"Does not validate against any of the Union subtypes.*?Errors:\s*- "
    message = re.sub(union + r"(.*?)\s*(\n\s*- .*|$)", r"\1", message, flags=re.DOTALL)
    remedies = [remedy for sign, remedy in REMEDIES.items() if sign in message]
    return f"{program}: error: {'; '.join([' '.join(message.split()), *remedies])}\n"
