"""What a user gives of a clip that is to be generated, as the generator takes it."""

from __future__ import annotations

import cv2
import torch
from torch import Tensor

from datamodules import buttons
from datamodules.video_io import VideoError, read_frames
from lit_modules import LitFlowVideo
from lit_modules.flow.conditioning import UNKNOWN


def held_buttons(actions: str, frames: int, module: LitFlowVideo) -> Tensor:
    """Buttons held in each frame, `(1, frames)`, unknown after the last that are given."""
    if not module.hparams["actions"]:
        raise ValueError(
            f"actions {actions} are of no use: the model was trained without; "
            "train one with --model.actions true"
        )
    held = torch.full((1, frames), UNKNOWN)
    given = torch.tensor(buttons.parse(actions)[:frames])
    held[0, : len(given)] = given
    return held.to(module.device)


def first_frame(path: str, module: LitFlowVideo) -> Tensor:
    """The picture, or the first frame of the video, as a clip of one frame in [-1, 1]."""
    picture = cv2.imread(path, cv2.IMREAD_COLOR_RGB)  # a warning and None for what is no picture
    try:
        picture = next(read_frames(path))[0] if picture is None else picture
    except VideoError as error:
        raise ValueError(f"start_frame {path} cannot be read: {error}") from error
    height, width = module.size
    sized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    frame = module.scale(torch.from_numpy(sized).to(module.device))
    return frame.permute(2, 0, 1)[None, :, None]  # (h, w, 3) -> (1, 3, 1, h, w)
