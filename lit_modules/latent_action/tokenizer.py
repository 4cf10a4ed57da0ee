"""The motion tokenizer: a window of moving points to a few discrete tokens, and back."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lit_modules.latent_action.code_norm import CodeNorm
from lit_modules.latent_action.displacement import OF_A_THING, Things, compress, expand, moves
from lit_modules.latent_action.picture import PictureEncoder
from lit_modules.latent_action.transformer import CausalBlock, CrossBlock, initialise
from lit_modules.layers.fsq import FSQ, levels_of


class Codes(NamedTuple):
    """Tokens of windows: n a window, each a point of a grid of d dimensions."""

    indices: Tensor
    """int64 `(b, n)`."""
    quantized: Tensor
    """`(b, n, d)` in [-1, 1]."""
    prequant: Tensor
    """`(b, n, d)`, before rounding; exactly 0 where nothing moves."""


class Tokenized(NamedTuple):
    """What a window becomes and what is made of it again."""

    x_recon: Tensor
    """Displacements `(b, T, P, 2)` in shares of the frame."""
    codebook_indices: Tensor
    """int64 `(b, n)`."""
    rel_logits: Tensor
    """Log-probabilities of the 15x15 displacement classes, `(b, T, P, 225)`."""


class MotionTokenizer(nn.Module):
    """Causal Transformer over the steps of a window, quantiser, and a decoder that asks the codes.

    A token stands for a short span of time (`horizon / code_length` steps), and is made from what
    came before and from its span; so a sequence of tokens can be read as a sequence of actions.
    A span in which nothing moves has always the same token, which costs the others nothing: what a
    codebook can tell apart is motion. Each step is decoded from the tokens up to its own.

    Against collapse the projected dimensions are normalised over the moving tokens of the batch
    (`CodeNorm`) before they are rounded.

    Args:
        points: points of the grid, row-major.
        horizon: steps of a window.
        hidden_dim: channels of the Transformers.
        depth: blocks of the encoder, and of the decoder.
        heads: attention heads; `hidden_dim` must divide by them.
        codebook_size: 16, 64, 256, 512, 1024, 2048 or 4096; what it gives is the product of the
            levels (15, 64, 240, 512, 1000, 1920, 4375).
        code_length: tokens of a window; `horizon` must divide by it.
        things: how many things may move at once in what is decoded.
        look_back: tokens before its own that a step is decoded from, at least 0. With 0 a token
            means the same wherever it stands.
        condition: `image` tells encoder and decoder of the first picture of the window.
        views: cameras; above 1 each has an embedding.
        dropout: share of channels dropped within blocks in training, in [0, 1).

    Raises:
        ValueError: numbers that do not divide, or a size that is not known.
    """

    def __init__(
        self,
        points: int = 400,
        horizon: int = 16,
        hidden_dim: int = 128,
        depth: int = 2,
        heads: int = 4,
        codebook_size: int = 256,
        code_length: int = 16,
        things: int = 8,
        look_back: int = 0,
        condition: Literal["none", "image"] = "none",
        views: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if code_length < 1 or horizon % code_length:
            raise ValueError(
                f"code_length {code_length} must divide the {horizon} steps of a window; "
                "set model.code_length"
            )
        if hidden_dim % heads:
            raise ValueError(f"hidden_dim {hidden_dim} must divide by heads {heads}")
        if condition not in ("none", "image"):
            raise ValueError(f"condition {condition!r} must be none or image")
        self.points, self.horizon, self.code_length = points, horizon, code_length
        self.span = horizon // code_length
        self.fsq = FSQ(levels_of(codebook_size))
        dims = len(self.fsq.levels)
        self.picture = PictureEncoder(hidden_dim) if condition == "image" else None
        self.view = nn.Embedding(views, hidden_dim) if views > 1 else None

        self.embed = nn.Linear(2 * points, hidden_dim)
        self.step = nn.Parameter(torch.empty(horizon, hidden_dim))
        self.encoder = nn.ModuleList(CausalBlock(hidden_dim, heads, dropout) for _ in range(depth))
        self.encoder_norm = nn.LayerNorm(hidden_dim)
        self.to_code = nn.Linear(hidden_dim, dims)
        self.code_norm = CodeNorm(dims)

        self.from_code = nn.Linear(dims, hidden_dim)
        self.place = nn.Parameter(torch.empty(code_length, hidden_dim))
        self.query = nn.Parameter(torch.empty(horizon, hidden_dim))
        self.decoder = nn.ModuleList(CrossBlock(hidden_dim, heads, dropout) for _ in range(depth))
        self.decoder_norm = nn.LayerNorm(hidden_dim)
        self.things = things
        self.to_cover = nn.Linear(hidden_dim, things * points)
        self.to_motion = nn.Linear(hidden_dim, things * sum(OF_A_THING))
        age = torch.arange(horizon)[:, None] // self.span - torch.arange(code_length)
        self.heard: Tensor
        self.register_buffer("heard", (age >= 0) & (age <= look_back), persistent=False)
        self.apply(initialise)
        for parameter in (self.step, self.place, self.query):
            nn.init.trunc_normal_(parameter, std=0.02)

    def forward(
        self, velocity: Tensor, image: Tensor | None = None, view: Tensor | None = None
    ) -> Tokenized:
        """Tokens of windows, and the windows made again from the tokens alone.

        Args:
            velocity: displacements in shares of the frame, `(b, T, P, 2)`.
            image: the first picture of each window, `(b, 3, h, w)` in [-1, 1]; only where the
                tokenizer is conditioned on it.
            view: number of the camera, int64 `(b,)`; 0 if absent.
        """
        context = self.context(velocity, image, view)
        codes = self.quantize(velocity, context)
        made = self.decode(codes.quantized, context).everywhere()
        return Tokenized(expand(made.mean()), codes.indices, made.logits())

    def encode(
        self, velocity: Tensor, image: Tensor | None = None, view: Tensor | None = None
    ) -> Codes:
        """Tokens of windows; arguments as of `forward`."""
        return self.quantize(velocity, self.context(velocity, image, view))

    def context(self, velocity: Tensor, image: Tensor | None, view: Tensor | None) -> Tensor:
        """What encoder and decoder know besides motion and codes: tokens `(b, c, hidden_dim)`.

        Raises:
            ValueError: windows of another shape, or without the picture that they need.
        """
        if velocity.shape[1:] != (self.horizon, self.points, 2):
            raise ValueError(
                f"windows of shape {tuple(velocity.shape[1:])} are not (steps, points, 2) = "
                f"{(self.horizon, self.points, 2)}; set model.horizon and model.points"
            )
        if self.picture is not None:
            if image is None:
                raise ValueError("the tokenizer is conditioned on a picture; set data.images true")
            context: Tensor = self.picture(image)
        else:
            context = velocity.new_zeros(len(velocity), 0, self.step.shape[1])
        if self.view is not None:
            view = torch.zeros_like(velocity[:, 0, 0, 0]).long() if view is None else view
            context = torch.cat([context, self.view(view)[:, None]], 1)
        return context

    def quantize(self, velocity: Tensor, context: Tensor) -> Codes:
        """Tokens of windows `(b, T, P, 2)` and their context."""
        steps = self.embed(compress(velocity).flatten(2)) + self.step  # (b, T, hidden_dim)
        for block in self.encoder:
            steps = block(steps, context)
        last = self.encoder_norm(steps)[:, self.span - 1 :: self.span]  # (b, n, hidden_dim)
        moving = self.moving_tokens(velocity)
        prequant = self.code_norm(self.to_code(last).float(), moving)
        quantized, indices = self.fsq(prequant)
        return Codes(indices, quantized, prequant)

    def moving_tokens(self, velocity: Tensor) -> Tensor:
        """Tokens in whose span a point moves: windows `(b, T, P, 2)` -> bool `(b, n)`."""
        by_step = moves(velocity).any(-1)  # (b, T)
        moving: Tensor = by_step.view(-1, self.code_length, self.span).any(-1)
        return moving

    def decode(self, quantized: Tensor, context: Tensor) -> Things:
        """What codes `(b, n, d)` and the context say of each step."""
        memory = self.from_code(quantized) + self.place
        steps = self.query.expand(len(memory), -1, -1)
        heard = torch.cat([self.heard.new_ones(self.horizon, context.shape[1]), self.heard], 1)
        memory = torch.cat([context, memory], 1)
        for block in self.decoder:
            steps = block(steps, memory, heard)
        steps = self.decoder_norm(steps)
        shape = (*steps.shape[:2], self.things, -1)
        cover, motion = (layer(steps).float() for layer in (self.to_cover, self.to_motion))
        return Things(cover.view(shape).mT, motion.view(shape))
