"""What every module shares: bytes become floats on the device, optimizers come from YAML."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.optim import AdamW

from lit_modules.checkpoints import load_weights
from lit_modules.layers.schedule import WarmupCosine
from lit_modules.layers.sharding import shard


def unit(video: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], the range of pictures and of their scores."""
    return (video + 1) / 2


class LitVideoModel(L.LightningModule):
    """A LightningModule over uint8 video.

    Args:
        optimizer: called with the parameters to train; any `torch.optim.Optimizer` class by YAML;
            null is `torch.optim.AdamW` as it comes. (A class for a default would lend its learning
            rate to whatever class a YAML file puts in its place.)
        lr_scheduler: called with the optimizer; absent means a constant learning rate.
        init_from: checkpoint (`.ckpt`) or exported weights (`.safetensors`) whose weights alone the
            module starts from. To continue a run with its optimizer and position use `--ckpt_path`.
        compile: compile the network in place (keys of the checkpoint stay as they are) and let
            float32 products run in TF32. Pays on a GPU; leave it off on a CPU.
    """

    value_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    NOT_ARCHITECTURE: ClassVar[list[str]] = ["optimizer", "lr_scheduler", "init_from", "compile"]

    def __init__(
        self,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        # In functions, which a copy of the module (weight averaging) shares: the callables of the
        # command line hold on to its parser, and that to the trainer.
        self._make_optimizer: Callable[..., Any] = lambda params: (optimizer or AdamW)(params)
        self._make_lr_scheduler: Callable[..., Any] | None = None
        if lr_scheduler is not None:
            self._make_lr_scheduler = lambda optimizer: lr_scheduler(optimizer)
        self._init_from = init_from
        self._compile = compile
        self.net: torch.nn.Module

    def scale(self, video: Tensor) -> Tensor:
        """uint8 pixels of any shape -> float32 in `value_range`."""
        low, high = self.value_range
        return video.float().mul_((high - low) / 255).add_(low)

    def configure_model(self) -> None:
        """Loads `init_from`, compiles and shares out over ranks, before the optimizer is made."""
        if self._init_from is not None:
            load_weights(self, self._init_from)
            self._init_from = None
        if self._compile:
            torch.set_float32_matmul_precision("high")
            self.net.compile()
            self._compile = False
        if self.device_mesh is not None:  # of Lightning's ModelParallelStrategy
            shard(self, self.device_mesh["data_parallel"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Writes the class's name beside its hyperparameters, so that `load_module` finds it."""
        checkpoint["class_name"] = type(self).__name__

    def parameter_groups(self) -> Iterable[Any]:
        """What the optimizer is called with: parameters, or groups of them as dictionaries."""
        return self.parameters()

    def configure_optimizers(self) -> Any:
        """The optimizer from YAML and, where one is given, its scheduler, stepped every batch."""
        optimizer = self._make_optimizer(self.parameter_groups())
        if self._make_lr_scheduler is None:
            return optimizer
        scheduler = self._make_lr_scheduler(optimizer)
        if isinstance(scheduler, WarmupCosine) and scheduler.total_steps is None:
            scheduler.total_steps = int(self.trainer.estimated_stepping_batches)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]
