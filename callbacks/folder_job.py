"""One verb of `generate.py` for every file of a folder: shared out, gone on with, reported on."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

from callbacks.clear_errors import MISTAKES
from datamodules.video.folder import natural, unique_names

DONE = "metrics.json"
"""What every verb writes last."""

Do = Callable[[str, str, bool], None]
"""From a file to a folder of its own, and whether files there may be written over."""


def for_each(
    source: str,
    out: str,
    kinds: Collection[str],
    do: Do,
    shard: str,
    overwrite: bool,
    pictures: bool = False,
) -> None:
    """Does something with a file, or with every file of some kinds below a folder.

    Each has a folder of its own below `out`, named like the file. What is done there is not done
    again; what fails is told, and the others are done.

    Args:
        source: file or folder.
        out: folder for what is made.
        kinds: suffixes with their dot, in lower case.
        do: what is done with one.
        shard: `2/8` is the second of eight shares of a folder, each of which another process does.
        overwrite: write over what an earlier call has made.
        pictures: a folder without such files may hold pictures, which are one thing to be done.

    Raises:
        ValueError: there is no such file in the folder, the shard is none, or some have failed.
    """
    number, count = shard_of(shard)
    root = Path(source)
    files = sorted((p for p in root.rglob("*") if p.suffix.lower() in kinds), key=natural)
    if not root.is_dir() or (pictures and not files):
        if count > 1:
            raise ValueError(f"shard {shard} is of a folder of files, and {source} is none")
        do(source, out, overwrite)
        return
    if not files:
        raise ValueError(f"{source} holds no file of {' '.join(sorted(kinds))}; give a folder with")
    own = list(zip(files, unique_names(root, files), strict=True))[number - 1 :: count]
    failed, kept = [], 0
    for place, (file, name) in enumerate(own, 1):
        folder = Path(out) / name
        if (folder / DONE).is_file() and not overwrite:
            kept += 1
            continue
        print(f"{place} of {len(own)}: {file}")
        try:
            do(str(file), str(folder), True)
        except MISTAKES as error:
            failed.append(file)
            print(f"failed: {error}")
    print(f"{len(own) - kept - len(failed)} done, {kept} were done before, {len(failed)} failed")
    if failed:
        names = ", ".join(map(str, failed))
        raise ValueError(f"{len(failed)} of {len(own)} files failed: {names}; see above for why")


def shard_of(text: str) -> tuple[int, int]:
    """`2/8` as numbers.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"shard {text!r} must be like 2/8: the second of eight shares")
    return int(match[1]), int(match[2])
