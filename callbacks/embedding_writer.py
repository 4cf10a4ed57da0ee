"""Embeddings of segments as one file."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from safetensors.torch import save

from callbacks.atomic_file import replace_file


class EmbeddingWriter(BasePredictionWriter):
    """Writes what a prediction gives of each segment, of all ranks and in order of the segments.

    `embeddings.safetensors` holds `embedding` float32 `(n, d)` and `length` int64 `(n,)`: codes of
    each segment, and in its metadata `names`, a JSON list of n names. `embeddings.parquet` is a
    table of `name`, `length` and `embedding`; it needs pyarrow.

    Args:
        out: folder of the files; null is that of the run.
        format: `safetensors`, `parquet` or `both`.
    """

    def __init__(
        self,
        out: str | None = None,
        format: Literal["safetensors", "parquet", "both"] = "safetensors",
    ) -> None:
        super().__init__("epoch")
        self.out, self.format = out, format

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Says before the work if a table could not be written.

        Raises:
            ModuleNotFoundError: pyarrow is not installed.
        """
        if stage == "predict" and self.format != "safetensors":
            import_pyarrow()

    def write_on_epoch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Gathers the segments of all ranks and writes them on the first."""
        folder = Path(self.out or trainer.log_dir or ".")  # on every rank: it is a broadcast
        rows = [
            (int(sample), name, int(length), embedding.float().cpu())
            for made in predictions
            for sample, name, length, embedding in zip(
                made["sample"], made["name"], made["length"], made["embedding"], strict=True
            )
        ]
        if dist.is_initialized():
            ranks: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(ranks, rows)
            rows = [row for rank in ranks for row in rank]
        if not trainer.is_global_zero:
            return
        rows.sort(key=lambda row: row[0])
        _, names, lengths, embeddings = (list(column) for column in zip(*rows, strict=True))
        for kind, content in (("safetensors", as_safetensors), ("parquet", as_parquet)):
            if self.format in (kind, "both"):
                path = folder / f"embeddings.{kind}"
                replace_file(path, content(names, lengths, embeddings))
                rank_zero_info(f"wrote {path}")


def as_safetensors(names: list[str], lengths: list[int], embeddings: list[torch.Tensor]) -> bytes:
    """The content of a safetensors file."""
    tensors = {"embedding": torch.stack(embeddings), "length": torch.tensor(lengths)}
    content: bytes = save(tensors, metadata={"names": json.dumps(names)})
    return content


def as_parquet(names: list[str], lengths: list[int], embeddings: list[torch.Tensor]) -> bytes:
    """The content of a Parquet file."""
    arrow, parquet = import_pyarrow()
    rows = [embedding.tolist() for embedding in embeddings]
    kind = arrow.list_(arrow.float32())
    table = arrow.table(
        {"name": names, "length": lengths, "embedding": arrow.array(rows, type=kind)}
    )
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def import_pyarrow() -> tuple[Any, Any]:
    """`pyarrow` and `pyarrow.parquet`.

    Raises:
        ModuleNotFoundError: it is not installed, with what to do.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Parquet needs pyarrow; pip install -e .[latent], or set the format to safetensors"
        ) from error
    return pyarrow, pyarrow.parquet
