"""Weights, gradients and optimizer states shared out over ranks, block by block."""

from __future__ import annotations

from itertools import chain

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Leaves of each parameter its share on each rank of a mesh (FSDP2; Zhao et al. 2023).

    Each element of a `ModuleList` is gathered when it computes and given up when it is done; what
    is left of each child of `module` is gathered while that child computes. Children must be
    called, not only their parts.

    Args:
        module: a module whose parameters all lie in its children.
        mesh: one dimension, of the ranks to share among.

    Raises:
        ValueError: a parameter of `module` lies in no child.
    """
    if own := [name for name, _ in module.named_parameters(recurse=False)]:
        raise ValueError(f"{', '.join(own)} lie in no child of the module and cannot be shared out")
    for child in module.children():
        lists = [part for part in child.modules() if isinstance(part, nn.ModuleList)]
        for part in (*chain.from_iterable(reversed(lists)), child):  # inner ones first
            whole = not isinstance(part, FSDPModule | nn.ModuleList)
            if whole and any(True for _ in part.parameters()):
                fully_shard(part, mesh=mesh)
