"""Restored footage as files: the frames, what was done beside what was there, and how well."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress, TimeElapsedColumn
from torch import Tensor

from callbacks.verb_files import new_files
from datamodules.footage import Footage, State, read_mask
from datamodules.ram_map import STATE_NAMES
from datamodules.smb.frames import seen_by_camera
from datamodules.video_io import Rgb, write_video
from lit_modules import LitMaskedAutoencoder
from lit_modules.mae.hiding import Drawn, FlatColour, Frames, Hiding, Picture, colour_of
from lit_modules.mae.masking import MaskName
from lit_modules.mae.restoring import Piece, Restorer, units_of
from lit_modules.metrics import RestorationQuality

GAP = 2
"""Black pixels between panels."""

GREY = 128
"""Of hidden pixels, where they are shown."""

TRAINED_RATE = 15.0
"""Frames a second of the clips that `SmbFrameDataModule` gives unless told otherwise."""

SHOWN = 300
"""Frames of a comparison, at most: a GIF is put together in memory."""


def pieces(
    footage: Footage, length: int, hiding: Hiding, state: State | None, frames: int | None
) -> Iterator[Piece]:
    """Footage in pieces of `length` frames, of `frames` frames in all at most."""
    rest = islice(footage.frames(), frames)
    start = 0
    while chunk := list(islice(rest, length)):
        # (n, h, w, 3) -> (n, 3, h, w)
        pictures = torch.from_numpy(np.stack(chunk)).permute(0, 3, 1, 2).contiguous()
        own = None if state is None else torch.from_numpy(state[start : start + len(chunk)])
        if own is not None and len(own) < len(chunk):
            raise ValueError(
                f"{footage.path} has more frames than the {start + len(own)} whose state is known; "
                "give the labels of this file, or --state none"
            )
        yield Piece(pictures, hiding(start, pictures), own, camera_of(own))
        start += len(chunk)


def camera_of(state: Tensor | None) -> Tensor | None:
    """Where the camera is in each frame, if the state is that of Super Mario Bros."""
    if state is None or state.shape[1] != len(STATE_NAMES):
        return None
    known = torch.ones(1, len(state), dtype=torch.bool)
    return seen_by_camera(state[None], known)["camera"][0]


def restorer_of(
    module: LitMaskedAutoencoder, footage: Footage, frame_step: int | None, whole_frames: bool
) -> Restorer:
    """What restores footage at the pace of the training.

    Args:
        module: the model.
        footage: what is to be restored.
        frame_step: see `Restorer`; None is what makes 15 frames a second.
        whole_frames: whether frames are missing as a whole: then units are to be single frames,
            and neighbours in time in one clip.
    """
    step = frame_step
    if step is None:
        paced = not (whole_frames or footage.is_picture)
        step = max(1, round(footage.rate / TRAINED_RATE)) if paced else 1
    side = module.net.encoder.unit_side
    return Restorer(module, side, step, 2 if whole_frames else 1, module.device)


def hidings_of(
    footage: Footage,
    module: LitMaskedAutoencoder,
    restorer: Restorer,
    mask: str | None,
    mask_ratio: float | None,
    mask_type: MaskName | None,
    mask_colour: str | None,
    missing: str | None,
    seeds: Sequence[int],
) -> list[Hiding]:
    """Which pixels are to be restored, for each of the seeds; see `generate.py restore`.

    Raises:
        ValueError: the wishes exclude each other or leave nothing to restore or to see.
    """
    wishes = {"mask": mask, "mask_ratio": mask_ratio, "mask_colour": mask_colour}
    given = [name for name, wish in (wishes | {"missing": missing}).items() if wish is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} exclude each other; give one of them")
    if mask_ratio is None and mask_type is not None:
        raise ValueError(f"mask_type {mask_type} needs the share to hide; give --mask_ratio")
    if not seeds or (mask_ratio is None and len(seeds) > 1):
        raise ValueError(
            f"variants {len(seeds)}: give at least 1, and more than one only with --mask_ratio, as "
            "they differ by the masks that are drawn"
        )
    side = restorer.side
    if mask_ratio is not None:
        drawn = (mask_type or "tube", mask_ratio)
        shape = (side, restorer.step, restorer.length)
        return [Drawn(module, *drawn, seed, *shape) for seed in seeds]
    if missing is not None:
        return [Frames(missing)]
    if mask is not None:
        try:
            return [Picture(torch.from_numpy(read_mask(mask)), footage.size, side)]
        except ValueError as error:
            raise ValueError(f"mask {mask}: {error}") from None
    first = torch.from_numpy(next(footage.frames())).permute(2, 0, 1)
    colour = None if mask_colour is None else colour_of(mask_colour)
    return [FlatColour(first, module.net.encoder.cube_side, colour)]


class Restoration:
    """Restores footage once and keeps the books.

    Args:
        restorer: restores pieces.
        hiding: which pixels are hidden; whether they are known all the same it does not say
            unless it has hidden them itself: those that are all of one colour are not.
        shown: frames of the comparison at most.
    """

    def __init__(self, restorer: Restorer, hiding: Hiding, shown: int = SHOWN) -> None:
        self.restorer, self.hiding, self.shown = restorer, hiding, shown
        self.quality = RestorationQuality()
        self.comparison: list[Rgb] = []
        self.first: Rgb | None = None
        self.frames = self.hidden = self.pixels = self.units = 0
        self.unit_count = 0
        self.colours: set[tuple[int, ...]] = set()
        """Of hidden pixels, two at most."""

    def run(self, pieces: Iterable[Piece], progress: Callable[[int], object]) -> Iterator[Rgb]:
        """Restored frames, one after another; the books are complete after the last.

        Args:
            pieces: the footage.
            progress: is told how many frames are done more.

        Raises:
            ValueError: nothing was hidden.
        """
        for piece, restored in self.restorer.restore(pieces):
            self.book(piece, restored)
            progress(len(restored))
            yield from pictures(restored)
        if not self.hidden:
            raise ValueError(f"none of the {self.frames} frames has hidden pixels to restore")

    def book(self, piece: Piece, restored: Tensor) -> None:
        """Counts and scores a piece, and shows it in the comparison."""
        true, hidden = piece.frames, piece.hidden
        colours = true.transpose(0, 1)[:, hidden]  # (3, hidden pixels)
        known = self.hiding.ours
        if not known and colours.shape[1]:
            extremes = (tuple(x.tolist()) for x in (colours.amin(1), colours.amax(1)))
            here = set(extremes)
            known = len(here) > 1
            self.colours |= here
        if self.first is None:
            self.first = next(pictures(restored))
        if (room := self.shown - len(self.comparison)) > 0:
            shown = panels(true[:room], hidden[:room], restored[:room], known)
            self.comparison += pictures(shown)
        units = units_of(hidden.repeat_interleave(2, 0), self.restorer.side)  # of each frame
        self.frames += len(true)
        self.hidden += int(hidden.sum())
        self.pixels += hidden.numel()
        self.units += int(units.sum())
        self.unit_count += units.numel()
        # (n, 3, h, w) -> (1, 3, n, h, w)
        made, was = (x.transpose(0, 1)[None] / 255 for x in (restored, true))
        self.quality.update(made, was, hidden[None])

    @property
    def truth_known(self) -> bool:
        """Whether there is something to compare hidden pixels with."""
        return self.hiding.ours or len(self.colours) > 1

    def report(self) -> dict[str, Any]:
        """Counts and, where the truth is known, figures of `RestorationQuality`."""
        assert self.first is not None
        report: dict[str, Any] = {
            "frames": self.frames,
            "height": self.first.shape[0],
            "width": self.first.shape[1],
            "hidden_pixels": self.hidden,
            "hidden_share": self.hidden / self.pixels,
            "hidden_units": self.units,
            "units": self.unit_count,
            "truth_known": self.truth_known,
        }
        if self.truth_known:
            report |= {name: number(x) for name, x in self.quality.compute().items()}
        return report

    def summary(self) -> str:
        """What was hidden and how well it came out, in one line for people."""
        share = f"{self.hidden / self.pixels:.1%} of {self.frames} frame(s) hidden"
        if isinstance(self.hiding, FlatColour):
            share += f", {self.hiding.count} patches of colour {self.hiding.colour} in the first"
        if not self.truth_known:
            return f"{share}; what was there is not known, so nothing is measured"
        figures = {name: float(value) for name, value in self.quality.compute().items()}
        return (
            f"{share}; PSNR {figures['psnr_masked']:.2f} dB where hidden, {figures['psnr']:.2f} dB "
            f"in all, SSIM {figures['ssim']:.4f}, exact {figures['exact_masked']:.1%} of hidden"
        )


def number(value: Tensor) -> float | None:
    """A figure for JSON, which has no infinity: null for the PSNR of what is exact."""
    x = float(value)
    return x if math.isfinite(x) else None


def restore_all(
    footage: Footage,
    restorer: Restorer,
    hidings: Sequence[Hiding],
    known: State | None,
    frames: int | None,
    format: str,
    out: str,
    overwrite: bool,
) -> tuple[list[Path], list[Restoration]]:
    """Restores a video as often as there are ways to hide, and writes all that comes of it.

    Args:
        footage: the video.
        restorer: restores its pieces.
        hidings: what is hidden; more than one is numbered.
        known: the game's state in each frame, if it is known.
        frames: frames to restore at most.
        format: suffix of the video file.
        out: folder for the files.
        overwrite: write over what is there.

    Returns:
        The files, the report last, and the restorations.
    """
    kinds = ["restored{}.png", "comparison{}.gif"]
    kinds += [] if footage.is_picture else [f"restored{{}}.{format}"]
    marks = [f"_{k}" for k in range(1, len(hidings) + 1)] if len(hidings) > 1 else [""]
    names = [kind.format(mark) for mark in marks for kind in kinds]
    *paths, report = new_files(out, overwrite, *names, "metrics.json")

    runs = []
    total = min((n for n in (frames, footage.announced) if n), default=None)
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn()) as bar:
        task = bar.add_task("frames", total=total and total * len(hidings))
        for number, hiding in enumerate(hidings):
            runs.append(run := Restoration(restorer, hiding))
            own = paths[number * len(kinds) :][: len(kinds)]
            parts = pieces(footage, restorer.length, hiding, known, frames)
            made = run.run(parts, lambda count: bar.advance(task, count))
            write_restoration(own, run, made, footage.rate)
    write_report(report, runs, known is not None, footage.rate)
    return [*paths, report], runs


def write_restoration(
    paths: Sequence[Path], restoration: Restoration, frames: Iterator[Rgb], fps: float
) -> None:
    """Writes a restoration's first frame, comparison and, unless it is a picture, all frames.

    Args:
        paths: of picture, comparison and, for a video, of the video.
        restoration: what `frames` runs.
        frames: restored frames.
        fps: frames a second.
    """
    picture, comparison, *video = paths
    if video:
        write_video(video[0], frames, fps)
    else:
        list(frames)
    assert restoration.first is not None
    write_video(comparison, restoration.comparison, fps)
    write_video(picture, [restoration.first], fps)


def write_report(path: Path, runs: Sequence[Restoration], with_state: bool, fps: float) -> None:
    """Writes JSON: one restoration's report, or `variants`, those of several.

    Args:
        path: of the file.
        runs: finished restorations of the same footage.
        with_state: whether they were given the game's state.
        fps: frames a second of the footage.
    """
    reports = [run.report() for run in runs]
    own = reports[0] if len(reports) == 1 else {"variants": reports}
    report = {"state": with_state, "fps": fps, **own}
    path.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")


def panels(true: Tensor, hidden: Tensor, restored: Tensor, known: bool = True) -> Tensor:
    """Frames, what the model sees of them, what it makes of that, and the error.

    Args:
        true: uint8 `(n, 3, h, w)`.
        hidden: bool `(n, h, w)`.
        restored: uint8 `(n, 3, h, w)`.
        known: whether hidden pixels are true; else their error is shown as none.

    Returns:
        uint8 `(n, 3, h, 4w + 3 * GAP)`.
    """
    masked = true.masked_fill(hidden[:, None], GREY)
    error = (restored.int() - true.int()).abs().to(torch.uint8)
    if not known:
        error = error.masked_fill(hidden[:, None], 0)
    gap = true.new_zeros(*true.shape[:3], GAP)
    return torch.cat([true, gap, masked, gap, restored, gap, error], -1)


def pictures(frames: Tensor) -> Iterator[NDArray[np.uint8]]:
    """`(n, 3, h, w)` uint8 -> `n` times `(h, w, 3)`."""
    for frame in frames.permute(0, 2, 3, 1).cpu():
        yield np.ascontiguousarray(frame.numpy())
