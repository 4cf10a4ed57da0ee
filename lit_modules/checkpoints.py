"""Checkpoints in and out: read safely, find the class, take weights alone, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from lit_modules.base import LitVideoModel


def load_weights(module: torch.nn.Module, path: str | Path) -> None:
    """Copies the weights in a checkpoint or a safetensors file into `module`.

    Raises:
        ValueError: the file is not readable or its tensors do not fit, with the first that differs.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        weights = load_file(path)
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


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a Lightning checkpoint of tensors and plain types, never arbitrary pickles.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is cut short or is no checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; give the path of a .ckpt file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint["state_dict"], checkpoint["hyper_parameters"], checkpoint["class_name"]
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"{path} is not a readable checkpoint (cut short, damaged or another format: "
            f"{reason[0] if reason else type(error).__name__}); use another file of the same folder"
        ) from error
    return dict(checkpoint)


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
