"""Segments for clustering: what the segmenter wrote, and what the emulator knows of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from datamodules.codes import SUFFIX, in_time
from datamodules.labels import SUFFIX as LABELS
from datamodules.labels import LabelsError, from_file
from lit_modules.latent_action import truth

STEP = 1 / 20


class Segment(NamedTuple):
    """A segment as the segmenter left it."""

    name: str
    """Path of its file below the folder, without the suffix."""
    video: str
    path: Path
    """The video it is of."""
    clip: Path | None
    start: float
    end: float
    codes: NDArray[np.int64]
    """In time, each once `(n,)`, at least one."""
    codebook_size: int
    """Number of codes that there are."""


def read_segments(folder: str) -> list[Segment]:
    """Segments with codes of the `*.codes.json` files below a folder, in order of names.

    A file that cannot be read is left out with a warning.

    Raises:
        FileNotFoundError: there is no such folder or no segment in it.
        ValueError: they are of several codebooks.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {folder}; give --input a folder of segments")
    segments = []
    for path in sorted(root.rglob(f"*{SUFFIX}")):
        try:
            segments.append(read_segment(path, root))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            reason = error if str(error) else type(error).__name__
            rank_zero_warn(f"{path} holds no codes that can be read ({reason}) and is left out")
    segments = [one for one in segments if len(one.codes)]
    if not segments:
        raise FileNotFoundError(
            f"no segment with codes below {folder}; make some by train.py predict -c "
            "configs/latent_action/segment.yaml"
        )
    if len(sizes := {one.codebook_size for one in segments}) > 1:
        raise ValueError(f"{folder} holds codes of several codebooks {sorted(sizes)}; give one's")
    return segments


def read_segment(path: Path, root: Path) -> Segment:
    """A segment by its file `<video>/code_indices/<name>.codes.json`."""
    record = json.loads(path.read_text())
    clip = path.parent.parent / str(record.get("clip"))
    return Segment(
        name=path.relative_to(root).as_posix().removesuffix(SUFFIX),
        video=str(record["video"]),
        path=Path(record.get("path", record["video"])),
        clip=clip if clip.is_file() else None,
        start=float(record["start_seconds"]),
        end=float(record["end_seconds"]),
        codes=in_time(record),
        codebook_size=int(record.get("codebook_size") or 0),  # null where there are no codes
    )


def true_actions(
    segments: Sequence[Segment], game: str | None, folder: str | None
) -> truth.Labels | None:
    """Effective action of each segment `(n,)`, None where there are no labels with memory at all.

    Args:
        segments: of any videos.
        game: name of the game; None tells it by names and memory.
        folder: of the labels; None looks beside the videos.
    """
    actions = np.full(len(segments), truth.UNKNOWN, np.int64)
    found = False
    for path in {one.path for one in segments}:
        beside = (path.parent if folder is None else Path(folder)) / (path.stem + LABELS)
        if not beside.is_file():
            continue
        try:
            ram = from_file(beside).ram
            with np.load(beside, allow_pickle=False) as file:
                seconds = file["seconds"]
        except (LabelsError, KeyError) as error:
            rank_zero_warn(f"{beside} tells no actions: {error}")
            continue
        played = game or (None if ram is None else truth.find_game(path.stem, ram.shape[1]))
        if ram is None or played is None:
            continue
        found = True
        edges = np.arange(seconds[0], seconds[-1] + STEP / 2, STEP)
        steps = truth.effective_actions(ram, seconds, edges, played)
        own = np.array([i for i, one in enumerate(segments) if one.path == path])
        starts, ends = (np.array([getattr(segments[i], x) for i in own]) for x in ("start", "end"))
        actions[own] = truth.segment_actions(steps, edges, starts, ends)
    return actions if found else None
