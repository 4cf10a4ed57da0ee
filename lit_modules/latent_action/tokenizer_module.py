"""Training of the motion tokenizer."""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from lit_modules.base import LitVideoModel
from lit_modules.latent_action.displacement import compress, expand
from lit_modules.latent_action.losses import motion_loss
from lit_modules.latent_action.tokenizer import Codes, MotionTokenizer

TRAINING = ("recon_weight", "class_weight", "still_weight")


class LitMotionTokenizer(LitVideoModel):
    """Learns to say windows of motion in a few discrete tokens.

    After AMPLIFY (Collins et al. 2025), with a loss and a normalisation against collapse.

    Nothing in a training step is random but dropout, and batches are normalised over all ranks, so
    neither the number of ranks nor a resumption changes it.

    Args:
        points: points of the grid; 400 is 20x20.
        horizon: steps of a window; the same as `data.horizon`.
        hidden_dim: channels of encoder and decoder.
        depth: blocks of the encoder, and of the decoder.
        heads: attention heads; `hidden_dim` must divide by them.
        codebook_size: 16, 64, 256, 512, 1024, 2048 or 4096; the number of codes is the product of
            the levels of each dimension (15, 64, 240, 512, 1000, 1920, 4375).
        code_length: tokens of a window, each of which stands for `horizon / code_length` steps.
        things: how many things may move at once in what is decoded.
        look_back: tokens before its own that a step is decoded from; with 0 a token means the same
            wherever it stands.
        condition: `image` tells encoder and decoder of the first picture of each window
            (`data.images`).
        views: cameras; above 1 each has an embedding.
        dropout: share of channels dropped in training, in [0, 1).
        recon_weight: weight of the squared error of displacements.
        class_weight: weight of the cross-entropy of displacement classes.
        still_weight: what the still points of a window weigh together, where the moving ones
            weigh 1.
        optimizer: see `LitVideoModel`.
        lr_scheduler: see `LitVideoModel`.
        init_from: see `LitVideoModel`.
        compile: see `LitVideoModel`.
    """

    net: MotionTokenizer

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
        recon_weight: float = 1.0,
        class_weight: float = 1.0,
        still_weight: float = 1.0,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, init_from, compile)
        self.save_hyperparameters(ignore=[*self.NOT_ARCHITECTURE, *TRAINING])
        self.recon_weight, self.class_weight = recon_weight, class_weight
        self.still_weight = still_weight
        self.net = MotionTokenizer(
            points=points,
            horizon=horizon,
            hidden_dim=hidden_dim,
            depth=depth,
            heads=heads,
            codebook_size=codebook_size,
            code_length=code_length,
            things=things,
            look_back=look_back,
            condition=condition,
            views=views,
            dropout=dropout,
        )

    @property
    def codes(self) -> int:
        """Number of codes: the product of the levels."""
        return self.net.fsq.codes

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Says a batch in tokens, makes it again from them and compares."""
        out = self.step(batch)
        loss = out["loss"].mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["velocity"]))
        return {**out, "loss": loss}

    def step(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Losses of each window, `(b,)`, its codes, and which of them move, `(b, n)`."""
        velocity = batch["velocity"]
        context = self.net.context(velocity, self.picture(batch), batch.get("view"))
        codes = self.net.quantize(velocity, context)
        made = self.net.decode(codes.quantized, context)

        recon, classes = motion_loss(made, velocity, batch["visible"], self.still_weight)
        return {
            "loss": self.recon_weight * recon + self.class_weight * classes,
            "recon": recon.detach(),
            "classes": classes.detach(),
            "codes": codes.indices,
            "moving": self.net.moving_tokens(velocity),
        }

    def picture(self, batch: dict[str, Any]) -> Tensor | None:
        """First pictures of the windows, in [-1, 1], where the tokenizer asks for them."""
        if self.net.picture is None or "image" not in batch:
            return None
        return self.scale(batch["image"])

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Scores held-out windows."""
        return self.score(batch, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Scores held-out windows."""
        return self.score(batch, "test")

    def score(self, batch: dict[str, Any], stage: str) -> dict[str, Tensor]:
        """Losses, and beside the error of moving points that of saying that they rest."""
        out = self.step(batch)
        velocity, visible = batch["velocity"], batch["visible"]
        moving = compress(velocity).square().sum(-1) * visible  # (b, T, P)
        count = (moving > 0).sum((1, 2)).clamp(min=velocity.shape[1])
        scores = {
            "loss": out["loss"].mean(),
            "recon": out["recon"].mean(),
            "recon_of_rest": (moving.sum((1, 2)) / count).mean(),
            "classes": out["classes"].mean(),
        }
        named = {f"{stage}/{name}": value for name, value in scores.items()}
        self.log_dict(named, batch_size=len(velocity), sync_dist=True)
        return out

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Tokens of windows and what is made of them again."""
        velocity = batch["velocity"]
        context = self.net.context(velocity, self.picture(batch), batch.get("view"))
        codes: Codes = self.net.quantize(velocity, context)
        made = expand(self.net.decode(codes.quantized, context).everywhere().mean())
        return {"x_recon": made, **codes._asdict()}
