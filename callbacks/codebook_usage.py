"""Is the codebook used, or has it collapsed?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lit_modules.latent_action.usage import count_codes, usage_of_both


class CodebookUsage(Callback):
    """Logs how a module uses its codes, over all ranks: of each step, and of each epoch.

    The steps of a module with a number of `codes` return `codes`, int64 `(b, n)`, and `moving`,
    bool `(b, n)`: which tokens stand for motion. Logged in training are `codebook/perplexity` (of
    the epoch) and `codebook/perplexity_step`, `perplexity_share` (of the product of the levels),
    `entropy` (normalised), `unique`, `dead_share`, and the same for moving tokens alone
    (`codebook/moving_perplexity` ...); in a validation or test, `val/codebook_perplexity` and so
    on. A codebook collapses where the perplexity of moving tokens falls towards 1.

    Counts are in the checkpoint, so that a resumed epoch's figures are those of a whole one.
    """

    KEY = "codebook_usage"

    def __init__(self) -> None:
        self._epoch: Tensor | None = None
        self._held_out: Tensor | None = None

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Counts the codes of this step on all ranks."""
        counts = counted(outputs, pl_module)
        if dist.is_initialized():
            dist.all_reduce(counts)
        self._epoch = counts if self._epoch is None else self._epoch.to(counts.device) + counts
        figures = usage_of_both(counts)
        named = {f"codebook/{name}_step": value for name, value in figures.items()}
        pl_module.log_dict(named, batch_size=1)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the use of the epoch and begins to count anew."""
        if self._epoch is not None:
            log_equal(pl_module, "codebook/", usage_of_both(self._epoch))
        self._epoch = None

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts the codes of this rank."""
        counts = counted(outputs, pl_module)
        self._held_out = counts if self._held_out is None else self._held_out + counts

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the use of the validation."""
        self._log_held_out(pl_module, "val")

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts the codes of this rank."""
        self.on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the use of the test."""
        self._log_held_out(pl_module, "test")

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Stores the counts of the epoch so far."""
        checkpoint[self.KEY] = self._epoch

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Goes on counting."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._epoch = checkpoint.get(self.KEY)

    def _log_held_out(self, module: L.LightningModule, stage: str) -> None:
        counts, self._held_out = self._held_out, None
        if counts is None:
            return
        if dist.is_initialized():
            dist.all_reduce(counts)
        log_equal(module, f"{stage}/codebook_", usage_of_both(counts))


def log_equal(module: L.LightningModule, prefix: str, figures: Mapping[str, Tensor]) -> None:
    """Logs figures that are the same on all ranks; Lightning warns if they are not averaged."""
    module.log_dict({prefix + name: value for name, value in figures.items()}, sync_dist=True)


def counted(outputs: Any, module: Any) -> Tensor:
    """Counts of the codes that a step returns.

    Raises:
        TypeError: the module has no codes, or its step returns none.
    """
    if not isinstance(outputs, Mapping) or not {"codes", "moving"} <= outputs.keys():
        raise TypeError(
            f"steps of {type(module).__name__} return no codes; leave CodebookUsage out of "
            "trainer.callbacks"
        )
    return count_codes(outputs["codes"], outputs["moving"], module.codes)
