"""Online learning of a video stream: predict the frame through the code, score, learn, go on."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.distributed as dist
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn.functional import mse_loss

from lit_modules.base import LitVideoModel
from lit_modules.streaming_ae.change import ChangeDetector
from lit_modules.streaming_ae.losses import StreamingLoss, ssim
from lit_modules.streaming_ae.obgd import ObGD
from lit_modules.streaming_ae.pixel_shuffle import PixelShuffleAutoencoder
from lit_modules.streaming_ae.statistics import CodeRounder, StreamStatistics
from lit_modules.streaming_ae.three_branch import ThreeBranchAutoencoder


class LitStreamingAutoencoder(LitVideoModel):
    """Autoencoder that sees each frame once and learns from it at once.

    Every figure under `online/` is prequential: the error on a frame before learning from it. What a
    step measures is returned as `metrics`, which StreamMonitor logs and RunSummary averages:
    `self.log` would cost 0.3 ms a name and step.

    Args:
        architecture: `pixel_shuffle` (strong and fast) or `three_branch` (3x3, 5x5 and 7x7 stacks).
        size: frame height and width in pixels; the same as `data.size`.
        latent_channels: channels of the code (`three_branch`: of its 3x3 branch).
        width: hidden channels of `pixel_shuffle`.
        hidden_layers: hidden layers of `pixel_shuffle`, on either side.
        residual_blocks: residual blocks on the code grid of the encoder.
        transformer_blocks: attention blocks on the code grid of the encoder.
        sparsity: fraction of each unit's inputs that `three_branch` starts without, in [0, 1).
        residual: code the difference between the frame and the running mean of past frames.
        horizon: frames that the running mean looks back.
        mse_weight: weight of the squared error.
        l1_weight: weight of the absolute error.
        ssim_weight: weight of 1 - SSIM.
        detail_weight: weight of the same errors counted where the picture changes.
        code_bits: also score the reconstruction from a code rounded to this many bits
            (`online/mse_rounded_code`); costs a second decoding.
        optimizer: ours (`ObGD`, `AdaptiveObGD`, `Muon`) or any of torch.optim.
        lr_scheduler: see `LitVideoModel`.
        init_from: see `LitVideoModel`.
        compile: see `LitVideoModel`.
    """

    value_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __init__(
        self,
        architecture: Literal["pixel_shuffle", "three_branch"] = "pixel_shuffle",
        size: tuple[int, int] = (224, 224),
        latent_channels: int = 5,
        width: int = 96,
        hidden_layers: int = 2,
        residual_blocks: int = 0,
        transformer_blocks: int = 0,
        sparsity: float = 0.9,
        residual: bool = True,
        horizon: int = 200,
        mse_weight: float = 1.0,
        l1_weight: float = 0.0,
        ssim_weight: float = 0.0,
        detail_weight: float = 0.0,
        code_bits: int | None = None,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, init_from, compile)
        self.save_hyperparameters(ignore=["optimizer", "lr_scheduler", "init_from", "compile"])
        self.automatic_optimization = False
        blocks = {"residual_blocks": residual_blocks, "transformer_blocks": transformer_blocks}
        self.net: ThreeBranchAutoencoder | PixelShuffleAutoencoder
        if architecture == "three_branch":
            self.net = ThreeBranchAutoencoder(size, latent_channels, sparsity, **blocks)
        else:
            self.net = PixelShuffleAutoencoder(
                size, latent_channels, width, hidden_layers, **blocks
            )
        self.residual = residual
        self.horizon = horizon
        self.detect_change = ChangeDetector()
        self.loss = StreamingLoss(mse_weight, l1_weight, ssim_weight, detail_weight)
        self.round_code = CodeRounder(code_bits) if code_bits else None
        self.streams: StreamStatistics | None = None
        self.held_out_streams: StreamStatistics | None = None

    @property
    def code_floats(self) -> int:
        """Values in the code of one frame."""
        return self.net.code_floats

    def forward(self, frame: Tensor, mean: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Frames in [0, 1] and running means, both `(b, 3, h, w)` -> reconstruction and codes."""
        if not self.residual:
            reconstruction, codes = self.net(frame)
            return reconstruction, codes
        correction, codes = self.net(frame - mean)
        return mean + correction, codes

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """One frame of each stream: reconstruct it, score it, learn from it, remember it."""
        frame = self.scale(batch["frame"])
        if self.streams is None or not self.streams.fits(frame):
            self.streams = StreamStatistics(frame, self.horizon)
        streams = self.streams

        change = self.detect_change(frame, streams.previous, streams.noise)
        reconstruction, codes = self(frame, streams.mean)
        loss = self.loss(reconstruction, frame, change)
        metrics = {
            "train/loss": loss.total.detach(),
            "train/global_loss": loss.global_.detach(),
            "train/detail_loss": loss.detail.detach(),
            **self.online_errors(reconstruction, codes, frame, streams),
            "change/pixels": change.mask.sum().float(),
            "change/share": change.mask.float().mean(),
        }
        self.learn(loss.total)
        streams.update(frame, change.noise)

        return {
            "loss": metrics["train/loss"],
            "metrics": metrics,
            "frame": frame,
            "reconstruction": reconstruction.detach().clamp(0, 1),
            "change_mask": change.mask,
        }

    def learn(self, loss: Tensor) -> None:
        """One update from one frame.

        ObGD scales its step by an error δ whose gradient feeds the trace. For a loss L that error
        is sqrt(2L): δ∇δ = ∇L. Over several ranks δ is averaged like the gradients are, since
        replicas that took steps of different length would drift apart.
        """
        optimizer = self.optimizers()
        optimizer.zero_grad()
        if isinstance(optimizer.optimizer, ObGD):
            error = (2 * loss).sqrt()
            self.manual_backward(error)
            optimizer.step(delta=self.trainer.strategy.reduce(error.detach(), reduce_op="mean"))
        else:
            self.manual_backward(loss)
            optimizer.step()
        if scheduler := self.lr_schedulers():
            scheduler.step()

    @torch.no_grad()
    def online_errors(
        self, reconstruction: Tensor, codes: list[Tensor], frame: Tensor, streams: StreamStatistics
    ) -> dict[str, Tensor]:
        """Errors on frames not yet learned from, beside the two baselines that need no learning."""
        previous = torch.zeros_like(frame) if streams.previous is None else streams.previous
        mse = mse_loss(reconstruction.clamp(0, 1), frame)
        errors = {
            "online/mse": mse,
            "online/psnr": -10 * mse.log10(),
            "online/previous_frame_mse": mse_loss(previous, frame),
            "online/running_mean_mse": mse_loss(streams.mean, frame),
        }
        if self.round_code is not None:
            rounded = self.net.decode(self.round_code(codes))
            if self.residual:
                rounded = streams.mean + rounded
            errors["online/mse_rounded_code"] = mse_loss(rounded.clamp(0, 1), frame)
        return errors

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Scores held-out frames without learning; only the running mean follows the stream."""
        self.score(batch, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """As `validation_step`, under `test/`."""
        self.score(batch, "test")

    def score(self, batch: dict[str, Any], stage: str) -> None:
        """Logs MSE, PSNR and SSIM of a batch of frames under `<stage>/`."""
        frame, reconstruction = self.reconstruct(batch)
        mse = mse_loss(reconstruction, frame)
        scores = {"mse": mse, "psnr": -10 * mse.log10(), "ssim": ssim(reconstruction, frame)}
        self.log_dict(
            {f"{stage}/{name}": value for name, value in scores.items()},
            batch_size=len(frame),
            sync_dist=True,
        )

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Frames and reconstructions in [0, 1], both `(b, 3, h, w)`, without learning."""
        frame, reconstruction = self.reconstruct(batch)
        return {"frame": frame, "reconstruction": reconstruction}

    def reconstruct(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Scaled frames and their reconstructions, in order, with a running mean of their own."""
        frame = self.scale(batch["frame"])
        if self.held_out_streams is None or not self.held_out_streams.fits(frame):
            self.held_out_streams = StreamStatistics(frame, self.horizon)
        reconstruction, _ = self(frame, self.held_out_streams.mean)
        self.held_out_streams.update(frame, self.held_out_streams.noise)
        return frame, reconstruction.clamp(0, 1)

    def on_validation_start(self) -> None:
        """Held-out streams begin anew with each pass."""
        self.held_out_streams = None

    on_test_start = on_predict_start = on_validation_start

    def feature_maps(self, frame: Tensor) -> dict[str, Tensor]:
        """Activations `(b, c, h', w')` of each encoder and decoder branch for frames in [0, 1]."""
        if self.residual and self.streams is not None:
            frame = frame - self.streams.mean
        return self.net.feature_maps(frame)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stores every rank's stream statistics."""
        state = self.streams.state_dict() if self.streams is not None else None
        states = [state]
        if dist.is_initialized():
            states = [None] * dist.get_world_size()
            dist.all_gather_object(states, state)
        checkpoint["streams"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes up this rank's stream statistics."""
        states = checkpoint.get("streams", [])
        if self.global_rank < len(states) and states[self.global_rank] is not None:
            self.streams = StreamStatistics.from_state_dict(
                states[self.global_rank], self.horizon, self.device
            )


