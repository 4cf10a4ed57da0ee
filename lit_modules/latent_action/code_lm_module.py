"""Training of the language model of codes."""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from lit_modules.base import LitVideoModel
from lit_modules.latent_action.code_lm import PAD, CodeLM
from lit_modules.layers.fsq import FSQ, levels_of


class LitCodeLM(LitVideoModel):
    """Learns which code comes next in the segments of a tokenizer; so it gets to know them.

    `predict` gives an embedding of each segment, which `EmbeddingWriter` keeps for clustering.

    Args:
        codebook_size: that of the tokenizer: 16, 64, 256, 512, 1024, 2048 or 4096.
        embed_dim: values of a code's embedding.
        hidden_dim: values of the state and of a segment's embedding.
        layers: recurrent layers.
        cell: `gru` or `lstm`.
        dropout: share of values dropped in training, in [0, 1).
        optimizer: see `LitVideoModel`.
        lr_scheduler: see `LitVideoModel`.
        init_from: see `LitVideoModel`.
        compile: see `LitVideoModel`.
    """

    net: CodeLM

    def __init__(
        self,
        codebook_size: int = 256,
        embed_dim: int = 64,
        hidden_dim: int = 128,
        layers: int = 1,
        cell: Literal["gru", "lstm"] = "gru",
        dropout: float = 0.1,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, init_from, compile)
        self.save_hyperparameters(ignore=self.NOT_ARCHITECTURE)
        codes = FSQ(levels_of(codebook_size)).codes
        self.net = CodeLM(codes, embed_dim, hidden_dim, layers, cell, dropout)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Foretells each code of the sequences."""
        loss = self.net.loss(batch["codes"]).mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["codes"]))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Scores held-out sequences."""
        self.score(batch, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Scores held-out sequences."""
        self.score(batch, "test")

    def score(self, batch: dict[str, Any], stage: str) -> None:
        """Nats a code, as many codes to choose from in effect, and the share foretold."""
        codes = batch["codes"]
        known = codes != PAD
        right = ((self.net(codes).argmax(-1) == codes) & known).sum(1) / known.sum(1).clamp(min=1)
        loss = self.net.loss(codes)
        scores = {"loss": loss, "perplexity": loss.exp(), "accuracy": right}
        named = {f"{stage}/{name}": value.mean() for name, value in scores.items()}
        self.log_dict(named, prog_bar=True, batch_size=len(codes), sync_dist=True)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Embeddings of whole segments, and which they are."""
        known = batch["codes"] != PAD
        return {
            "embedding": self.embed(batch["codes"]),
            "length": known.sum(1),
            "sample": batch["sample"],
            "name": batch["name"],
        }

    def embed(self, codes: Tensor) -> Tensor:
        """Embeddings of sequences, int64 `(b, n)`, -1 behind the end of each: `(b, hidden_dim)`."""
        return self.net.embed(codes)
