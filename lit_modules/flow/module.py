"""Flow matching over clips: learn the velocity from data to noise, sample by going back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric

from lit_modules.base import LitVideoModel, unit
from lit_modules.flow.conditioning import Conditioning, Given
from lit_modules.flow.evaluation import GenerationTest
from lit_modules.flow.factorized_unet import FactorizedVideoUNet
from lit_modules.flow.path import LinearPath
from lit_modules.flow.solver import Method, Velocity, integrate
from lit_modules.flow.time_sampling import TimeSampler
from lit_modules.flow.unet3d import VideoUNet
from lit_modules.layers.noise import HELD_OUT, SampleNoise
from lit_modules.metrics import load_features

TRAINING = ("condition_dropout", "known_share", "time_sampling", "features", "seed")
SAMPLING = ("steps", "solver", "guidance")
BINS = 4  # of flow time, for the loss
GOLDEN_RATIO = 0.6180339887498949  # multiples of it, modulo 1, cover [0, 1] evenly


def error(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of clips `(b, c, t, h, w)` over frames that are not `known` `(b, t)`."""
    by_frame = (prediction - target).square().mean((1, 3, 4))  # (b, t)
    unknown = ~known
    return (by_frame * unknown).sum(1) / unknown.sum(1)


class Samples(NamedTuple):
    """Clips `(n, 3, t, h, w)` in [-1, 1] and how often the network was evaluated for each."""

    video: Tensor
    evaluations: int


class LitFlowVideo(LitVideoModel):
    """Generates clips of game video by flow matching (Lipman et al. 2023).

    Everything random in a training step follows from (seed, number of the sample), so neither the
    number of ranks nor a resumption changes it.

    Args:
        architecture: `factorized` ((2+1)D behind a space-to-depth stem, fast) or `reference` (the
            3-D U-Net of plain 3-D convolutions).
        size: frame height and width in pixels; the same as `data.size`.
        clip_length: frames that are generated at once; the same as `data.clip_length`.
        stem: side of the squares of pixels that `factorized` folds into channels.
        widths: channels of each level of `factorized`, finest first.
        depths: blocks of each level of `factorized`, on either side.
        base: channels of the finest level of `reference`.
        time_dim: values of the embedding of time and condition.
        actions: condition on the buttons pressed in each frame.
        state_dim: values of the game's state to condition on (`data.state`), 0 for none.
        condition_dropout: share of clips that train without action and state, in [0, 1]; guidance
            needs some.
        known_frames: how many first frames of a clip may be given, at most; 0 never gives any.
            Videos longer than a clip go on from as many of its last frames.
        known_share: share of clips that train with first frames given, in [0, 1].
        time_sampling: flow times in training: `uniform` or `logit_normal`.
        shift: moves flow times towards noise where above 1, in training and sampling alike. What a
            clip shows as a whole is settled while it is nearly all noise, the more so the more of
            its pixels and frames are alike: at 1 it falls into pieces that do not fit.
        predict: what the network puts out: the clean clip, from which the velocity follows (learns
            many times faster behind a stem that folds pixels), or the velocity itself.
        steps: steps from noise to clip.
        solver: how a step is made; `midpoint` and `heun` evaluate the network twice a step.
        guidance: how far to go beyond the unconditional velocity; 1 is the conditional one.
        features: TorchScript file of an extractor for the Fréchet distance of `test`, clips
            `(b, 3, t, h, w)` in [0, 1] -> `(b, d)`; null takes colours, edges and motion.
        seed: seed of flow times, noise and dropout in training.
        optimizer: see `LitVideoModel`.
        lr_scheduler: see `LitVideoModel`.
        init_from: see `LitVideoModel`.
        compile: see `LitVideoModel`.
    """

    def __init__(
        self,
        architecture: Literal["factorized", "reference"] = "factorized",
        size: tuple[int, int] = (240, 256),
        clip_length: int = 16,
        stem: int = 4,
        widths: Sequence[int] = (128, 256, 448),
        depths: Sequence[int] = (2, 2, 2),
        base: int = 64,
        time_dim: int = 256,
        actions: bool = False,
        state_dim: int = 0,
        condition_dropout: float = 0.1,
        known_frames: int = 4,
        known_share: float = 0.5,
        time_sampling: Literal["uniform", "logit_normal"] = "logit_normal",
        shift: float = 4.0,
        predict: Literal["data", "velocity"] = "data",
        steps: int = 10,
        solver: Method = "midpoint",
        guidance: float = 1.0,
        features: str | None = None,
        seed: int = 0,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, init_from, compile)
        self.save_hyperparameters(ignore=[*self.NOT_ARCHITECTURE, *TRAINING, *SAMPLING])
        self.size, self.clip_length = (size[0], size[1]), clip_length
        self.state_dim, self.condition_dropout = state_dim, condition_dropout
        self.known_frames, self.known_share = known_frames, known_share
        self.predict, self.steps, self.solver, self.guidance = predict, steps, solver, guidance
        if not 0 <= known_frames < clip_length:
            raise ValueError(
                f"known_frames {known_frames} must lie below clip_length {clip_length}; "
                "set model.known_frames"
            )
        self.net: FactorizedVideoUNet | VideoUNet
        if architecture == "reference":
            self.net = VideoUNet(base=base, time_dim=time_dim)
        else:
            self.net = FactorizedVideoUNet(
                stem=stem, widths=widths, depths=depths, time_dim=time_dim
            )
        conditional = actions or state_dim > 0
        self.embed = Conditioning(time_dim, actions, state_dim) if conditional else None
        self.path = LinearPath()
        self.losses_by_time = torch.nn.ModuleList(MeanMetric() for _ in range(BINS))
        self.features = features
        self.times = TimeSampler(time_sampling, shift=shift)
        self.noise = SampleNoise(seed)
        self.held_out_noise = SampleNoise(seed + HELD_OUT)

    def setup(self, stage: str) -> None:
        """Refuses clips of another shape than the network's.

        Raises:
            ValueError: size or length differ between data and model, or do not suit the network.
        """
        data: Any = getattr(self.trainer, "datamodule", None)
        for name in ("size", "clip_length"):
            asked, own = getattr(data, name, getattr(self, name)), getattr(self, name)
            if asked != own:
                raise ValueError(f"data.{name} {asked} and model.{name} {own} differ; set both")
        for name, side in zip(("height", "width"), self.size, strict=True):
            if side % self.net.stem:
                raise ValueError(
                    f"frame {name} {side} must divide by {self.net.stem}; "
                    "set data.size and model.size"
                )

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Flow matching: noise the clips, predict the velocity, compare."""
        video = self.scale(batch["video"])
        generators = self.noise.generators(batch["sample"], video.device)
        given = self.draw_given(batch, video, generators)
        t = self.times.sample(generators)
        noise = self.noise.normal(generators, video.shape[1:])

        x_t, velocity = self.path.sample(video, t, noise)
        loss = error(self.velocity(x_t, t, given), velocity, given.mask).mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(video))
        return {"loss": loss}

    def draw_given(
        self, batch: dict[str, Any], video: Tensor, generators: Sequence[torch.Generator]
    ) -> Given:
        """Now and then the first frames of a clip, mostly its actions and state."""
        with_frames, share, condition = self.noise.uniform(generators, (3,)).unbind(1)
        count = (1 + share * self.known_frames).int().clamp(max=self.known_frames)
        count = count * (with_frames < self.known_share)
        given = Given.of(batch, video, self.state_dim).with_first_frames(video, count)
        return given.without_condition(condition < self.condition_dropout)

    def velocity(self, x_t: Tensor, t: Tensor, given: Given) -> Tensor:
        """The network's velocity, float32, at clips `(b, 3, t, h, w)` and flow times `(b,)`."""
        condition = None if self.embed is None else self.embed(given)
        mask = given.mask[:, None, :, None, None].expand_as(x_t[:, :1])
        out: Tensor = self.net(torch.cat([x_t, given.frames, mask], 1), t, condition).float()
        return self.path.velocity(x_t, out, t) if self.predict == "data" else out

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Scores held-out clips."""
        self.score(batch, "val")

    def score(self, batch: dict[str, Any], stage: str) -> None:
        """Loss at times spread evenly over [0, 1], and for each quarter of it."""
        video = self.scale(batch["video"])
        t = (batch["sample"].double() * GOLDEN_RATIO % 1).float()
        generators = self.held_out_noise.generators(batch["sample"], video.device)
        noise = self.noise.normal(generators, video.shape[1:])
        given = Given.of(batch, video, self.state_dim)

        x_t, velocity = self.path.sample(video, t, noise)
        loss = error(self.velocity(x_t, t, given), velocity, given.mask)
        self.log(f"{stage}/loss", loss.mean(), prog_bar=True, batch_size=len(video), sync_dist=True)
        for quarter, module in enumerate(self.losses_by_time):
            mean = cast(MeanMetric, module)
            mean.update(loss, weight=((t * BINS).floor() == quarter).float())
            self.log(f"{stage}/loss_t{quarter}", mean, on_step=False, on_epoch=True)

    def on_test_start(self) -> None:
        """Begins to compare; not before, so that no checkpoint holds an extractor's weights."""
        extractor = load_features(self.features) if self.features else None
        self.generation = GenerationTest(extractor).to(self.device)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Generates a clip for each held-out one, from the same actions and state."""
        self.score(batch, "test")
        samples = self.sample(
            len(batch["video"]),
            self.held_out_noise.seed,
            first=int(batch["sample"][0]),
            actions=batch.get("action"),
            state=batch.get("state"),
        )
        self.generation.update_generated(unit(samples.video), unit(self.scale(batch["video"])))

    def on_test_epoch_end(self) -> None:
        """Compares what was generated with what was trained on: twice as many clips."""
        datamodule: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        loader = datamodule.train_dataloader()
        batches = 2 * int(self.trainer.num_test_batches[0])
        for batch in islice(loader, batches):
            batch = datamodule.transfer_batch_to_device(batch, self.device, 0)
            video = datamodule.on_after_batch_transfer(batch, 0)["video"]
            self.generation.update_training(unit(self.scale(video)))
        figures = self.generation.compute()
        self.log_dict({f"test/{name}": value for name, value in figures.items()})

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Held-out clips and what the model makes of their first frames, both in [0, 1]."""
        video = self.scale(batch["video"])
        samples = self.sample(
            len(video),
            self.held_out_noise.seed,
            first=int(batch["sample"][0]),
            actions=batch.get("action"),
            state=batch.get("state"),
            first_frames=video[:, :, : self.known_frames] if self.known_frames else None,
        )
        return {"video": unit(video), "generated": unit(samples.video)}

    @torch.no_grad()
    def sample(
        self,
        num: int,
        seed: int = 0,
        first: int = 0,
        frames: int | None = None,
        actions: Tensor | None = None,
        state: Tensor | None = None,
        first_frames: Tensor | None = None,
        steps: int | None = None,
        solver: Method | None = None,
        guidance: float | None = None,
        progress: Callable[[], None] | None = None,
    ) -> Samples:
        """Generates clips; what clip k is follows from (seed, k) and from what is given of it.

        Clips longer than `clip_length` are made piece by piece, each going on from the last
        `known_frames` frames of the one before.

        Args:
            num: clips to generate.
            seed: seed of the noise.
            first: number of the first clip.
            frames: frames of each clip; `clip_length` if absent.
            actions: bytes of buttons `(num, frames)`, -1 where unknown.
            state: states of the game `(num, frames, state_dim)`.
            first_frames: frames to begin with, `(num, 3, k, h, w)` in [-1, 1].
            steps: steps from noise to clip; `model.steps` if absent.
            solver: `model.solver` if absent.
            guidance: `model.guidance` if absent.
            progress: called after each of `pieces`.

        Raises:
            ValueError: frames are to be gone on from and the model has not learned to.
        """
        frames = frames or self.clip_length
        video = torch.empty(num, 3, 0, *self.size, device=self.device)
        if first_frames is not None:
            video = first_frames.to(self.device)
        if not self.known_frames and (frames > self.clip_length or video.shape[2]):
            raise ValueError(
                f"the model makes {self.clip_length} frames and goes on from none; "
                "train it with model.known_frames 1 or more"
            )
        generators = SampleNoise(seed).generators(range(first, first + num), self.device)
        times = self.times.schedule(steps or self.steps).to(self.device)
        evaluations = 0
        while video.shape[2] < frames:
            start = max(0, video.shape[2] - self.known_frames)
            given = self.given_piece(video[:, :, start:], start, actions, state)
            noise = self.noise.normal(generators, given.frames.shape[1:])
            field = self.guided_velocity(given, self.guidance if guidance is None else guidance)
            piece, calls = integrate(field, noise, times, solver or self.solver)
            evaluations += calls
            made = torch.where(given.mask[:, None, :, None, None], given.frames, piece)
            video = torch.cat([video[:, :, :start], made.clamp(-1, 1)], 2)
            if progress is not None:
                progress()
        return Samples(video[:, :, :frames], evaluations)

    def pieces(self, frames: int, first_frames: Tensor | None = None) -> int:
        """How many pieces a clip is made of that begins with these frames."""
        made = 0 if first_frames is None else first_frames.shape[2]
        first = self.clip_length - min(made, self.known_frames)
        fresh = self.clip_length - self.known_frames
        return 1 + max(0, math.ceil((frames - made - first) / fresh))

    def given_piece(
        self, known: Tensor, start: int, actions: Tensor | None, state: Tensor | None
    ) -> Given:
        """What is given of the piece that begins at frame `start` with the `known` frames."""
        padded = known.new_zeros(*known.shape[:2], self.clip_length, *self.size)
        padded[:, :, : known.shape[2]] = known
        given = Given.of({}, padded, self.state_dim)
        for values, own in ((actions, given.action), (state, given.state)):
            if values is not None:
                part = values[:, start : start + self.clip_length]
                own[:, : part.shape[1]] = part
        if state is not None:
            given.state_mask[:, : state.shape[1] - start] = True
        return given.with_first_frames(padded, given.action.new_full((len(known),), known.shape[2]))

    def guided_velocity(self, given: Given, guidance: float) -> Velocity:
        """The field that sampling follows, `(x, t)` -> velocity, t of no dimension.

        Ho and Salimans 2022, "Classifier-Free Diffusion Guidance", eq. 6, on velocities.
        """
        free = given.without_condition(torch.ones_like(given.mask[:, 0]))

        def field(x: Tensor, t: Tensor) -> Tensor:
            with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
                velocity = self.velocity(x, t.expand(len(x)), given)
                if self.embed is not None and guidance != 1:
                    velocity = torch.lerp(
                        self.velocity(x, t.expand(len(x)), free), velocity, guidance
                    )
            return velocity

        return field
