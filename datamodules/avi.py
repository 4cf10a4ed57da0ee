"""Files of video as endless streams, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from datamodules.base import IterableDataModule
from datamodules.streams.chunks import Frame, Snapshot, Source, StreamError, StreamSet
from datamodules.video.decoder import Rgb
from datamodules.video.decoding import VideoError, read_frames
from datamodules.video.folder import Videos, find_videos, no_videos


class Reading(Source):
    """One stream: file after file from `first` on, then from the first file again.

    Args:
        index: global index of the stream.
        files: files that could be read when the run began.
        snapshot: where to go on; None or an empty one begins.
    """

    def __init__(self, index: int, files: Videos, snapshot: Snapshot | None) -> None:
        super().__init__()
        self.index, self.files = index, files
        self.file, self.next_frame, self.fruitless = index % len(files.paths), 0, 0
        self._frames: Iterator[tuple[Rgb, float]] | None = None
        if snapshot:
            self._go_to(snapshot)

    def _go_to(self, snapshot: Snapshot) -> None:
        """Decodes a file from its beginning: seeking is not exact in every AVI."""
        names, name = self.files.names(), snapshot.get("file")
        if name not in names:
            raise StreamError(
                f"stream {self.index} was at {name}, which {self.files.root} does not hold; "
                "resume with the data that the run was saved with"
            )
        self.file = names.index(name)
        for _ in range(snapshot["frame"]):
            self.next()

    def next(self, remember: bool = False) -> Frame:
        """The next frame of the file, or the first of the next file that has one.

        Raises:
            StreamError: if no file of the folder has a frame any more.
        """
        while True:
            path = self.files.paths[self.file]
            try:
                self._frames = self._frames or read_frames(path)
                pixels, seconds = next(self._frames)
                break
            except StopIteration:
                pass
            except VideoError as error:
                self.notes.append(f"{path}: {error}; going on with the next file")
            self._next_file()
        self.fruitless = 0
        self.next_frame += 1
        index = self.next_frame - 1
        return Frame(pixels, -1, index == 0, self.file, index, seconds)

    def _next_file(self) -> None:
        self.fruitless += self.next_frame == 0
        if self.fruitless >= len(self.files.paths):
            raise StreamError(no_videos(self.files.root))
        self.file = (self.file + 1) % len(self.files.paths)
        self.next_frame, self._frames = 0, None

    def snapshot(self) -> Snapshot:
        """The file by name and how many of its frames have been read."""
        return {"file": self.files.names()[self.file], "frame": self.next_frame}


class AviStream(StreamSet):
    """Streams of files with these global indices.

    Args:
        indices: global index of each stream.
        files: the files to read.
        chunk: frames of a stream an item.
        position: where to go on; None begins.
    """

    def __init__(
        self, indices: Sequence[int], files: Videos, chunk: int = 64, position: Any = None
    ) -> None:
        super().__init__(indices, chunk, position)
        self.files = files

    def open(self, index: int, snapshot: Snapshot | None) -> Reading:
        """Begins or goes on with one stream."""
        return Reading(index, self.files, snapshot)


class AviStreamDataModule(IterableDataModule):
    """Frames of video files in order, file after file, for ever; see `IterableDataModule`.

    Every avi, mp4, mkv, webm and gif below the folder is read in natural order. Stream i begins
    with the i-th file. `source` counts files, `action` is -1 as it is not known. Files know no
    held-out play: validation and prediction read the same files from the beginning. A file that
    cannot be read is left out with one warning, one that is damaged ends where the damage is.

    Args:
        data_dir: folder of the files, or one file.
        size: height and width of the frames.
        streams: parallel streams a process, which is the batch size.
        num_workers: worker processes that decode; 0 decodes in the training process.
        seed: kept for the summary of a run; files are read in order.
        chunk: frames of a stream that a worker hands over at once.
        max_restarts: how often the worker processes may die.
    """

    def __init__(
        self,
        data_dir: str,
        size: tuple[int, int] = (224, 224),
        streams: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        chunk: int = 16,
        max_restarts: int = 5,
    ) -> None:
        super().__init__(size, streams, num_workers, seed, chunk, max_restarts)
        self.data_dir = data_dir
        self._files: Videos | None = None

    @property
    def files(self) -> Videos:
        """The readable files; looked for once."""
        self._files = self._files or find_videos(self.data_dir)
        return self._files

    def setup(self, stage: str) -> None:
        """Looks for the files, so that a wrong folder ends the run before it begins."""
        super().setup(stage)
        assert self.files

    @property
    def game_names(self) -> list[str]:
        """The first file of each of this rank's streams."""
        names = self.files.names()
        return [names[index % len(names)] for index in self.indices]

    def stream_set(self, indices: Sequence[int], seed: int, position: Any) -> AviStream:
        """The files, read by these streams."""
        return AviStream(indices, self.files, self.chunk, position)
