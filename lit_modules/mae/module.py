"""HST-MAE: hide most of a clip, encode what is left, restore the rest with the state's help."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Literal, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from lit_modules.base import LitVideoModel, unit
from lit_modules.layers.noise import HELD_OUT, SampleNoise
from lit_modules.mae.autoencoder import MaskedAutoencoder, Prediction
from lit_modules.mae.cubes import CELL, Grid, cube_places, grid_of, pad
from lit_modules.mae.curriculum import Curriculum
from lit_modules.mae.evaluation import CELLS, RestorationTest
from lit_modules.mae.losses import (
    LossWeights,
    StateAlignment,
    reconstruction,
    spatial_consistency,
    temporal_coherence,
)
from lit_modules.mae.masking import (
    MASKS,
    Mask,
    MaskName,
    RunningCell,
    hidden_pixels,
    unit_information,
    visible_units,
)
from lit_modules.mae.probe import LinearProbe
from lit_modules.metrics import PerceptualNetworks, RestorationQuality

TRAINING = (
    *("mask", "mask_ratio", "curriculum", "decoded_cubes", "state_dropout", "loss_weights"),
    *("dynamic_weights", "normalised_target", "checkpointing", "lpips", "fid", "seed"),
)
NOT_DECAYED = ("in_unit", "place", "time", "missing", "hidden_cube", "of_region", "nearness")
LOSSES = {"reconstruction": 1.0, "spatial": 0.3, "temporal": 0.2, "state": 0.1}


class LitMaskedAutoencoder(LitVideoModel):
    """Restores masked clips of game video (HST-MAE), with and without the game's state.

    Everything random in a training step follows from (seed, number of the sample), so neither the
    number of ranks nor a resumption changes it.

    Args:
        dims: channels of the encoder's four stages.
        depths: blocks of the encoder's four stages.
        decoder_dim: channels of the decoder.
        decoder_depth: blocks of the decoder.
        patch: height and width of a patch in pixels; a cube is 4 patches wide, a mask unit 8.
        size: frame height and width in training in pixels, multiples of a unit; the same as
            `data.size`.
        clip_length: frames of a clip in training, an even number; the same as `data.clip_length`.
        state_dim: values of the game's state (`data.state`): 33 for `mario`, 0 for none.
        regions: where the bands of the picture end, rising shares of its height; the last ends
            at 1.
        mask: units hidden in the middle of the curriculum, in validation and prediction: `random`,
            `tube` (the same places at all times), `block` (rectangles, at all times), `cube`
            (boxes), `low` or `high` (where little or much happens).
        mask_ratio: share of the units that is hidden, in [0.05, 1).
        curriculum: `three_phase` (a third of the run each: easy masks, `mask`, hard ones) or
            `fixed` (`mask` all the while).
        decoded_cubes: how many of a hidden unit's four cubes the decoder computes in training, 1 to
            4, others at each time (running cell). 2 save nearly half of its work.
        state_dropout: share of clips that train without their state, in [0, 1]; a plain video can
            be restored only where there were some.
        loss_weights: weights of the losses `reconstruction`, `spatial`, `temporal` and `state`.
        dynamic_weights: learn the weights' balance from each loss's variance.
        normalised_target: a cube's error counts by the spread of its pixels, flat ones more.
        checkpointing: compute blocks again in the backward pass; less memory, a third more work.
        lpips: TorchScript file of a network for LPIPS in `test`; see `PerceptualNetworks`.
        fid: TorchScript file of a network for FID in `test`; see `PerceptualNetworks`.
        seed: seed of masks and dropout.
        optimizer: see `LitVideoModel`; biases, normalisations and embeddings are not decayed.
        lr_scheduler: see `LitVideoModel`.
        init_from: see `LitVideoModel`.
        compile: see `LitVideoModel`.
    """

    def __init__(
        self,
        dims: Sequence[int] = (768, 1024, 1280, 1408),
        depths: Sequence[int] = (1, 2, 3, 1),
        decoder_dim: int = 960,
        decoder_depth: int = 4,
        patch: int = 4,
        size: tuple[int, int] = (224, 224),
        clip_length: int = 16,
        state_dim: int = 33,
        regions: Sequence[float] = (0.13, 0.5, 0.87),
        mask: MaskName = "tube",
        mask_ratio: float = 0.9,
        curriculum: Literal["three_phase", "fixed"] = "three_phase",
        decoded_cubes: int = 2,
        state_dropout: float = 0.3,
        loss_weights: dict[str, float] | None = None,
        dynamic_weights: bool = False,
        normalised_target: bool = False,
        checkpointing: bool = False,
        lpips: str | None = None,
        fid: str | None = None,
        seed: int = 0,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, init_from, compile)
        self.save_hyperparameters(ignore=[*self.NOT_ARCHITECTURE, *TRAINING])
        weights = LOSSES | (loss_weights or {})
        if unknown := set(weights) - set(LOSSES):
            raise ValueError(
                f"loss_weights name {', '.join(sorted(unknown))}; there are {', '.join(LOSSES)}"
            )
        self.size, self.clip_length = (size[0], size[1]), clip_length
        self.state_dim, self.state_dropout = state_dim, state_dropout
        self.mask: MaskName = mask
        self.mask_ratio, self.normalised_target = mask_ratio, normalised_target
        self.net: MaskedAutoencoder = MaskedAutoencoder(
            *(dims, depths, decoder_dim, decoder_depth, patch, clip_length, self.size),
            *(state_dim, regions, checkpointing),
        )
        self.alignment = StateAlignment(dims[2], state_dim) if state_dim else None
        if self.alignment is None:
            weights.pop("state")
        self.weights = LossWeights(weights, dynamic_weights)
        self.curriculum = Curriculum(curriculum, mask, mask_ratio)
        self.running_cell = RunningCell(decoded_cubes)
        self.noise = SampleNoise(seed)
        self.held_out_noise = SampleNoise(seed + HELD_OUT)
        self.regions, self.lpips, self.fid = tuple(regions), lpips, fid
        # Of restorations with the state and without it.
        self.quality = nn.ModuleDict(
            {name: RestorationQuality(regions) for name in ("state", "no_state")}
        )

    def setup(self, stage: str) -> None:
        """Refuses clips of another shape than the network's.

        Raises:
            ValueError: size or length differ between data and model.
        """
        data: Any = getattr(self.trainer, "datamodule", None)
        for name in ("size", "clip_length"):
            asked, own = getattr(data, name, getattr(self, name)), getattr(self, name)
            if asked != own:
                raise ValueError(f"data.{name} {asked} and model.{name} {own} differ; set both")

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Hide, encode, decode, compare."""
        video = self.scale(batch["video"])
        state, known = self.state_of(batch)
        generators = self.noise.generators(batch["sample"], "cpu")
        mask, ratio = self.curriculum.at(self.progress)
        grid = self.unit_grid(video)
        hidden = mask(generators, grid, ratio, self.information(mask, video))
        computed = self.running_cell(generators, grid)
        dropped = self.noise.uniform(generators).to(video.device) < self.state_dropout
        known = known & ~dropped[:, None]

        camera = self.camera_of(batch).masked_fill(dropped[:, None], torch.nan)
        made = self.net(video, hidden, computed, state, known, camera)
        losses = self.losses(video, made, state, known)
        loss: Tensor = self.weights(losses)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(video))
        self.log_dict({f"train/{k}": v for k, v in losses.items()}, batch_size=len(video))
        return {"loss": loss}

    @property
    def progress(self) -> float:
        """How much of the run is done, in [0, 1]."""
        return min(1.0, self.trainer.global_step / self.trainer.estimated_stepping_batches)

    def state_of(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """States `(b, t, state_dim)` and which of them are known `(b, t)`; none where none is."""
        b, _, t = batch["video"].shape[:3]
        device = batch["video"].device
        if self.state_dim and "state" in batch:
            return batch["state"], batch["state_mask"]
        nothing = torch.zeros(b, t, dtype=torch.bool, device=device)
        return torch.zeros(b, t, self.state_dim, device=device), nothing

    def camera_of(self, batch: dict[str, Any]) -> Tensor:
        """Where the camera is in pixels to the right, `(b, t)`, NaN where that is not known."""
        b, _, t = batch["video"].shape[:3]
        unknown = torch.full((b, t), torch.nan, device=batch["video"].device)
        return batch.get("camera", unknown) if self.state_dim else unknown

    def losses(
        self, video: Tensor, made: Prediction, state: Tensor, known: Tensor
    ) -> dict[str, Tensor]:
        """The mean of each loss over the clips `(b, 3, t, h, w)`."""
        true = self.net.pixels(video, made.hidden_cubes)
        predicted = made.hidden.float()
        times, rows, _ = cube_places(made.visible_cubes, self.unit_grid(video))
        regions = self.net.decoder.regions
        labels = regions.labels(self.unit_grid(video)[1] * CELL)[rows]
        latents = made.latents.flatten(1, 2).float()
        each = {
            "reconstruction": reconstruction(predicted, true, self.normalised_target),
            "spatial": spatial_consistency(latents, labels, len(regions.of_region)),
            "temporal": temporal_coherence(predicted, true),
        }
        if self.alignment is not None:
            each["state"] = self.alignment(latents, times, state, known)
        return {name: loss.mean() for name, loss in each.items()}

    def unit_grid(self, video: Tensor) -> Grid:
        """Mask units of clips `(b, 3, t, h, w)` padded to whole ones: times, rows and columns."""
        side = self.net.encoder.unit_side
        return grid_of(pad(video[:1, :1], side), side)

    def information(self, mask: Mask, video: Tensor) -> Tensor | None:
        """How much happens in each unit of clips, `(b, T, H, W)`, for masks that ask for it."""
        if not mask.informed:  # all pixels are read for it, and the device is waited for
            return None
        side = self.net.encoder.unit_side
        return unit_information(pad(video, side), side).cpu()

    def masks(
        self, samples: Tensor | Sequence[int], video: Tensor, mask: MaskName, ratio: float
    ) -> Tensor:
        """Hidden units of held-out clips; those of a clip follow from (seed, its number) alone.

        Args:
            samples: numbers of the clips, `(b,)`.
            video: the clips, `(b, 3, t, h, w)` in [-1, 1].
            mask: see `model.mask`.
            ratio: share to hide, in [0, 1).

        Returns:
            bool `(b, T, H, W)`, True where hidden.
        """
        generators, draw = self.held_out_noise.generators(samples, "cpu"), MASKS[mask]()
        return draw(generators, self.unit_grid(video), ratio, self.information(draw, video))

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Restores held-out clips, with their state and without."""
        video = self.scale(batch["video"])
        hidden, pixels = self.masked(batch, video, self.mask, self.mask_ratio)
        for name, restored in self.restorations(batch, video, hidden).items():
            quality = cast(RestorationQuality, self.quality[name])
            quality.update(unit(restored), unit(video), pixels)

    def masked(
        self, batch: dict[str, Any], video: Tensor, mask: MaskName, ratio: float
    ) -> tuple[Tensor, Tensor]:
        """Hidden units `(b, T, H, W)` and pixels `(b, t, h, w)` of held-out clips."""
        hidden = self.masks(batch["sample"], video, mask, ratio)
        pixels = hidden_pixels(hidden, self.net.encoder.unit_side, video.shape)
        return hidden, pixels.to(video.device)

    def restorations(
        self, batch: dict[str, Any], video: Tensor, hidden: Tensor
    ) -> dict[str, Tensor]:
        """Clips restored with their state and, where the model asks for one, without."""
        state, known = self.state_of(batch)
        camera = self.camera_of(batch)
        restored = {"state": self.restore(video, hidden, state, known, camera)}
        if self.state_dim:
            restored["no_state"] = self.restore(video, hidden)
        return restored

    def on_validation_epoch_end(self) -> None:
        """Logs how good the restorations are."""
        for name, metric in self.quality.items():
            quality = cast(RestorationQuality, metric)
            if not quality.update_called:
                continue
            scores = quality.compute()
            quality.reset()
            if name == "state":
                self.log_dict({f"val/{figure}": score for figure, score in scores.items()})
                self.log("val/loss", scores["mse_masked"], prog_bar=True)
            else:
                self.log("val/psnr_masked_no_state", scores["psnr_masked"])

    def on_test_start(self) -> None:
        """Begins to compare; not before, so that no checkpoint holds others' weights."""
        networks = PerceptualNetworks(self.lpips, self.fid) if self.lpips or self.fid else None
        main = (self.mask, self.mask_ratio)
        cells = (main, *(cell for cell in CELLS if cell != main))
        self.restoration = RestorationTest(self.regions, cells, networks).to(self.device)
        self.probes = nn.ModuleDict({name: LinearProbe() for name in ("level", "action")})
        self.probes.to(self.device)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Restores held-out clips under masks of all kinds, and has the baselines do so too."""
        video = self.scale(batch["video"])
        for place, (mask, ratio) in enumerate(self.restoration.cells):
            hidden, pixels = self.masked(batch, video, cast(MaskName, mask), ratio)
            for name, restored in self.restorations(batch, video, hidden).items():
                self.restoration.update(
                    *(mask, ratio, name == "state", unit(restored), unit(video), pixels)
                )
            if place == 0:
                self.restoration.update_baselines(unit(video), pixels, batch.get("camera"))

    def on_test_epoch_end(self) -> None:
        """Reads level and action from latents of clips of levels that were trained on."""
        datamodule: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        for batch in islice(datamodule.train_dataloader(), int(self.trainer.num_test_batches[0])):
            batch = datamodule.transfer_batch_to_device(batch, self.device, 0)
            batch = datamodule.on_after_batch_transfer(batch, 0)
            features = self.embed(self.scale(batch["video"]))
            labels = {"action": batch["action"][:, self.clip_length // 2]}
            labels |= {"level": batch["level"]} if "level" in batch else {}
            for name, label in labels.items():
                known = label >= 0
                cast(LinearProbe, self.probes[name]).update(
                    *(features[known], label[known], batch["sample"][known])
                )
        figures = self.restoration.compute()
        for name, probe in self.probes.items():
            found = cast(LinearProbe, probe).compute()  # on all ranks, also where one saw no label
            figures |= {f"probe/{name}_{key}": value for key, value in found.items()}
        known_figures = {name: value for name, value in figures.items() if not value.isnan()}
        self.log_dict({f"test/{name}": value for name, value in known_figures.items()})
        rank_zero_info(self.restoration.table(figures))

    @torch.no_grad()
    def embed(self, video: Tensor) -> Tensor:
        """What the encoder makes of whole clips `(b, 3, t, h, w)`: mean latents `(b, dims[2])`."""
        hidden = torch.zeros(len(video), *self.unit_grid(video), dtype=torch.bool)
        units = visible_units(hidden).to(video.device)
        latents: Tensor = self.net.encoder(pad(video, self.net.encoder.unit_side), units)
        return latents.mean((1, 2))

    @torch.no_grad()
    def restore(
        self,
        video: Tensor,
        hidden: Tensor,
        state: Tensor | None = None,
        state_mask: Tensor | None = None,
        camera: Tensor | None = None,
    ) -> Tensor:
        """Clips whose hidden units are predicted and whose visible ones are as they were.

        Args:
            video: `(b, 3, t, h, w)` in [-1, 1], of any size; hidden pixels are never read.
            hidden: bool, mask units of the clips padded to whole ones (see `unit_grid`),
                `(b, T, H, W)`, True where hidden.
            state: `(b, t, state_dim)`, or None where there is none.
            state_mask: bool `(b, t)`, which frames' state is known; all if absent.
            camera: its place in each frame in pixels to the right, `(b, t)`, NaN where it is not
                known: what other frames show of the level is lent to where it is hidden.

        Returns:
            `(b, 3, t, h, w)` in [-1, 1].

        Raises:
            ValueError: the mask hides everything, or does not fit the clips.
        """
        side, (t, h, w) = self.net.encoder.unit_side, video.shape[2:]
        counts = hidden.flatten(1).sum(1)
        if (counts != counts[0]).any():  # one clip at a time: others see more or less
            parts = (video, hidden, state, state_mask, camera)
            clips = [[x if x is None else x[i : i + 1] for x in parts] for i in range(len(video))]
            return torch.cat([self.restore(*clip) for clip in clips])  # type: ignore[arg-type]
        if state is not None and state_mask is None:
            state_mask = torch.ones(state.shape[:2], dtype=torch.bool, device=state.device)
        # A clip of odd length is padded by its last frame.
        state, state_mask, camera = (
            torch.cat([x, x[:, -1:]], 1) if x is not None and t % 2 else x
            for x in (state, state_mask, camera)
        )
        restored = self.net.restore(pad(video, side), hidden, state, state_mask, camera)
        return restored[:, :, :t, :h, :w].clamp(-1, 1)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Held-out clips, what the model sees of them and what it makes of that, in [0, 1]."""
        video = self.scale(batch["video"])
        hidden, pixels = self.masked(batch, video, self.mask, self.mask_ratio)
        restored = self.restorations(batch, video, hidden)["state"]
        masked = unit(video).masked_fill(pixels[:, None], 0.5)
        return {"video": unit(video), "masked": masked, "restored": unit(restored)}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices, which are decayed, and biases, normalisations and embeddings, which are not."""
        kept: list[nn.Parameter] = []
        decayed: list[nn.Parameter] = []
        for name, parameter in self.named_parameters():
            bare = parameter.ndim < 2 or name.rpartition(".")[2] in NOT_DECAYED
            (kept if bare else decayed).append(parameter)
        return [{"params": decayed}, {"params": kept, "weight_decay": 0.0}]
