"""Networks from TorchScript files: pretrained judges that a user brings along."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn


def load_torchscript(
    path: str | Path, kind: str, gives: str, *examples: Tensor
) -> tuple[nn.Module, Tensor]:
    """A network from a file, and what it makes of an example.

    Args:
        path: file written by `torch.jit.save`. It is a program: load only what you trust.
        kind: what it is to be, as an error names it.
        gives: what it is to give, as an error names it.
        examples: what to try it on.

    Returns:
        The module in evaluation mode on the CPU, and its answer.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no TorchScript module, or cannot take the examples.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no {kind} at {path}; give the path of a TorchScript file")
    try:
        network = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            answer = network(*examples)
    except Exception as error:  # TorchScript raises whatever the program in the file does
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path} gives no {gives} ({reason})") from error
    return network, answer
