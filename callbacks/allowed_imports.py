"""A configuration names classes of packages that are known, not code that it brings along."""

from __future__ import annotations

import os
import re

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


def refusal(message: str) -> str | None:
    """What to say where an error of the parser, of many lines, is such a refusal."""
    refused = re.search(r"Importing '([\w.]+)' is not allowed", message)
    if refused is None:
        return None
    path = refused[1]
    package = path.partition(".")[0]
    return (
        f"{path} is no class of {', '.join(OURS)} and was not imported; "
        f"LITARCADE_ALLOW={path if package in OURS else package} in the environment allows it"
    )
