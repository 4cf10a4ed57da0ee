"""A configuration names classes of packages that are known, not code that it brings along."""

from __future__ import annotations

import os

from jsonargparse import set_parsing_settings

OURS = ("lit_modules", "datamodules", "callbacks", "lightning", "torch", "torchmetrics")
LOADERS = ("torch.hub", "torch.load", "torch.serialization", "torch.package", "torch.jit")
"""What runs or reads whatever it is pointed at."""


def allow_our_imports() -> None:
    """Refuses every other package in a `class_path`, before it is imported.

    `LITARCADE_ALLOW=mine,theirs` in the environment allows further packages.
    """
    given = os.environ.get("LITARCADE_ALLOW", "").replace(",", " ").split()
    set_parsing_settings(
        import_path_denylist=["*", *LOADERS], import_path_allowlist=[*OURS, *given]
    )
