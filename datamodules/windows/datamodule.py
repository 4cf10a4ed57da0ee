"""Windows of motion of files, folders, cameras and network streams, video by video."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from datamodules.tracking import make_tracker
from datamodules.tracking.trackers import TrackerName
from datamodules.windows.feed import Feed, Video, list_sources, read_file
from datamodules.windows.live import Connection, LiveFeed, open_camera, open_stream
from datamodules.windows.windower import Windower

ON_DEVICE = ("velocity", "visible", "image")

Batch = dict[str, Any]


class WindowStream(IterableDataset[Batch]):
    """The windows of some files, file after file; workers share the files out.

    Args:
        videos: the files.
        windower: cuts them.
    """

    def __init__(self, videos: list[Video], windower: Windower) -> None:
        self.videos, self.windower = videos, windower

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        worker = get_worker_info()
        own = self.videos[worker.id :: worker.num_workers] if worker else self.videos
        for video in own:
            yield from self.windower.batches(video, read_file(video.path))


class LiveStream(IterableDataset[Batch]):
    """The windows of a live source.

    Args:
        video: the source.
        feed: its frames.
        windower: cuts them.
    """

    def __init__(self, video: Video, feed: LiveFeed, windower: Windower) -> None:
        self.video, self.feed, self.windower = video, feed, windower

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        frames: Feed = iter(self.feed)
        return self.windower.batches(self.video, frames)


class VideoWindowDataModule(L.LightningDataModule):
    """Windows of motion for validation (calibration) and prediction (segmenting).

    A batch holds b windows of one video in order (0 where a video is shorter than one window):
    `velocity` float32 `(b, T, P, 2)` and `visible` bool `(b, T, P)` as a tracker tells them of
    each step of 1/20 s, `seconds` float64 `(b, T)` (begin of each step, by the file's timestamps),
    `action` int64 `(b, T)` (button byte held, -1 unknown), `still` bool `(b,)`, and of the video
    `video` (its number), `name`, `path`, `first`, `last` (whether it is its first or last batch),
    `end` (seconds, in the last), `error` (why nothing more of it can be read, or None), `notes`
    (breaks of the file or connection), `dropped` (windows left out since the batch before),
    `frames` (list of RGB `(h, w, 3)`, prediction only) and `frame_seconds`.

    A file drops nothing. A live source whose reader falls behind drops whole windows and counts
    them. One video stays on one rank.

    Args:
        source: file, folder (looked through to its bottom), number of a camera or address of a
            network stream such as `rtsp://host/path`.
        tracker: `lucas_kanade`, `dis` or `cotracker`.
        tracker_checkpoint: weights of `cotracker`.
        resize_shorter: pixels that the shorter side of larger frames is shrunk to before tracking.
        horizon: steps of a window, of 1/20 s each; that of the tokenizer.
        stride: steps from a window's beginning to the next one's, at least 1.
        batch_size: windows a batch at most; of a live source it is always 1.
        pre_gate: brightness in [0, 255] by which some pixel of a grid cell must change for its
            point to be tracked; what does not change is still at no cost.
        motion_gate: a window is still if no point moves faster, in shares of the frame's width or
            height a step.
        images: give a small picture of each window's beginning, for tokenizers that ask for one.
        num_workers: processes that decode and track files beside the main one; 0 does it there.
        max_lag: most seconds of frames of a live source that wait before windows are dropped.
        reconnect_attempts: tries in a row to reach a live source again; null is no limit.
        reconnect_pause: seconds before the first try; doubled each time, up to 30.
        duration: seconds after which a live source is left; null is at Ctrl+C.
    """

    def __init__(
        self,
        source: int | str,
        tracker: TrackerName = "lucas_kanade",
        tracker_checkpoint: str | None = None,
        resize_shorter: int | None = None,
        horizon: int = 16,
        stride: int = 4,
        batch_size: int = 8,
        pre_gate: int = 8,
        motion_gate: float = 0.002,
        images: bool = False,
        num_workers: int = 0,
        max_lag: float = 1.0,
        reconnect_attempts: int | None = 10,
        reconnect_pause: float = 0.5,
        duration: float | None = None,
    ) -> None:
        super().__init__()
        least = {"horizon": 1, "stride": 1, "batch_size": 1, "num_workers": 0}
        for (name, bound), value in zip(
            least.items(), (horizon, stride, batch_size, num_workers), strict=True
        ):
            if value < bound:
                raise ValueError(f"{name} {value} is too small; set data.{name} to {bound} or more")
        self.source, self.images, self.num_workers = source, images, num_workers
        self.live = isinstance(source, int) or "://" in source
        self._windower = partial(
            Windower,
            make_tracker(
                tracker,
                resize_shorter=resize_shorter,
                checkpoint=tracker_checkpoint,
                still_difference=pre_gate,
            ),
            horizon,
            stride,
            1 if self.live else batch_size,
            motion_gate,
            images=images,
        )
        self._live = partial(
            LiveFeed,
            name=f"camera {source}" if isinstance(source, int) else str(source),
            max_lag=max_lag,
            attempts=reconnect_attempts,
            first_pause=reconnect_pause,
            duration=duration,
        )
        self.settings = {
            "tracker": [tracker, tracker_checkpoint, resize_shorter, pre_gate],
            "windows": [horizon, stride, motion_gate],
        }
        """What windows depend on besides the video; plain types."""
        self.videos: list[Video] = []
        self._left_out: set[int] = set()

    def setup(self, stage: str) -> None:
        """Looks for the videos, so that a wrong source ends the run before it begins."""
        self._left_out = set()
        if self.live:
            name = f"camera{self.source}" if isinstance(self.source, int) else "stream"
            self.videos = [Video(0, name, str(self.source))]
        else:
            self.videos = list_sources(str(self.source))

    def leave_out(self, done: Collection[int], folder: Path) -> None:
        """Videos that need not be read, and those that a run has made itself.

        Args:
            done: numbers of videos that prediction leaves out.
            folder: where results go; videos in there are none of the source.
        """
        results = folder.resolve()
        if not self.live and results.is_relative_to(Path(str(self.source)).resolve()):
            self.videos = [v for v in self.videos if results not in Path(v.path).resolve().parents]
        self._left_out = set(done)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every video, without its frames."""
        return self._loader(self.videos, frames=False)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Every video that is not left out, with its frames."""
        return self._loader([v for v in self.videos if v.number not in self._left_out], frames=True)

    def _loader(self, videos: list[Video], frames: bool) -> DataLoader[Batch]:
        """The videos of this rank."""
        rank, ranks = 0, 1
        if self.trainer is not None:
            rank, ranks = self.trainer.global_rank, self.trainer.world_size
        own, windower = videos[rank::ranks], self._windower(frames=frames)
        dataset: IterableDataset[Batch] = WindowStream(own, windower)
        if self.live and own:
            dataset = LiveStream(own[0], self._live(self._connect), windower)
        workers = 0 if self.live else min(self.num_workers, len(own))
        # `dict` leaves a batch as it is, where the default would turn frames to tensors.
        return DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=dict)

    def _connect(self) -> Connection:
        """Opens the live source."""
        if isinstance(self.source, int):
            return open_camera(self.source)
        return open_stream(self.source)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Moves what the tokenizer sees; frames and times stay on the host."""
        seen = {name: batch[name] for name in ON_DEVICE if name in batch}
        return batch | dict(super().transfer_batch_to_device(seen, device, dataloader_idx))
