"""Segments of code indices, as the segmenter leaves them, for a model of sequences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from datamodules.clip.sampler import ClipSampler, Draw
from datamodules.shuffled import ShuffledDataModule

SUFFIX = ".codes.json"
PAD = -1
USUAL = 95  # percentile of the lengths up to which sequences are trained on whole


class Segment(NamedTuple):
    """A segment's codes in time."""

    name: str
    """Path of its file below the folder, without the suffix."""
    video: str
    group: str
    """Name of the first folder of the path: the class of a segment, where folders are classes."""
    codes: NDArray[np.int64]


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch, filled up with -1."""
    codes = [item["codes"] for item in items]
    return {
        "codes": torch.nn.utils.rnn.pad_sequence(codes, batch_first=True, padding_value=PAD),
        "sample": torch.tensor([item["sample"] for item in items]),
        "name": [item["name"] for item in items],
        "position": items[-1]["position"],
    }


class CodesDataModule(ShuffledDataModule):
    """Code sequences of the `*.codes.json` files below a folder.

    Windows overlap; each token is taken once, so that a sequence reads as the actions did. A batch
    holds `codes` int64 `(b, n)`, -1 behind the end of each, `sample` int64 `(b,)`: number of the
    sequence in the run, `name`, a list of b names, and `position`. In training a sequence longer
    than `max_length` is cut into parts; in prediction each comes whole, in order of names.

    Args:
        data_dir: folder of segments; looked through to its bottom.
        batch_size: sequences a step and process; no more than there are.
        max_length: most codes of a sequence in training; null takes what 95% of them do not exceed.
        balanced: show segments of each group (the first folder below `data_dir`) equally often in
            training, by repeating those of small groups.
        val_fraction: share of the videos held out for validation and test; all segments of a video
            stay on one side. 0 holds out nothing.
        val_levels: levels held out instead of a fraction, such as `1-1`.
        seed: seed of the order and of the choice of held-out videos, at least 0.
        num_workers: processes that read beside the training; 0 is enough.
    """

    collate = staticmethod(collate)
    kind = "sequences of codes"

    def __init__(
        self,
        data_dir: str = "segments",
        batch_size: int = 32,
        max_length: int | None = None,
        balanced: bool = False,
        val_fraction: float = 0.1,
        val_levels: list[str] | str | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, seed, num_workers, val_fraction, val_levels)
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length {max_length} is too small; set data.max_length to 1")
        self.data_dir, self.max_length, self.balanced = data_dir, max_length, balanced
        self.segments: list[Segment] = []

    def setup(self, stage: str) -> None:
        """Reads the files, shares them out and says how long the sequences are."""
        super().setup(stage)
        self.batch_size = self._batch_size

    def predict_dataloader(self) -> DataLoader[Any]:
        """Every segment, whole."""
        segments = CodeSequences(self.segments)
        return self._loader(segments, InOrder(segments, self.batch_size, *self._ranks))

    def _datasets(self) -> tuple[CodeSequences, CodeSequences]:
        self.segments = [segment for segment in read_segments(self.data_dir) if len(segment.codes)]
        if not self.segments:
            raise ValueError(
                f"no segment with codes below {self.data_dir}; make some by train.py predict -c "
                "configs/latent_action/segment.yaml, or set data.data_dir"
            )
        lengths = [len(segment.codes) for segment in self.segments]
        usual = int(np.ceil(np.percentile(lengths, USUAL)))
        most = self.max_length or usual
        rank_zero_info(
            f"{len(lengths)} segments of {min(lengths)} to {max(lengths)} codes, median "
            f"{np.median(lengths):g}, {USUAL}% up to {usual}; longer than {most} are cut"
        )
        train, held_out = (
            [piece for segment in side for piece in cut(segment, most)] for side in self._sides()
        )
        return CodeSequences(balance(train) if self.balanced else train), CodeSequences(held_out)

    def _sides(self) -> tuple[list[Segment], list[Segment]]:
        """What is trained on and what is held out."""
        videos = sorted({segment.video for segment in self.segments})
        split = self._split(videos)
        aside = {videos[i] for i in split.held_out}
        if not aside and self.val_fraction:
            rank_zero_warn(f"nothing in {self.data_dir} is held out: all is of one video or level")
        train = [segment for segment in self.segments if segment.video not in aside]
        return train, [segment for segment in self.segments if segment.video in aside]


class CodeSequences(Dataset[dict[str, Any]]):
    """Segments as a dataset."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = list(segments)

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.segments)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        """One sequence and the position it is drawn with."""
        if not isinstance(draw, Draw):  # a sampler of Lightning's, as for `overfit_batches`
            draw = Draw(int(draw), int(draw), {})
        segment = self.segments[draw.clip]
        codes = torch.from_numpy(segment.codes)
        return {
            "codes": codes,
            "name": segment.name,
            "sample": draw.sample,
            "position": draw.position,
        }


class InOrder(ClipSampler):
    """Every sequence once; rank r has each `ranks`-th, beginning with the r-th."""

    def __len__(self) -> int:
        """Sequences of this rank."""
        return len(range(self.rank, self.clips, self.num_replicas))

    def __iter__(self) -> Iterator[Draw]:
        """The sequences of this rank."""
        for i in range(self.rank, self.clips, self.num_replicas):
            yield Draw(i, i, {})


def read_segments(folder: str | Path) -> list[Segment]:
    """The segments of all `*.codes.json` files below a folder, in order of names.

    A file that cannot be read is left out with a warning.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {folder}; set data.data_dir to one of segments")
    segments = []
    for path in sorted(root.rglob(f"*{SUFFIX}")):
        name = path.relative_to(root).as_posix().removesuffix(SUFFIX)
        try:
            record = json.loads(path.read_text())
            video = str(record["video"])
            segments.append(Segment(name, video, name.partition("/")[0], in_time(record)))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            reason = error if str(error) else type(error).__name__
            rank_zero_warn(f"{path} holds no codes that can be read ({reason}) and is left out")
    return segments


def in_time(record: dict[str, Any]) -> NDArray[np.int64]:
    """Codes of a segment in time, each once.

    Args:
        record: content of a file: `codes`, a row of n indices a window; `stride` and `horizon`,
            steps between windows and of a window; `windows`, numbers of the windows, where some
            are left out.
    """
    if not record["codes"]:
        return np.zeros(0, np.int64)
    rows = np.array(record["codes"], np.int64)
    if rows.ndim != 2:
        raise ValueError(f"codes of shape {rows.shape} are no rows of indices")
    if rows.min() < 0:
        raise ValueError(f"index {rows.min()} is below 0")
    steps = np.diff(record.get("windows", np.arange(len(rows)))) * int(record["stride"])
    n = rows.shape[1]
    fresh = np.clip(np.rint(steps * n / int(record.get("horizon", 16))).astype(int), 1, n)
    parts = [row[n - count :] for row, count in zip(rows[1:], fresh, strict=True)]
    return np.concatenate([rows[0], *parts])


def cut(segment: Segment, most: int) -> list[Segment]:
    """A segment in parts of `most` codes; the last may be shorter."""
    codes = segment.codes
    return [segment._replace(codes=codes[i : i + most]) for i in range(0, len(codes), most)]


def balance(segments: Sequence[Segment]) -> list[Segment]:
    """Repeats the segments of small groups until each group has as many as the largest."""
    groups: dict[str, list[Segment]] = {}
    for segment in segments:
        groups.setdefault(segment.group, []).append(segment)
    most = max(map(len, groups.values()))
    return [own[i % len(own)] for own in groups.values() for i in range(most)]
