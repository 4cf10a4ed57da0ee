"""The largest batch that fits, found before the first step."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BatchSizeFinder
from lightning.pytorch.utilities import rank_zero_info

from callbacks.clear_errors import LESS_MEMORY


class FindBatchSize(BatchSizeFinder):
    """Doubles `data.batch_size` until memory or clips run out, then trains with the last that fit.

    Lightning's tuner with what a run of ours needs: it starts a new run only, since the tuner would
    forget where a resumed one stood; says what to set `data.batch_size` to, as `config.yaml` still
    holds what was asked for; and names what else to lower where not even one clip fits. What the
    trials learned and saw is forgotten.

    Args:
        init_val: batch size to begin with.
        steps_per_trial: steps that a size must survive.
        max_val: the largest size to try. A CPU has no end to its memory before the machine's.
    """

    def __init__(self, init_val: int = 1, steps_per_trial: int = 3, max_val: int = 256) -> None:
        super().__init__("power", steps_per_trial, init_val, max_val=max_val)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Searches.

        Raises:
            ValueError: the run is a resumed one, or a batch of one clip does not fit.
        """
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.ckpt_path is not None:
            raise ValueError(
                f"a run that goes on from {trainer.ckpt_path} keeps its batch size; "
                "leave configs/find_batch_size.yaml away"
            )
        try:
            super().on_fit_start(trainer, pl_module)
        except ValueError:
            if datamodule.batch_size < 1:
                raise ValueError(f"out of memory with a batch of one clip; {LESS_MEMORY}") from None
            raise
        size = self.optimal_batch_size
        rank_zero_info(f"A batch of {size} fits: --data.batch_size {size} without the search")
