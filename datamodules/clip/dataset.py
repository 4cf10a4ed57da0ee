"""Clips of recordings as a dataset, and how clips become a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, default_collate

from datamodules.clip.sampler import Draw
from datamodules.clip.sections import Section
from datamodules.clip.timing import clip_frames, clip_starts

Item = dict[str, Any]


class ClipDataset(Dataset[Item]):
    """Every clip of some sections.

    Args:
        sections: where clips are made of.
        length: frames of a clip.
        fps: frames a second.
        stride: frames between the starts of neighbouring clips.
        state_dim: entries of the state vector, 0 for none.
    """

    def __init__(
        self,
        sections: Sequence[Section],
        length: int,
        fps: float,
        stride: int,
        state_dim: int = 0,
    ) -> None:
        self.sections, self.length, self.fps, self.state_dim = sections, length, fps, state_dim
        starts = [clip_starts(part.seconds, length, fps, stride) for part in sections]
        self.starts = np.concatenate([np.zeros(0, np.int64), *starts])
        self.section = np.repeat(np.arange(len(sections)), [len(part) for part in starts])

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.starts)

    def __getitem__(self, draw: Draw | int) -> Item:
        """One clip: native frames, what is known of each, and the position it is drawn with."""
        if not isinstance(draw, Draw):  # a sampler of Lightning's, as for `overfit_batches`
            draw = Draw(int(draw), int(draw), {})
        part = self.sections[self.section[draw.clip]]
        start = int(self.starts[draw.clip])
        index = part.first + clip_frames(part.seconds, start, self.length, self.fps)
        frames, palette = part.recording.frames(index)
        action = np.full(self.length, -1) if part.action is None else part.action[index]
        item = {
            "frames": torch.from_numpy(frames),
            "palette": torch.from_numpy(np.zeros(256, np.int32) if palette is None else palette),
            "action": action.astype(np.int64),
            "seconds": part.recording.seconds[index],
            "frame_index": part.recording.first_frame + index,
            "source": part.source,
            "sample": draw.sample,
            "position": draw.position,
        }
        if self.state_dim:
            item |= self._state(part, index)
        return item

    def _state(self, part: Section, index: NDArray[np.int64]) -> Item:
        if part.state is None:
            state = np.zeros((self.length, self.state_dim), np.float32)
        else:
            state = part.state[index].astype(np.float32)
            if part.state.dtype == np.uint8:
                state /= 255
        return {"state": state, "state_mask": np.full(self.length, part.state is not None)}


def collate(items: list[Item]) -> Item:
    """A batch; clips of palette indices and of RGB stay a list where they come together."""
    frames = [item.pop("frames") for item in items]
    positions = [item.pop("position") for item in items]
    alike = len({clip.ndim for clip in frames}) == 1
    batch: Item = default_collate(items)
    batch["frames"] = default_collate(frames) if alike else frames
    batch["position"] = positions[-1]
    return batch
