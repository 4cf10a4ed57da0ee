"""A resumed stream goes on with the very next frame and the very next random number."""

from __future__ import annotations

import random
import warnings
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn


class StreamPosition(Callback):
    """Stores in every checkpoint what Lightning leaves out: stream position and RNG states.

    The position is that of the last batch consumed, not of the last one prefetched. It is taken in
    `on_train_batch_end` of a callback because ModelCheckpoint saves after all other callbacks but
    before the module's own hook. Positions and RNG states of all ranks go into the file as tensors,
    ints, lists and strings, so that it loads with `weights_only=True`.

    A batch without `position` is fine: then only the RNG states are stored. Where the number of
    processes has changed the datamodule gets the positions of all ranks and takes those of its
    streams (two ranks of b streams go on as one rank of 2b); RNG states cannot be shared out so.
    """

    KEY = "stream_position"

    def __init__(self) -> None:
        self._position: Any = None
        self._rng: dict[str, Any] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Silences two warnings of Lightning that do not hold where this callback is."""
        resumable = "You're resuming from a checkpoint that ended before the epoch ended"
        warnings.filterwarnings("ignore", message=resumable)
        # The state after the update is what belongs to the position after the batch.
        after_update = "Using ModelCheckpoint with manual optimization and every_n_train_steps"
        warnings.filterwarnings("ignore", message=after_update)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keeps a reference to the position after this batch."""
        if isinstance(batch, dict):
            self._position = batch.get("position")

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Gathers the state of all ranks; Lightning calls this on every one of them."""
        own = {"position": self._position, "rng": rng_states(pl_module.device)}
        ranks: list[Any] = [own]
        if dist.is_initialized():
            ranks = [None] * dist.get_world_size()
            dist.all_gather_object(ranks, own)
        checkpoint[self.KEY] = ranks

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Hands the position to the datamodule, before its loader is built."""
        ranks = checkpoint.get(self.KEY)
        if ranks is None or trainer.state.fn != TrainerFn.FITTING:
            return
        if len(ranks) == trainer.world_size:
            own = ranks[trainer.global_rank]
            self._position, self._rng = own["position"], own["rng"]
            position = self._position
        else:
            rank_zero_warn(
                f"the checkpoint holds the streams of {len(ranks)} process(es), this run has "
                f"{trainer.world_size}: the streams go on, random numbers begin anew"
            )
            position = [rank["position"] for rank in ranks]
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        if position is not None and hasattr(datamodule, "resume_from"):
            datamodule.resume_from(position)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restores the RNG states after the loader's iterator has drawn its seed from them."""
        if self._rng is not None:
            set_rng_states(self._rng, pl_module.device)
            self._rng = None


def rng_states(device: torch.device) -> dict[str, Any]:
    """States of the global generators of Python, NumPy, torch and, on a GPU, of `device`."""
    version, python, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002
    key, place = torch.from_numpy(numpy["state"]["key"].astype(np.int64)), numpy["state"]["pos"]
    states: dict[str, Any] = {
        "python": [version, torch.tensor(python), gauss],
        "numpy": {**numpy, "state": {"key": key, "pos": place}},
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_rng_states(states: dict[str, Any], device: torch.device) -> None:
    """Undoes whatever has been drawn since `rng_states`."""
    version, python, gauss = states["python"]
    random.setstate((version, tuple(python.tolist()), gauss))
    key = states["numpy"]["state"]["key"].numpy().astype(np.uint32)
    place = states["numpy"]["state"]["pos"]
    np.random.set_state({**states["numpy"], "state": {"key": key, "pos": place}})  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
