"""A checkpoint file that can tell whether it is whole: SHA-256 in the comment of its zip archive.

The digest travels in the file itself, so there is no second file that a kill could leave behind or
that a copy could forget, and `torch.load` and every zip reader still read the file.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

MARK = b"litarcade sha256 "
COMMENT = len(MARK) + 64
END_RECORD, END_SIGN = 22, b"PK\5\6"
"""The last bytes of a zip archive without a comment, and what they begin with (APPNOTE 4.3.16)."""


def write_sealed(content: dict[str, Any], path: Path) -> None:
    """Saves a dictionary under its name in one move, on the disk before the name is.

    What a kill leaves behind is `.<name>.part` beside it, which the next attempt writes over.

    Raises:
        OSError: it cannot be written; what lay there before still does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w+b", buffering=0) as file:
            torch.save(content, file)
            length = file.seek(-2, os.SEEK_END)  # the archive's length of its comment, so far 0
            seal = _seal(file, length)
            file.seek(length)
            file.write(seal)
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        cause: BaseException | None = error  # torch answers a full disk with an error of its own
        while cause is not None:
            if isinstance(cause, OSError):
                raise cause from None
            cause = cause.__context__
        raise


def check_seal(path: Path) -> None:
    """Compares a file with the digest that it holds; one that was saved by torch alone has none.

    Raises:
        ValueError: the file is not what was written.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size < END_RECORD:
            raise ValueError(f"{size} bytes are no checkpoint")
        file.seek(-END_RECORD, os.SEEK_END)
        end = file.read()
        if end.startswith(END_SIGN) and end.endswith(b"\0\0"):
            return
        length = size - COMMENT - 2
        if length < 0 or _seal(file, length) != file.read():
            raise ValueError("its SHA-256 is not the one it was written with")


def survey(folder: Path) -> tuple[Path | None, list[Path]]:
    """The newest whole checkpoint of a folder, by training steps, and newer ones that are damaged.

    Those that do not say how many steps they hold count as newest.
    """
    steps: dict[Path, float] = {}
    for path in folder.glob("*.ckpt"):
        try:  # only the directory of a file's tensors is read for that
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            steps[path] = content["global_step"]
        except Exception:
            steps[path] = float("inf")
    damaged: list[Path] = []
    for path in sorted(steps, key=lambda p: (steps[p], p.stat().st_mtime_ns), reverse=True):
        try:
            check_seal(path)
            if steps[path] < float("inf"):
                return path, damaged
        except (OSError, ValueError):
            pass
        damaged.append(path)
    return None, damaged


def _seal(file: BinaryIO, length: int) -> bytes:
    """What follows the first `length` bytes of a whole file; leaves the file there."""
    digest, left = hashlib.sha256(), length
    file.seek(0)
    while left:
        chunk = file.read(min(left, 1 << 20))
        if not chunk:
            raise ValueError("the file became shorter while it was read")
        digest.update(chunk)
        left -= len(chunk)
    return COMMENT.to_bytes(2, "little") + MARK + digest.hexdigest().encode()


def _sync_folder(folder: Path) -> None:
    """Puts a new name on the disk, where the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
