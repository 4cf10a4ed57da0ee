"""Training of the codec: say clips in few codes and show them again, some codes missing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MeanMetric

from lit_modules.base import LitVideoModel, unit
from lit_modules.codec.indices import IndexTables
from lit_modules.codec.network import CodecNetwork
from lit_modules.layers.noise import HELD_OUT, SampleNoise
from lit_modules.mae.cubes import cut

TRAINING = ("commitment", "unknown_weight", "state_dropout", "encoder_from", "seed")
NOT_DECAYED = ("in_unit", "place", "time", "missing", "of_region", "of_depth")
BEGINNING = 32  # clips that principal components and codebooks begin with
LOST = 0.1  # share of the cubes that are lost in validation
FLOOR = 1.0e-3  # squared error, of values in [-1, 1], below which less is no better: 36 dB


class LitVideoCodec(LitVideoModel):
    """Compresses game video: HST-MAE's latents, residual codebooks, a light decoder.

    A clip in training has a random number of codebooks, so that every quality is learned by one
    model, and at random some cubes have none, as they have where a file repeats the frame before
    or was damaged. Everything random follows from (seed, number of the sample).

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
        parts: along each side of a cube; each part has codes of its own. More parts are better
            pictures and more bits.
        code_dim: values of a part's vector before it is quantised.
        codebooks: of residual quantisation, the highest quality.
        codebook_size: codes of a codebook; 512 are 9 bits before entropy coding.
        commitment: weight of the squared distance of vectors from their codes.
        unknown_weight: weight of the error of cubes without codes, where others weigh 1.
        state_dropout: share of clips that train without their state, in [0, 1].
        encoder_from: checkpoint of a `LitMaskedAutoencoder` of the same `dims`, `depths`, `patch`,
            `size` and `clip_length`, whose encoder this one begins as.
        seed: seed of everything random.
        optimizer: see `LitVideoModel`; biases, normalisations and embeddings are not decayed.
        lr_scheduler: see `LitVideoModel`.
        init_from: see `LitVideoModel`.
        compile: see `LitVideoModel`.
    """

    net: CodecNetwork

    def __init__(
        self,
        dims: Sequence[int] = (768, 1024, 1280, 1408),
        depths: Sequence[int] = (1, 2, 3, 1),
        decoder_dim: int = 512,
        decoder_depth: int = 4,
        patch: int = 4,
        size: tuple[int, int] = (224, 224),
        clip_length: int = 16,
        state_dim: int = 33,
        regions: Sequence[float] = (0.13, 0.5, 0.87),
        parts: int = 1,
        code_dim: int = 64,
        codebooks: int = 6,
        codebook_size: int = 512,
        commitment: float = 0.25,
        unknown_weight: float = 0.1,
        state_dropout: float = 0.5,
        encoder_from: str | None = None,
        seed: int = 0,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(optimizer, lr_scheduler, init_from, compile)
        self.save_hyperparameters(ignore=[*self.NOT_ARCHITECTURE, *TRAINING])
        self.size, self.clip_length = (size[0], size[1]), clip_length
        self.state_dim, self.state_dropout = state_dim, state_dropout
        self.codebooks, self.codebook_size = codebooks, codebook_size
        self.commitment, self.unknown_weight = commitment, unknown_weight
        self._encoder_from = encoder_from
        self.net = CodecNetwork(
            *(dims, depths, decoder_dim, decoder_depth, patch, clip_length, self.size),
            *(state_dim, regions, parts, code_dim, codebooks, codebook_size, seed),
        )
        self.tables = IndexTables(codebooks, codebook_size)
        self.noise = SampleNoise(seed)
        self.held_out_noise = SampleNoise(seed + HELD_OUT)
        names = [f"mse_{count}" for count in sorted({1, codebooks})] + ["mse_lost"]
        self.errors = nn.ModuleDict({name: MeanMetric() for name in names})

    @property
    def codes(self) -> int:
        """Codes of all codebooks together."""
        return self.codebooks * self.codebook_size

    def setup(self, stage: str) -> None:
        """Refuses clips of another shape than the network's.

        Raises:
            ValueError: size or length differ between data and model.
        """
        data: Any = getattr(self.trainer, "datamodule", None)
        for name in ("size", "clip_length"):
            asked, own = getattr(data, name, getattr(self, name)), getattr(self, name)
            if tuple_or(asked) != tuple_or(own):
                raise ValueError(f"data.{name} {asked} and model.{name} {own} differ; set both")

    def configure_model(self) -> None:
        """Takes over an encoder once, before the optimizer sees the parameters."""
        if self._encoder_from is not None:
            take_encoder(self.net.encoder, self._encoder_from)
            self._encoder_from = None
        super().configure_model()

    def on_train_start(self) -> None:
        """Begins with the principal components and the k-means of some clips."""
        if self.net.quantizer.begun:
            return
        datamodule: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        clips: list[Tensor] = []
        for batch in islice(datamodule.train_dataloader(), BEGINNING):
            batch = datamodule.transfer_batch_to_device(batch, self.device, 0)
            clips.append(datamodule.on_after_batch_transfer(batch, 0)["video"])
            if sum(map(len, clips)) >= BEGINNING:
                break
        self.net.begin(self.scale(torch.cat(clips)))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Encode, quantise, lose some, decode, compare."""
        video = self.scale(batch["video"])
        generators = self.noise.generators(batch["sample"], "cpu")
        vectors = self.net.encode(video)  # (b, T, H, W, parts, code_dim)
        depth = self.drawn_depth(generators, vectors)
        known = self.drawn_known(generators, vectors)
        state, told = self.state_of(batch)
        dropped = self.noise.uniform(generators).to(video.device) < self.state_dropout

        quantizer, flat = self.net.quantizer, vectors.detach().flatten(0, 4)
        indices = quantizer.encode(flat).view(*vectors.shape[:-1], -1)
        said = quantizer.decode(indices, depth[..., None].expand(vectors.shape[:-1]))
        straight = vectors + (said - vectors).detach()
        made = self.net.decode(straight, depth * known, state, told & ~dropped[:, None])

        each = cut((made - video).square(), self.net.encoder.cube_side).mean(-1)  # (b, T, H, W)
        weight = torch.where(known, 1.0, self.unknown_weight)
        error = (each * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)
        apart = (vectors - said.detach()).square().sum(-1).mean((1, 2, 3, 4)) / len(self.net.mean)
        # By the root: every quality counts about alike, whatever error it cannot help.
        loss = (error + self.commitment * apart + FLOOR).sqrt().mean()

        stages = depth[..., None].expand(vectors.shape[:-1]).flatten()
        quantizer.learn(flat, indices.flatten(0, 4), stages, self.global_step)
        self.tables.count(indices.flatten(0, 3), depth.flatten(), self.global_step)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(video))
        psnr = -10 * (each.detach().mean() / 4).log10()
        self.log("train/psnr", psnr, prog_bar=True, batch_size=len(video))
        return {"loss": loss, **self.used(indices, video)}

    def drawn_depth(self, generators: list[torch.Generator], vectors: Tensor) -> Tensor:
        """How many codebooks each cube of a clip has: one number a clip, `(b, T, H, W)`."""
        drawn = (self.noise.uniform(generators) * self.codebooks).long() + 1
        return drawn.to(vectors.device)[:, None, None, None].expand(vectors.shape[:4])

    def drawn_known(self, generators: list[torch.Generator], vectors: Tensor) -> Tensor:
        """Which cubes have codes: all of half the clips, a random share of the others."""
        some, share = self.noise.uniform(generators, (2,)).unbind(1)
        keep = torch.where(some < 0.5, 1.0, 1 - 0.9 * share)[:, None, None, None]
        drawn = self.noise.uniform(generators, vectors.shape[1:4])
        keep = keep.repeat(1, vectors.shape[1], 1, 1)
        keep[:, 0] = keep[:, 0].clamp(min=1 - 2 * LOST)  # a group's first cubes do not repeat
        return (drawn < keep).to(vectors.device)

    def state_of(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """States `(b, t, state_dim)` and which of them are known `(b, t)`; none where none is."""
        b, _, t = batch["video"].shape[:3]
        device = batch["video"].device
        if self.state_dim and "state" in batch:
            return batch["state"], batch["state_mask"]
        nothing = torch.zeros(b, t, dtype=torch.bool, device=device)
        return torch.zeros(b, t, self.state_dim, device=device), nothing

    def used(self, indices: Tensor, video: Tensor) -> dict[str, Tensor]:
        """For `CodebookUsage`: codes of all codebooks, and which stand for what moves."""
        stages = torch.arange(self.codebooks, device=indices.device) * self.codebook_size
        first, second = cut(video, self.net.encoder.cube_side).chunk(2, -1)  # a cube's two frames
        moving = (first != second).any(-1)[..., None, None]
        return {
            "codes": (indices + stages).flatten(1),
            "moving": moving.expand(indices.shape).flatten(1),
        }

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Held-out clips by one codebook, by all, and by all with a tenth of the cubes lost."""
        return self.score(batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """As in validation."""
        return self.score(batch)

    def score(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Counts the errors of a batch."""
        video = self.scale(batch["video"])
        vectors = self.net.encode(video)
        indices = self.net.quantizer.encode(vectors.flatten(0, 4)).view(*vectors.shape[:-1], -1)
        state, told = self.state_of(batch)
        generators = self.held_out_noise.generators(batch["sample"], "cpu")
        kept = self.noise.uniform(generators, vectors.shape[1:4]).to(video.device) >= LOST
        for name, metric in self.errors.items():
            lost = name == "mse_lost"
            count = self.codebooks if lost else int(name.rpartition("_")[2])
            depth = torch.full(vectors.shape[:4], count, device=video.device)
            depth = depth * kept if lost else depth
            said = self.net.quantizer.decode(indices, depth[..., None].expand(indices.shape[:-1]))
            made = self.net.decode(said, depth, state, told).clamp(-1, 1)
            cast(MeanMetric, metric).update((made - video).square().mean() / 4, len(video))
        return self.used(indices, video)

    def on_validation_epoch_end(self) -> None:
        """Logs how good the clips are."""
        self.log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Logs how good the clips are."""
        self.log_scores("test")

    def log_scores(self, stage: str) -> None:
        """Logs peak signal-to-noise ratios, from mean squared errors over all clips, in dB."""
        for name, metric in self.errors.items():
            mean = cast(MeanMetric, metric)
            psnr = -10 * mean.compute().log10()
            mean.reset()
            self.log(f"{stage}/{name.replace('mse', 'psnr')}", psnr)
            if name == f"mse_{self.codebooks}":
                self.log(f"{stage}/psnr", psnr, prog_bar=True)

    @torch.no_grad()
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Clips, their codes by all codebooks and what is shown of those, in [0, 1]."""
        video = self.scale(batch["video"])
        vectors = self.net.encode(video)
        indices = self.net.quantizer.encode(vectors.flatten(0, 4)).view(*vectors.shape[:-1], -1)
        depth = torch.full(vectors.shape[:4], self.codebooks, device=video.device)
        said = self.net.quantizer.decode(indices, depth[..., None].expand(indices.shape[:-1]))
        made = self.net.decode(said, depth, *self.state_of(batch)).clamp(-1, 1)
        return {"video": unit(video), "restored": unit(made), "codes": indices}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices, which are decayed, and biases, normalisations and embeddings, which are not."""
        kept: list[nn.Parameter] = []
        decayed: list[nn.Parameter] = []
        for name, parameter in self.named_parameters():
            bare = parameter.ndim < 2 or name.rpartition(".")[2] in NOT_DECAYED
            (kept if bare else decayed).append(parameter)
        return [{"params": decayed}, {"params": kept, "weight_decay": 0.0}]


def tuple_or(value: Any) -> Any:
    """A size as a tuple, whichever sequence it came as."""
    return tuple(value) if isinstance(value, list | tuple) else value


def take_encoder(encoder: nn.Module, path: str) -> None:
    """Copies the encoder of a masked autoencoder's checkpoint.

    Raises:
        FileNotFoundError, ValueError: no such file, or none that fits.
    """
    from lit_modules.checkpoints import read_checkpoint

    prefix = "net.encoder."
    weights = read_checkpoint(path)["state_dict"]
    own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    needed = encoder.state_dict()
    for name, value in needed.items():
        if name not in own or own[name].shape != value.shape:
            raise ValueError(
                f"{path}: encoder weight {name} does not fit; set dims, depths, patch, size and"
                " clip_length as they were when the masked autoencoder was trained"
            )
    encoder.load_state_dict({name: own[name] for name in needed})
