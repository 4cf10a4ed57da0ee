"""Short clips of recorded play, for models that learn from video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
from lightning.pytorch.utilities import rank_zero_warn

from datamodules.clip.dataset import ClipDataset, collate
from datamodules.clip.sections import Section, cut_in_time, whole, with_states
from datamodules.clip.timing import last_start
from datamodules.labels import State
from datamodules.pixels import clips_to_rgb
from datamodules.shuffled import ShuffledDataModule
from datamodules.video.cache import Recordings, open_recordings


class AviClipDataModule(ShuffledDataModule):
    """Clips of the video files below a folder, shuffled anew in each pass; the same for every run.

    A batch holds `video` uint8 `(b, 3, t, h, w)` RGB, `action` int64 `(b, t)` (the byte of buttons
    pressed, -1 where no labels are known), `seconds` float64 and `frame_index` int64 `(b, t)` in
    the file, `source` int64 `(b,)`: the number of the file, `sample` int64 `(b,)`: the number of
    the clip in the run, and `position`: where the run stands after this batch. With a `state` also
    `state` float32 `(b, t, d)` and `state_mask` bool `(b, t)`.

    Which clip sample k is follows from (seed, k) and the files alone, however many workers read
    and however the batch is shared out over ranks. A file that cannot be read is left out and
    named, as is one that is shorter than a clip.

    Args:
        data_dir: folder of avi, mp4, mkv, webm and gif files and of folders of indexed PNG frames
            with state; looked through to its bottom. Or one file.
        clip_length: frames of a clip.
        fps: frames a second of a clip; each is the frame of the file that is nearest in time.
        size: height and width of the frames in pixels. Frames of another size are resized, by
            area where they shrink.
        batch_size: clips a step and process.
        stride: frames (at `fps`) from the start of a clip to that of the next; unset a quarter of
            `clip_length`. 1 takes every clip that there is.
        val_fraction: share of the files held out for validation, test and prediction, at least one
            file; files that show the same level (`1-1_win.avi`, `000_1-1_xvid.avi`) stay on one
            side. Where there is one file or one level only, the last part of each file is held
            out. 0 holds out nothing.
        cache_dir: folder where decoded frames are kept, so that each file is decoded once; null
            decodes each clip from its file, which is slow.
        strict: whether a file that cannot be read ends the run.
        seed: seed of the order of clips and of the choice of held-out files, at least 0.
        val_levels: levels held out instead of a fraction, such as `1-1` or `[1-1,4-2]`.
        num_workers: processes that read clips beside the training; 0 reads in the training
            process, which is enough where clips are small or cached.
        state: state vector that goes with each frame: `mario` (what matters in the memory of Super
            Mario Bros.), `ram` (the whole memory, divided by 255) or `none`. It comes from the
            `<name>.labels.npz` beside a file.
        cache_gib: size of the cache in GiB; what was not used for longest is deleted first.
    """

    collate = staticmethod(collate)
    kind = "clips"
    remedy = "set data.stride lower"

    def __init__(
        self,
        data_dir: str = "data_video/mario",
        clip_length: int = 60,
        fps: float = 30,
        size: tuple[int, int] = (240, 256),
        batch_size: int = 2,
        stride: int | None = None,
        val_fraction: float = 0.1,
        cache_dir: str | None = "~/.cache/litarcade",
        strict: bool = False,
        seed: int = 0,
        val_levels: list[str] | str | None = None,
        num_workers: int = 0,
        state: State = "none",
        cache_gib: float = 20.0,
    ) -> None:
        super().__init__(batch_size, seed, num_workers, val_fraction, val_levels)
        stride = max(1, clip_length // 4) if stride is None else stride
        self._at_least({"clip_length": (clip_length, 1), "stride": (stride, 1)})
        if not 0 < fps < float("inf"):
            raise ValueError(f"fps {fps} is no rate; set data.fps to a number above 0")
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size {size} is no height and width; set data.size to two integers")
        self.data_dir, self.clip_length, self.fps = data_dir, clip_length, fps
        self.size, self.stride = (size[0], size[1]), stride
        self.cache_dir, self.cache_gib, self.strict = cache_dir, cache_gib, strict
        self.state = state
        self._recordings: Recordings | None = None

    @property
    def recordings(self) -> Recordings:
        """The readable files; looked for and decoded once."""
        if self._recordings is None:
            cache = self.cache_dir and str(Path(self.cache_dir).expanduser())
            self._recordings = open_recordings(
                self.data_dir, self.size, cache, self.cache_gib, self.strict
            )
        return self._recordings

    @property
    def game_names(self) -> list[str]:
        """The files, relative to the folder; `source` counts them.

        One that is damaged in the middle is there once for each part that is left of it.
        """
        return [recording.name for recording in self.recordings]

    def prepare_data(self) -> None:
        """Decodes into the cache, on one process of each machine, which the others wait for."""
        if self.cache_dir is not None:
            assert self.recordings

    def setup(self, stage: str) -> None:
        """Opens the files and shares them out, so that a wrong folder ends the run at once."""
        cv2.setNumThreads(1)  # a clip is too small to share out
        super().setup(stage)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Looks colours up on the device; a training batch counts as consumed."""
        batch = dict(super().on_after_batch_transfer(batch, dataloader_idx))
        batch["video"] = clips_to_rgb(batch.pop("frames"), batch.pop("palette"))
        return batch

    def _datasets(self) -> tuple[ClipDataset, ClipDataset]:
        parts, width = with_states(self._long_enough(), self.state)
        train, held_out = self._sides(parts)
        shape = (self.clip_length, self.fps, self.stride, width)
        return ClipDataset(train, *shape), ClipDataset(held_out, *shape)

    def _sides(self, parts: list[Section]) -> tuple[list[Section], list[Section]]:
        """What is trained on and what is held out."""
        names = [self.game_names[part.source] for part in parts]
        split = self._split(names)
        if split.held_out or not self.val_fraction:
            return [parts[i] for i in split.train], [parts[i] for i in split.held_out]
        train, held_out = cut_in_time(parts, self.val_fraction, self.clip_length, self.fps)
        if not held_out:
            rank_zero_warn(
                f"nothing in {self.data_dir} is held out: its one file or level is too short for "
                "a clip on either side"
            )
        return train, held_out

    def _long_enough(self) -> list[Section]:
        """The recordings that hold a clip, with their labels."""
        short = [
            i
            for i, part in enumerate(self.recordings)
            if last_start(part.seconds, self.clip_length, self.fps) < 0
        ]
        needs = f"clip_length {self.clip_length} at {self.fps:g} frames a second"
        if len(short) == len(self.recordings):
            longest = max(self.recordings, key=lambda part: part.seconds[-1])
            frames = int(longest.seconds[-1] * self.fps + 1.25)
            raise ValueError(
                f"no file in {self.data_dir} is as long as {needs}; the longest, "
                f"{longest.path.name}, has {frames}; set data.clip_length to that or less"
            )
        if short:
            names = ", ".join(self.game_names[i] for i in short)
            rank_zero_warn(f"shorter than {needs} and left out: {names}")
        return [
            whole(i, part, self.state) for i, part in enumerate(self.recordings) if i not in short
        ]
