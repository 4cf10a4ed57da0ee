"""The segmenter: windows of motion to energies, energies to segments."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from lit_modules.base import LitVideoModel
from lit_modules.checkpoints import load_module
from lit_modules.latent_action.calibration import (
    Labels,
    Measured,
    Objective,
    calibrate,
    read_report,
    summary,
)
from lit_modules.latent_action.energy import (
    MODES,
    Mode,
    Source,
    energy_name,
    middle,
    token_energy,
    velocity_energy,
)
from lit_modules.latent_action.segmentation import Segmenter
from lit_modules.latent_action.session import Progress, Session, middle_labels
from lit_modules.latent_action.tokenizer import Codes, MotionTokenizer

STEP_SECONDS = 0.05
GUESSES: dict[Source, float] = {  # between a scrolling and a static game; a report beats them
    "quantized": 0.3,
    "prequant": 0.5,
    "velocity": 0.0005,
}


class LitSegmenter(LitVideoModel):
    """Cuts video into segments of motion; `validate` finds its thresholds, `predict` cuts.

    There is nothing to train: the tokenizer comes from a checkpoint, the thresholds from a report.

    Args:
        tokenizer_ckpt: checkpoint of a `LitMotionTokenizer`; null does without codes, which takes
            `energy: velocity`.
        threshold_report: JSON of a calibration that thresholds and smoothing are taken from.
        energy: what is measured: `quantized` or `prequant` tokens, or the `velocity` of the tracks.
        mode: `token_diff_l2_mean` measures change within a window, `l2_mean` amount;
            `token_diff_l2_middle` and `l2_middle` do so in the stride that the window answers for,
            which places beginnings and ends more exactly, best with a `data.stride` of 2.
        on: smoothed energy that opens a segment; null is the report's.
        off: smoothed energy below which it closes; null is the report's, or 0.95 of `on`.
        ema: weight of a new energy in the smoothed one, in (0, 1]; null is the report's, or 0.7.
        debounce: windows in a row that it takes to open or close, at least 1.
        cooldown: windows after a close that open nothing, at least 0.
        max_seconds: longest segment, the rest of a longer one is the next; 0 is no limit.
        overlap: share of a window's span, in (0, 1], that a segment must cover to have the window
            besides its neighbour; null gives each window to one segment.
        objective: what a calibration chooses thresholds by, `f1` or `youden`.
        labels: which windows are true for a calibration: the action `changes`, one is `active`,
            the tracks are in `motion`; `auto` is `changes` where actions are known, else `motion`.
    """

    def __init__(
        self,
        tokenizer_ckpt: str | None = None,
        threshold_report: str | None = None,
        energy: Source = "quantized",
        mode: Mode = "token_diff_l2_mean",
        on: float | None = None,
        off: float | None = None,
        ema: float | None = None,
        debounce: int = 2,
        cooldown: int = 1,
        max_seconds: float = 2.0,
        overlap: float | None = None,
        objective: Objective = "f1",
        labels: Labels = "auto",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.energy = energy_name(energy, mode)
        self.objective, self.labels = objective, labels
        self.tokenizer: MotionTokenizer | None = None
        if tokenizer_ckpt is not None:
            net = load_module(tokenizer_ckpt).net
            if not isinstance(net, MotionTokenizer):
                raise ValueError(
                    f"{tokenizer_ckpt} holds no motion tokenizer; set model.tokenizer_ckpt to the "
                    "checkpoint of a LitMotionTokenizer"
                )
            self.tokenizer = net
        elif energy != "velocity":
            raise ValueError(
                f"energy {energy} needs a tokenizer; set model.tokenizer_ckpt, or model.energy to "
                "velocity"
            )
        self.calibrated = on is not None or threshold_report is not None
        if threshold_report is not None:
            told = read_report(threshold_report, self.energy)
            off = told[1] if on is None and off is None else off
            on, ema = told[0] if on is None else on, told[2] if ema is None else ema
        self.thresholds: dict[str, Any] = {
            "on": GUESSES[energy] if on is None else on,
            "off": off,
            "ema": 0.7 if ema is None else ema,
            "debounce": debounce,
            "cooldown": cooldown,
            "max_seconds": max_seconds,
            "overlap": overlap,
        }
        self.thresholds["off"] = Segmenter(**self.thresholds).off  # a wrong value ends here
        self._threads = torch.get_num_threads()
        self._stillness: Codes | None = None
        self._sessions: dict[int, Session] = {}
        self._measured: dict[str, Measured] = {}

    @property
    def codebook_size(self) -> int | None:
        """Number of codes that the tokenizer has; None without one."""
        return None if self.tokenizer is None else int(self.tokenizer.fsq.codes)

    @property
    def settings(self) -> dict[str, Any]:
        """What segments depend on besides the video; plain types."""
        tokenizer = None
        if self.tokenizer is not None:
            digest = hashlib.sha256()
            for value in self.tokenizer.state_dict().values():
                digest.update(value.cpu().numpy().tobytes())
            tokenizer = digest.hexdigest()[:16]
        return {"energy": self.energy, "tokenizer": tokenizer, **self.thresholds}

    def setup(self, stage: str) -> None:
        """Says where thresholds are missing; on a CPU one thread encodes.

        A product that is split over threads is rounded elsewhere, so codes would depend on how
        many processes share the machine.
        """
        if stage == "predict" and not self.calibrated:
            rank_zero_warn(
                f"without a threshold_report {self.thresholds['on']} as threshold of {self.energy} "
                "is a guess; find one with configs/latent_action/calibrate.yaml and set "
                "model.threshold_report"
            )
        if self.trainer.strategy.root_device.type == "cpu":
            torch.set_num_threads(1)

    def teardown(self, stage: str) -> None:
        """Gives the threads back."""
        torch.set_num_threads(self._threads)

    def measure(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Codes | None]:
        """Every energy `(b,)` of a batch of windows by its name, and the codes.

        Of the batch it reads `velocity` `(b, T, P, 2)`, `visible`, `still`, `stride` and, where the
        tokenizer asks for it, `image`.

        A still window has energy 0 and the codes of stillness, without a pass through the network.
        """
        still = batch["still"].to(batch["velocity"].device)
        velocity = batch["velocity"] * ~still[:, None, None, None]
        codes = self.encode(velocity, still, batch.get("image"))
        energies = {}
        tokens = {} if codes is None else {"quantized": codes.quantized, "prequant": codes.prequant}
        horizon = velocity.shape[1]
        for mode in MODES:
            for source, values in tokens.items():
                part = middle(values.shape[1], horizon, batch["stride"])
                energy = token_energy(values, mode, part) * ~still
                energies[energy_name(cast(Source, source), mode)] = energy
            part = middle(horizon, horizon, batch["stride"])
            energy = velocity_energy(velocity, batch["visible"], mode, part)
            energies[energy_name("velocity", mode)] = energy
        return {name: energies[name].cpu() for name in sorted(energies)}, codes

    def encode(self, velocity: Tensor, still: Tensor, image: Tensor | None) -> Codes | None:
        """The codes of windows `(b, T, P, 2)`; every still one has those of stillness."""
        if self.tokenizer is None:
            return None
        pictures = None if image is None else self.scale(image)
        if self._stillness is None:
            blank = None if pictures is None else pictures.new_zeros(1, *pictures.shape[1:])
            rest = self.tokenizer.encode(velocity.new_zeros(1, *velocity.shape[1:]), blank)
            self._stillness = rest
        parts = [part.repeat_interleave(len(still), 0) for part in self._stillness]
        if (moving := ~still).any():
            seen = None if pictures is None else pictures[moving]
            for part, made in zip(
                parts, self.tokenizer.encode(velocity[moving], seen), strict=True
            ):
                part[moving] = made
        return Codes(*parts)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Progress:
        """Measures windows and finds the segments that end with them."""
        if batch["first"]:
            stride = batch["stride"] * STEP_SECONDS
            horizon = batch["velocity"].shape[1] * STEP_SECONDS
            segmenter = Segmenter(**self.thresholds, horizon=horizon, stride=stride)
            self._sessions[batch["video"]] = Session(segmenter, self.energy)
        session = self._sessions[batch["video"]]
        energies, codes = self.measure(batch)
        indices, prequant = (None, None) if codes is None else (codes.indices, codes.prequant)
        if batch["last"]:
            del self._sessions[batch["video"]]
        return session.take(batch, energies, indices, prequant)

    def on_validation_epoch_start(self) -> None:
        """Forgets what an earlier calibration has measured."""
        self._measured = {}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Measures windows for the calibration."""
        if batch["error"]:
            rank_zero_warn(f"{batch['path']} is left out: {batch['error']}")
        energies, _ = self.measure(batch)
        changes, active = middle_labels(batch["action"], batch["stride"])
        video = self._measured.setdefault(batch["name"], Measured({}, [], []))
        video.changes.extend(changes)
        video.active.extend(active)
        for name, values in energies.items():
            video.energies.setdefault(name, []).extend(values.double().tolist())

    def on_validation_epoch_end(self) -> None:
        """Finds thresholds, logs those of the chosen energy and writes the report."""
        own = [self._measured[name] for name in sorted(self._measured)]
        ranks: list[Any] = [own]
        if self.trainer.world_size > 1:
            ranks = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(ranks, own)
        videos = [video for rank in ranks for video in rank]
        settings = self.thresholds
        report = calibrate(
            *(
                videos,
                self.objective,
                self.labels,
                settings["ema"],
                settings["off"] / settings["on"],
            )
        )
        chosen = report["energies"][self.energy]
        scores = {f"val/{key}": chosen[key] for key in ("on", "off", "f1", "youden")}
        self.log_dict(scores, batch_size=len(videos), rank_zero_only=True)
        folder = self.trainer.log_dir
        if self.trainer.is_global_zero and folder is not None:
            path = Path(folder) / "threshold_report.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(report, indent=2) + "\n")
            rank_zero_info(f"{summary(report)}\nwritten to {path}")
