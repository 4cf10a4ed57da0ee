"""Checkpoints in and out: read safely, find the class, take weights alone, export."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lit_modules.sealed_file import check_seal, survey

if TYPE_CHECKING:
    from lit_modules.base import LitVideoModel

FORMAT = 2
"""Of the checkpoints that this version writes, as `litarcade_format`; a file without it is of 1."""


def load_weights(module: torch.nn.Module, path: str | Path) -> None:
    """Copies the weights in a checkpoint or a safetensors file into `module`.

    Raises:
        ValueError: the file is not readable or its tensors do not fit, with the first that differs.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            weights = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} holds no weights that can be read ({error})") from error
    else:
        weights = read_checkpoint(path)["state_dict"]
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        have, need = weights.get(name), own.get(name)
        if have is None or need is None or have.shape != need.shape:
            found = "nothing" if have is None else f"shape {tuple(have.shape)}"
            wanted = "nothing" if need is None else f"shape {tuple(need.shape)}"
            raise ValueError(
                f"{path}: weight {name} has {found} where the model needs {wanted}; "
                "set the model's arguments as they were when it was trained"
            )
    module.load_state_dict(weights)


class DamagedCheckpointError(ValueError):
    """A file that is not what was written, or no checkpoint; names the newest whole one beside it.

    Attributes:
        fault: the message without what to do.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.fault = (
            f"{path} is not a readable checkpoint (cut short, damaged or another format: {reason})"
        )
        good, _ = survey(path.parent)
        remedy = f"take {good}" if good not in (None, path) else "no other of its folder is whole"
        super().__init__(f"{self.fault}; {remedy}")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of one of our modules, as `read_file`.

    Raises:
        FileNotFoundError, ValueError: as `read_file`; also for a checkpoint of something else.
    """
    checkpoint = read_file(path)
    missing = {"state_dict", "hyper_parameters", "class_name"} - checkpoint.keys()
    if missing:
        raise DamagedCheckpointError(Path(path), f"it has no {', '.join(sorted(missing))}")
    return checkpoint


def read_file(path: str | Path) -> dict[str, Any]:
    """Reads a whole checkpoint of tensors and plain types, never arbitrary pickles.

    What an older version wrote comes back as this one would have written it.

    Raises:
        FileNotFoundError: no such file.
        DamagedCheckpointError: the file is cut short, changed or no checkpoint.
        ValueError: a newer version wrote it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; give the path of a .ckpt file")
    try:
        check_seal(path)
        checkpoint = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise DamagedCheckpointError(path, (reason or [type(error).__name__])[0]) from error
    return migrated(checkpoint, path)


def read_or_newest(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """Reads a checkpoint or, with a warning, the newest whole one beside a damaged one.

    Returns:
        The file that was read, and what it holds.

    Raises:
        FileNotFoundError, ValueError: as `read_file`, where no whole one lies beside it.
    """
    path = Path(path)
    try:
        return path, read_file(path)
    except DamagedCheckpointError as error:
        good, _ = survey(path.parent)
        if good is None or good == path:
            raise
        if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0))) == 0:
            warnings.warn(f"{error.fault}; going on from {good}", stacklevel=2)
        return good, read_file(good)


def migrated(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """A checkpoint of any format so far as one of today's.

    Raises:
        ValueError: it was written by a newer version.
    """
    number = checkpoint.get("litarcade_format", 1)
    if number not in range(1, FORMAT + 1):
        raise ValueError(
            f"{path} has format {number}, this version reads formats up to {FORMAT}; "
            "use the version of LitArcade that wrote it, or a newer one"
        )
    for migrate in MIGRATIONS[number - 1 :]:
        migrate(checkpoint)
    return checkpoint | {"litarcade_format": FORMAT}


def _name_class(checkpoint: dict[str, Any]) -> None:
    """From 1 to 2: the class is named beside the hyperparameters, no longer only among them."""
    class_path = checkpoint.get("hyper_parameters", {}).get("_class_path")
    if class_path is not None:
        checkpoint.setdefault("class_name", class_path.rpartition(".")[2])


MIGRATIONS = [_name_class]
"""Entry n takes a checkpoint from format n + 1 to n + 2, in place."""


def load_module(path: str | Path, device: str | torch.device = "cpu") -> LitVideoModel:
    """The module that a checkpoint holds, in evaluation mode on `device`, of the class it names.

    Raises:
        FileNotFoundError, ValueError: as `read_checkpoint`; also for a class that is not ours.
    """
    import lit_modules

    checkpoint = read_checkpoint(path)
    cls = getattr(lit_modules, checkpoint["class_name"], None)
    if cls is None:
        raise ValueError(
            f"{path} holds a {checkpoint['class_name']}, which this version does not have; "
            f"it has {', '.join(name for name in lit_modules.__all__ if name.startswith('Lit'))}"
        )
    module: LitVideoModel = cls(**architecture(checkpoint))
    module.load_state_dict(checkpoint["state_dict"])
    module.to(device).eval()
    module.on_load_checkpoint(checkpoint)
    return module


def architecture(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters of a checkpoint without the entries that the command line adds."""
    hparams = checkpoint["hyper_parameters"]
    return {name: value for name, value in hparams.items() if not name.startswith("_")}


def export(path: str | Path, out: Path) -> None:
    """Writes weights (safetensors), configuration (YAML) and a model card into the folder `out`.

    The weights come back by `--model.init_from out/model.safetensors`.
    """
    checkpoint = read_checkpoint(path)
    weights = {name: value.contiguous() for name, value in checkpoint["state_dict"].items()}
    config = {"class_path": checkpoint["class_name"], "init_args": architecture(checkpoint)}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.yaml").write_text(yaml.safe_dump({"model": config}, sort_keys=False))
    (out / "README.md").write_text(
        _model_card(checkpoint, sum(w.numel() for w in weights.values()))
    )


def _model_card(checkpoint: dict[str, Any], values: int) -> str:
    rows = "\n".join(f"| `{name}` | {value} |" for name, value in architecture(checkpoint).items())
    return f"""# {checkpoint["class_name"]}

Weights of a LitArcade model after {checkpoint["global_step"]:,} training steps ({values:,} values).

| hyperparameter | value |
|---|---|
{rows}

To train on from these weights, in a folder that holds `train.py` and this one as `export/`:

    python train.py fit -c PRESET -c export/config.yaml --model.init_from export/model.safetensors
"""
