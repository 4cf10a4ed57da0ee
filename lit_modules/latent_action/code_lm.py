"""A language model of codes: which motion comes next, and what a sequence is like as a whole."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD = -1  # in place of a code behind the end of a sequence


class CodeLM(nn.Module):
    """Recurrent network that foretells each code from those before it.

    Args:
        codes: number of codes.
        embed_dim: values of a code's embedding.
        hidden_dim: values of the state.
        layers: recurrent layers.
        cell: `gru` or `lstm`.
        dropout: share of values dropped between layers in training, in [0, 1).
    """

    def __init__(
        self,
        codes: int = 240,
        embed_dim: int = 64,
        hidden_dim: int = 128,
        layers: int = 1,
        cell: Literal["gru", "lstm"] = "gru",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if cell not in ("gru", "lstm"):
            raise ValueError(f"cell {cell!r} must be gru or lstm; set model.cell")
        self.codes = codes
        self.embedding = nn.Embedding(codes + 1, embed_dim)  # the last one begins a sequence
        recurrent = nn.GRU if cell == "gru" else nn.LSTM
        between = dropout if layers > 1 else 0.0
        self.rnn = recurrent(embed_dim, hidden_dim, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_dim, codes)

    def forward(self, codes: Tensor) -> Tensor:
        """Logits of each code, given those before it.

        Args:
            codes: int64 `(b, n)` in [0, codes), `PAD` behind the end.

        Returns:
            `(b, n, codes)`.
        """
        logits: Tensor = self.head(self.dropout(self.states(codes)[:, :-1]))
        return logits

    def states(self, codes: Tensor) -> Tensor:
        """States before the first code and after each: `(b, n)` -> `(b, n + 1, hidden_dim)`.

        Raises:
            ValueError: a code is out of range.
        """
        if codes.numel() and int(codes.max()) >= self.codes:
            raise ValueError(
                f"code {int(codes.max())} is none of {self.codes}; set model.codebook_size to that "
                "of the tokenizer"
            )
        begun = F.pad(codes, (1, 0), value=self.codes)
        states: Tensor = self.rnn(self.embedding(begun.clamp(min=0)))[0]
        return states

    def loss(self, codes: Tensor) -> Tensor:
        """Cross-entropy of each sequence in nats a code, `(b,)`; 0 of one without codes.

        Of each on its own, so that the loss of a batch is the mean of that of its halves.
        """
        known = codes != PAD
        by_code = F.cross_entropy(self(codes).mT, codes, ignore_index=PAD, reduction="none")
        return by_code.sum(1) / known.sum(1).clamp(min=1)

    @torch.no_grad()
    def embed(self, codes: Tensor) -> Tensor:
        """Mean of the states after each code: `(b, n)` -> `(b, hidden_dim)`.

        What lies behind the end does not count; a sequence without codes is zeros.
        """
        known = (codes != PAD)[..., None]
        return (self.states(codes)[:, 1:] * known).sum(1) / known.sum(1).clamp(min=1)
