"""What verbs of `generate.py` begin with: paths for their files, a module from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import lightning as L
import torch

from lit_modules.checkpoints import load_module

Module = TypeVar("Module", bound=L.LightningModule)


def new_files(out: str, overwrite: bool, *names: str) -> list[Path]:
    """Paths in the folder `out`, which is made; refuses to write over what is there."""
    paths = [Path(out) / name for name in names]
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; give another --out or --overwrite true")
    Path(out).mkdir(parents=True, exist_ok=True)
    return paths


def load(ckpt_path: str, kind: type[Module], device: str) -> Module:
    """The module in a checkpoint, if it is of the kind that the verb works with."""
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device} is asked for and there is no GPU; set --device cpu")
    module = load_module(ckpt_path, device)
    if not isinstance(module, kind):
        raise ValueError(
            f"{ckpt_path} holds a {type(module).__name__}, not a {kind.__name__}; "
            "give a checkpoint of that kind"
        )
    return module
