"""Embeddings of segments come out as one file, in order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from callbacks.embedding_writer import EmbeddingWriter


class OneProcess:
    log_dir = None
    is_global_zero = True


def predictions() -> list[dict]:
    """Six segments in batches that came out of order."""
    whole = torch.arange(24.0).view(6, 4)
    return [
        {
            "sample": torch.tensor(batch),
            "name": [f"v/seg{i}" for i in batch],
            "length": torch.tensor(batch) + 5,
            "embedding": whole[batch],
        }
        for batch in ([3, 1], [0, 2, 5], [4])
    ]


def test_safetensors_hold_embeddings_lengths_and_names_in_order(tmp_path: Path) -> None:
    writer = EmbeddingWriter(str(tmp_path))
    writer.write_on_epoch_end(OneProcess(), None, predictions(), [])  # type: ignore[arg-type]
    with safe_open(tmp_path / "embeddings.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("embedding"), torch.arange(24.0).view(6, 4))
        assert file.get_tensor("length").tolist() == [5, 6, 7, 8, 9, 10]
        assert json.loads(file.metadata()["names"]) == [f"v/seg{i}" for i in range(6)]


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    writer = EmbeddingWriter(str(tmp_path), "both")
    writer.write_on_epoch_end(OneProcess(), None, predictions(), [])  # type: ignore[arg-type]
    table = parquet.read_table(tmp_path / "embeddings.parquet").to_pydict()
    assert table["name"] == [f"v/seg{i}" for i in range(6)]
    assert table["length"] == [5, 6, 7, 8, 9, 10]
    assert table["embedding"] == torch.arange(24.0).view(6, 4).tolist()
    assert (tmp_path / "embeddings.safetensors").is_file()
