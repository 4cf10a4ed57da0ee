"""CoTracker3 behind the same interface, from a checkpoint that the user has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from datamodules.tracking.gated import GatedTracker
from datamodules.tracking.motion import Bools, Floats, Gray


class CoTracker(GatedTracker):
    """CoTracker3 (Karaev et al. 2024), offline, on pairs of frames.

    Args:
        checkpoint: a TorchScript file, called with the video and the queries; or the weights of
            the `cotracker` package (`scaled_offline.pth`), which must then be installed.
        grid: points in a row and in a column.
        resize_shorter: pixels that the shorter side of larger frames is shrunk to.
        still_difference: brightness by which some pixel of a cell must change; below 0 tracks all.
        device: where it runs, such as `cpu` or `cuda`.
    """

    def __init__(
        self,
        checkpoint: str | Path | None,
        grid: int = 20,
        resize_shorter: int | None = None,
        still_difference: int = 8,
        device: str = "cpu",
    ) -> None:
        super().__init__(grid, resize_shorter, still_difference)
        self.device = torch.device(device)
        self.model = load(checkpoint, self.device)

    @torch.inference_mode()
    def follow(self, previous: Gray, gray: Gray, points: Floats) -> tuple[Floats, Bools]:
        """Displacement `(n, 2)` in pixels of points `(n, 2)`, and which are not lost."""
        frames = torch.from_numpy(np.stack([previous, gray])).to(self.device)
        video = frames[None, :, None].expand(-1, -1, 3, -1, -1).float()  # (1, 2, 3, h, w), 0 to 255
        queries = torch.zeros(1, len(points), 3, device=self.device)  # frame, x, y
        queries[0, :, 1:] = torch.from_numpy(points)
        tracks, visible = self.model(video, queries)[:2]  # (1, 2, n, 2), (1, 2, n)
        displacement = (tracks[0, 1].float().cpu() - torch.from_numpy(points)).numpy()
        seen = visible.reshape(1, 2, len(points))[0, 1].float().cpu().numpy() > 0.5
        return displacement, np.asarray(seen)


def load(checkpoint: str | Path | None, device: torch.device) -> Any:
    """The model of a checkpoint.

    Raises:
        ValueError: if there is none, or it is not one.
        ImportError: if the package is missing that its weights need.
    """
    path = Path(checkpoint) if checkpoint else None
    if path is None or not path.is_file():
        raise ValueError(
            f"the tracker cotracker needs a checkpoint and {path or 'none'} is no file; download "
            "scaled_offline.pth of CoTracker3 and set checkpoint to its path"
        )
    jit: Any = torch.jit  # which is not typed
    try:
        return jit.load(str(path), map_location=device).eval()
    except RuntimeError:  # no TorchScript, so weights
        pass
    try:
        from cotracker.predictor import CoTrackerPredictor
    except ImportError as error:
        raise ImportError(
            f"{path} holds no TorchScript; as weights it needs the package cotracker: pip install "
            "git+https://github.com/facebookresearch/co-tracker.git"
        ) from error
    return CoTrackerPredictor(checkpoint=str(path), offline=True).to(device).eval()
