"""Lossless coding of game video that has few colours: contexts that know how the frames move.

Needs numba (the extra `codec`). What it compiles is kept in the user's cache, in a folder of its
own for each state of these sources: numba looks at one file only when it asks what is stale.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

try:
    import numba
except ImportError as missing:
    raise ImportError(
        "lossless coding needs numba; install the extra: pip install -e .[codec]"
    ) from missing

sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
folder = f"numba-{hashlib.sha256(sources).hexdigest()[:16]}"
home = Path.home() / ".cache" / "litarcade"
settings: Any = numba.config
others, settings.CACHE_DIR = settings.CACHE_DIR, str(home / folder)
try:  # a function's cache is settled where it is decorated
    from lit_modules.codec.palette.group import MOST_COLOURS, pack, unpack
finally:
    settings.CACHE_DIR = others

__all__ = ["MOST_COLOURS", "pack", "unpack"]
