"""Clips of Super Mario Bros. with the game's state, pixel for pixel, in varied looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from datamodules.clip.augmentation import Augmentation, Look, dressed
from datamodules.clip.dataset import ClipDataset, Item
from datamodules.clip.sampler import Draw
from datamodules.clip.sections import Section, with_states
from datamodules.clip.split import level_of
from datamodules.clips import AviClipDataModule
from datamodules.labels import State
from datamodules.ram_map import LEVEL_WIDTH, PLAYER, STATE_NAMES
from datamodules.video.cache import Recordings, open_recordings


class SmbFrameDataModule(AviClipDataModule):
    """Clips of frames with game state: of episodes in the smbdataset's format and of videos.

    It differs from `AviClipDataModule`, whose batches it gives, in three things: a frame is cut
    out or framed in black to come to `size` and never resized; training clips are varied, each by
    (seed, number of the sample) alone; and the state vector is that of Super Mario Bros. unless
    another is asked for. Of other games `state` `ram` is the plain memory, 128 values of an Atari.

    Held-out clips show the middle of the picture and are not varied.

    Args:
        data_dir: folder of episodes of PNG frames (`<user>_<session>_e<episode>_<world>-<level>_
            <outcome>/`), and of videos with a `<name>.labels.npz` beside each; looked through to
            its bottom. `python -m datamodules.smb` turns the former into the latter.
        clip_length: frames of a clip.
        fps: frames a second that a recording is read at.
        frame_step: of those, every which one a clip is made of; 2 at 30 `fps` is every second
            frame of a recording of 30 frames a second and every fourth of one of 60.
        size: height and width of the frames in pixels.
        batch_size: clips a step and process.
        stride: frames of a clip (which are `frame_step` apart) from its start to that of the next;
            unset a quarter of `clip_length`. 1 takes every clip that there is.
        random_crop: whether training shows any part of frames larger than `size`, or the middle.
        flip: probability that a training clip is mirrored, in [0, 1]; left and right are swapped
            in `action` and `state` too.
        colour_jitter: most that brightness, contrast and saturation of a training clip change by,
            in [0, 1]; hue changes by as many quarters of its circle.
        val_fraction: share of the recordings held out for validation, test and prediction; those
            of one level stay on one side, so nothing is held out where all show the same. Files
            that name no level count one by one; of a single one the last part is held out.
        cache_dir: folder where decoded frames are kept, so that each file is decoded once; null
            decodes each clip from its file, which is slow.
        strict: whether a file that cannot be read ends the run.
        seed: seed of order, looks and the choice of held-out recordings, at least 0.
        val_levels: levels held out instead of a fraction, such as `1-1` or `[1-1,4-2]`.
        num_workers: processes that read clips beside the training; 0 reads in the training
            process, which is enough where clips are small or cached.
        state: state vector that goes with each frame: `mario` (`ram_map.STATE_NAMES`, in [-1, 1]),
            `ram` (the whole memory, divided by 255) or `none`. Recordings that have none are used
            all the same, with `state_mask` false.
        cache_gib: size of the cache in GiB; what was not used for longest is deleted first.
    """

    def __init__(
        self,
        data_dir: str = "data_video/mario",
        clip_length: int = 16,
        fps: float = 30,
        frame_step: int = 2,
        size: tuple[int, int] = (224, 224),
        batch_size: int = 8,
        stride: int | None = None,
        random_crop: bool = True,
        flip: float = 0.0,
        colour_jitter: float = 0.0,
        val_fraction: float = 0.1,
        cache_dir: str | None = "~/.cache/litarcade",
        strict: bool = False,
        seed: int = 0,
        val_levels: list[str] | str | None = None,
        num_workers: int = 0,
        state: State = "mario",
        cache_gib: float = 20.0,
    ) -> None:
        if frame_step < 1:
            raise ValueError(f"frame_step {frame_step} is too small; set data.frame_step to 1")
        for name, share in (("flip", flip), ("colour_jitter", colour_jitter)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} {share} is not in [0, 1]; set data.{name} within")
        if flip and state == "ram":
            raise ValueError(
                "nobody knows left and right in state ram; set data.flip to 0, or data.state to "
                "mario or none"
            )
        super().__init__(
            data_dir,
            clip_length,
            fps / frame_step,
            size,
            batch_size,
            stride,
            val_fraction,
            cache_dir,
            strict,
            seed,
            val_levels,
            num_workers,
            state,
            cache_gib,
        )
        self.frame_step = frame_step
        self.augmentation = Augmentation(seed, random_crop, flip, colour_jitter)

    @property
    def recordings(self) -> Recordings:
        """The readable recordings in their own size; looked for and decoded once."""
        if self._recordings is None:
            cache = self.cache_dir and str(Path(self.cache_dir).expanduser())
            self._recordings = open_recordings(
                self.data_dir, None, cache, self.cache_gib, self.strict
            )
        return self._recordings

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """As for all clips; of Mario's state also where the camera is and what level it shows."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        if self.state == "mario":
            batch |= seen_by_camera(batch["state"], batch["state_mask"])
        return batch

    def _datasets(self) -> tuple[ClipDataset, ClipDataset]:
        parts, width = self._with_states(self._long_enough())
        train, held_out = self._sides(parts)
        shape = (self.clip_length, self.fps, self.stride, width)
        return (
            DressedClips(train, *shape, self.size, self.augmentation),
            DressedClips(held_out, *shape, self.size),
        )

    def _with_states(self, parts: list[Section]) -> tuple[list[Section], int]:
        """A plain video is a clip without a state, not an error: models learn to do without."""
        if self.state == "mario" and all(part.state is None for part in parts):
            rank_zero_warn(
                f"no recording in {self.data_dir} has labels of Super Mario Bros.: state_mask is "
                "false everywhere; set data.state to ram for other games, or to none"
            )
            return parts, len(STATE_NAMES)
        return with_states(parts, self.state)

    def _sides(self, parts: list[Section]) -> tuple[list[Section], list[Section]]:
        """A level that is trained on flatters whoever is judged on it, even a later part of it."""
        levels = {level_of(self.game_names[part.source]) for part in parts}
        if self.val_fraction and not self.val_levels and len(levels) == 1 and None not in levels:
            rank_zero_warn(
                f"all recordings in {self.data_dir} show level {levels.pop()}: nothing is held "
                "out; record another level to judge on"
            )
            return parts, []
        return super()._sides(parts)


def seen_by_camera(state: Tensor, known: Tensor) -> dict[str, Tensor]:
    """Where the picture lies in the game.

    Args:
        state: `(b, t, d)`, see `ram_map.mario_state`.
        known: bool `(b, t)`, which frames have one.

    Returns:
        `camera`, pixels from the start of the area to the left edge of the picture, float `(b, t)`,
        NaN where not known, and `level`, `4 * world + level` of the first frame, both counted from
        0, int64 `(b,)`, -1 where not known.
    """
    columns = {name: state[..., STATE_NAMES.index(name)] for name in ("camera_x", "world", "level")}
    camera = (columns["camera_x"] + 1) / 2 * LEVEL_WIDTH
    world, level = (
        ((columns[name][:, 0] + 1) / 2 * PLAYER[name].highest).round().long()
        for name in ("world", "level")
    )
    return {
        "camera": camera.masked_fill(~known, torch.nan),
        "level": torch.where(known[:, 0], 4 * world + level, -1),
    }


class DressedClips(ClipDataset):
    """Clips at the model's size, each in the look that its number in the run gives.

    Args:
        sections: where clips are made of.
        length: frames of a clip.
        fps: frames a second.
        stride: frames between the starts of neighbouring clips.
        state_dim: entries of the state vector, 0 for none.
        size: height and width of the frames.
        augmentation: draws looks; None shows the middle of the picture as it is.
    """

    def __init__(
        self,
        sections: Sequence[Section],
        length: int,
        fps: float,
        stride: int,
        state_dim: int,
        size: tuple[int, int],
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(sections, length, fps, stride, state_dim)
        self.size, self.augmentation = size, augmentation

    def __getitem__(self, draw: Draw | int) -> Item:
        """One clip, as `ClipDataset` gives it."""
        item = super().__getitem__(draw)
        look = self.augmentation.look(item["sample"]) if self.augmentation else Look()
        return dressed(item, look, self.size)
