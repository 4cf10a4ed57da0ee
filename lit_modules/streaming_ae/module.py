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
from lit_modules.streaming_ae.scene_memory import SceneMemory
from lit_modules.streaming_ae.statistics import CodeRounder, StreamStatistics
from lit_modules.streaming_ae.three_branch import ThreeBranchAutoencoder


class LitStreamingAutoencoder(LitVideoModel):
    """Autoencoder that sees each frame once and learns from it at once.

    Every figure under `online/` is prequential: the error on a frame before learning from it. What
    a step measures is returned as `metrics`, which StreamMonitor logs and RunSummary averages:
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
        background: let `pixel_shuffle` paint over the running mean of past frames.
        horizon: frames that the running mean looks back.
        scenes: scenes remembered, each with a running mean and weights of its own that come back
            with it; 0 keeps one mean and one set of weights. Needs `background`; weights come back
            for one stream on one rank only.
        mse_weight: weight of the squared error.
        l1_weight: weight of the absolute error.
        ssim_weight: weight of 1 - SSIM.
        detail_weight: weight of the same errors counted where the picture changes.
        code_bits: also score the reconstruction from a code rounded to this many bits
            (`online/mse_rounded_code`); costs a second decoding.
        optimizer: ours (`ObGD`, `AdaptiveObGD`, `lit_modules.Muon`) or any of torch.optim.
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
        background: bool = True,
        horizon: int = 200,
        scenes: int = 0,
        mse_weight: float = 1.0,
        l1_weight: float = 0.0,
        ssim_weight: float = 0.0,
        detail_weight: float = 0.0,
        code_bits: int | None = None,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, init_from, compile)
        self.save_hyperparameters(ignore=self.NOT_ARCHITECTURE)
        self.automatic_optimization = False
        blocks = {"residual_blocks": residual_blocks, "transformer_blocks": transformer_blocks}
        self.net: ThreeBranchAutoencoder | PixelShuffleAutoencoder
        if architecture == "three_branch":
            if background:
                raise ValueError("three_branch takes no background; set model.background false")
            self.net = ThreeBranchAutoencoder(size, latent_channels, sparsity, **blocks)
        else:
            self.net = PixelShuffleAutoencoder(
                size, latent_channels, width, hidden_layers, **blocks, background=background
            )
        if scenes and not background:
            raise ValueError(f"scenes {scenes} need the background; set model.background true")
        self.background = background
        self.horizon = horizon
        self.scenes = SceneMemory(scenes, horizon) if scenes else None
        self.detect_change = ChangeDetector()
        self.loss = StreamingLoss(mse_weight, l1_weight, ssim_weight, detail_weight)
        self.round_code = CodeRounder(code_bits) if code_bits else None
        self.streams: StreamStatistics | None = None
        self.held_out_streams: StreamStatistics | None = None
        self.painted_over: Tensor | None = None

    def setup(self, stage: str) -> None:
        """Refuses frames of another size than the network's.

        Raises:
            ValueError: `data.size` and `model.size` differ.
        """
        data: Any = getattr(self.trainer, "datamodule", None)
        size = getattr(data, "size", self.net.size)
        if tuple(size) != tuple(self.net.size):
            raise ValueError(
                f"data.size {tuple(size)} and model.size {tuple(self.net.size)} differ; "
                "set both alike"
            )

    @property
    def code_floats(self) -> int:
        """Values in the code of one frame."""
        return self.net.code_floats

    def forward(self, frame: Tensor, mean: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Frames in [0, 1] and running means, both `(b, 3, h, w)` -> reconstruction and codes."""
        reconstruction, codes = self.net(frame, *self.given(mean))
        return reconstruction, codes

    def given(self, mean: Tensor) -> tuple[Tensor, ...]:
        """What coder and decoder both know of the frame: the background, or nothing."""
        return (mean,) if self.background else ()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """One frame of each stream: reconstruct it, score it, learn from it, remember it."""
        frame = self.scale(batch["frame"])
        if self.streams is None or not self.streams.fits(frame):
            self.streams = StreamStatistics(frame, self.horizon)
        streams = self.streams

        change = self.detect_change(frame, streams.previous, streams.noise)
        mean = self.recall(frame, streams)
        self.painted_over = mean
        reconstruction, codes = self(frame, mean)
        loss = self.loss(reconstruction, frame, change)
        metrics = {
            "train/loss": loss.total.detach(),
            "train/global_loss": loss.global_.detach(),
            "train/detail_loss": loss.detail.detach(),
            **self.online_errors(reconstruction, codes, frame, mean),
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

    def recall(self, frame: Tensor, streams: StreamStatistics) -> Tensor:
        """The running mean to paint over; with scenes, that of the scene the frame belongs to.

        On one stream and one rank the weights come back with the scene. Streams of one batch share
        their weights, and so do ranks, so there only the means do.
        """
        if self.scenes is None:
            return streams.mean
        mean = self.scenes.observe(frame)
        if len(frame) == 1 and self.trainer.world_size == 1:
            optimizer: Any = self.optimizers()
            self.scenes.swap_weights(self.net, optimizer.optimizer)
        return mean

    def learn(self, loss: Tensor) -> None:
        """One update from one frame.

        ObGD scales its step by an error δ whose gradient feeds the trace. For a loss L that error
        is sqrt(2L): δ∇δ = ∇L. Over several ranks δ is averaged like the gradients are, since
        replicas that took steps of different length would drift apart.
        """
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        if isinstance(optimizer.optimizer, ObGD):
            error = (2 * loss).clamp(min=1e-12).sqrt()  # the root has no slope at 0
            self.manual_backward(error)
            optimizer.step(delta=self.trainer.strategy.reduce(error.detach(), reduce_op="mean"))
        else:
            self.manual_backward(loss)
            optimizer.step()
        scheduler: Any = self.lr_schedulers()
        if scheduler is not None:
            scheduler.step()

    @torch.no_grad()
    def online_errors(
        self, reconstruction: Tensor, codes: list[Tensor], frame: Tensor, mean: Tensor
    ) -> dict[str, Tensor]:
        """Errors on frames not yet learned from, beside the two baselines that need no learning."""
        assert self.streams is not None
        previous = self.streams.previous
        if previous is None:
            previous = torch.zeros_like(frame)
        mse = mse_loss(reconstruction.clamp(0, 1), frame)
        errors = {
            "online/mse": mse,
            "online/psnr": -10 * mse.log10(),
            "online/previous_frame_mse": mse_loss(previous, frame),
            "online/running_mean_mse": mse_loss(self.streams.mean, frame),
        }
        if self.round_code is not None:
            rounded = self.net.decode(self.round_code(codes), *self.given(mean))
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

    @torch.no_grad()
    def reconstruct(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Scaled frames and their reconstructions, in order, with a running mean of their own."""
        frame = self.scale(batch["frame"])
        if self.held_out_streams is None or not self.held_out_streams.fits(frame):
            self.held_out_streams = self.nearest_start(frame)
        streams = self.held_out_streams
        reconstruction, _ = self(frame, streams.mean)
        streams.update(frame, streams.noise)
        return frame, reconstruction.clamp(0, 1)

    def nearest_start(self, frame: Tensor) -> StreamStatistics:
        """Statistics for streams that begin with `frame`.

        The mean is that of the training where it is nearer to the frame than black is: the same
        game goes on with what is known of it, another one starts anew.
        """
        start = StreamStatistics(frame, self.horizon)
        known = self.streams
        if known is not None and known.fits(frame):
            nearer = mse_loss(known.mean, frame) < frame.square().mean()
            start.mean = torch.where(nearer, known.mean, start.mean)
            start.frames = torch.where(nearer, known.frames, start.frames)
        return start

    def on_validation_start(self) -> None:
        """Held-out streams begin anew with each pass."""
        self.held_out_streams = None

    on_test_start = on_predict_start = on_validation_start

    def feature_maps(self, frame: Tensor) -> dict[str, Tensor]:
        """Activations `(b, c, h', w')` of each encoder and decoder branch for frames in [0, 1]."""
        mean = torch.zeros_like(frame) if self.painted_over is None else self.painted_over
        return self.net.feature_maps(frame, *self.given(mean))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stores what every rank remembers of its streams."""
        super().on_save_checkpoint(checkpoint)
        memory: dict[str, Any] = {}
        if self.streams is not None:
            memory["statistics"] = self.streams.state_dict()
        if self.scenes is not None:
            memory["scenes"] = self.scenes.state_dict()
        if self.round_code is not None:
            memory["code_ranges"] = self.round_code.ranges
        memories = [memory]
        if dist.is_initialized():
            memories = [{}] * dist.get_world_size()
            dist.all_gather_object(memories, memory)
        checkpoint["streams"] = memories

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes up what this rank remembered."""
        memories = checkpoint.get("streams", [])
        memory = memories[self.global_rank] if self.global_rank < len(memories) else {}
        if "statistics" in memory:
            self.streams = StreamStatistics.from_state_dict(
                memory["statistics"], self.horizon, self.device
            )
        if self.scenes is not None and "scenes" in memory:
            self.scenes.load_state_dict(memory["scenes"], self.device)
        if self.round_code is not None and "code_ranges" in memory:
            self.round_code.ranges = [
                (low.to(self.device), high.to(self.device)) for low, high in memory["code_ranges"]
            ]
