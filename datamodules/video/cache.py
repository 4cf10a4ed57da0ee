"""The recordings of a folder, decoded once into a cache on disk, or from their files each time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from datamodules.video.decoder import Rgb
from datamodules.video.decoding import VideoError, explain
from datamodules.video.folder import list_videos, no_videos
from datamodules.video.index import RecordingIndex, build_index
from datamodules.video.quarantine import Quarantine
from datamodules.video.recorded import Recording, Size, resized
from datamodules.video.sources import fingerprint
from datamodules.video.store import FrameStore, FrameWriter

FORMAT = 1  # raise it when decoded frames or their index change

__all__ = ["Recording", "Recordings", "open_recordings"]


class Recordings(Sequence[Recording]):
    """The readable recordings below a folder, in natural order."""

    def __init__(
        self, root: Path, recordings: list[Recording], quarantined: list[tuple[Path, str]]
    ) -> None:
        self.root, self._recordings = root, recordings
        self.quarantined = quarantined
        """Files that are bad, in whole or in part, and why."""

    def __len__(self) -> int:
        return len(self._recordings)

    @overload
    def __getitem__(self, index: int) -> Recording: ...
    @overload
    def __getitem__(self, index: slice) -> list[Recording]: ...
    def __getitem__(self, index: int | slice) -> Recording | list[Recording]:
        return self._recordings[index]


def open_recordings(
    data_dir: str | os.PathLike[str],
    size: Size | None = None,
    cache_dir: str | None = None,
    cache_gib: float = 20.0,
    strict: bool = False,
    report: bool = True,
) -> Recordings:
    """Opens every file of video and every folder of frames below a folder.

    Each is decoded once, in order, which counts the frames that really are there. What cannot be
    read is left out with one warning each and a table of all; of a damaged file the frames before
    and, where its index tells their number, behind the damage are used. No recording reaches over
    damage: such a file gives several.

    Args:
        data_dir: the folder, or one file.
        size: height and width that frames are resized to, None leaves them as they are.
        cache_dir: where decoded frames are kept; None decodes each clip from its file, which is as
            exact and slower.
        cache_gib: GiB that the cache may take; what was used least recently is deleted first.
        strict: whether a bad file ends the run.
        report: whether the table of bad files is printed.

    Raises:
        ValueError: if nothing can be read.
        VideoError: if a file is bad and `strict` is set.
    """
    root, paths = list_videos(os.fspath(data_dir), episodes=True)
    quarantine = Quarantine(root, strict)
    recordings: list[Recording] = []
    with Reading(size, open_store(cache_dir, cache_gib), len(paths)) as reading:
        for path in paths:
            try:
                index, stored = reading.read(path)
            except VideoError as error:
                quarantine.add(path, explain(path, str(error)))
                continue
            pieces = [piece for piece in index.pieces() if piece.stop - piece.start > 1]
            kept = sum(piece.stop - piece.start for piece in pieces)
            if index.damages.size or not pieces:
                quarantine.add(path, index.damage() or "it holds one frame only", kept)
            native = int(index.size[0]), int(index.size[1])
            name = path.relative_to(root).as_posix()
            recordings += [
                Recording(path, name, size or native, piece, index, stored) for piece in pieces
            ]
    if report:
        quarantine.show()
    if not recordings:
        raise ValueError(no_videos(Path(data_dir)))
    return Recordings(root, recordings, quarantine.entries)


def open_store(cache_dir: str | None, cache_gib: float) -> FrameStore | None:
    """The cache; a folder that cannot be used is named, and the run goes on without."""
    if cache_dir is None:
        return None
    try:
        return FrameStore(Path(cache_dir), cache_gib * 2**30)
    except OSError as error:
        rank_zero_warn(
            f"no cache in {cache_dir} ({error.strerror}): each clip is decoded from its file, "
            "which is slow; set data.cache_dir to a folder that can be written"
        )
        return None


class Reading:
    """Indices of recordings, from the cache where it has them; shows progress as it decodes.

    Args:
        size: height and width of the frames kept, None for those of the file.
        store: the cache, None for none.
        count: number of recordings.
    """

    def __init__(self, size: Size | None, store: FrameStore | None, count: int) -> None:
        self.size, self.store = size, store
        self.left_out: list[str] = []  # of the cache
        self.progress = Progress(
            TextColumn("Decoding"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            disable=getattr(rank_zero_only, "rank", 0) != 0,
        )
        self.task = self.progress.add_task("", total=count)

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
        if self.store is not None:
            self.store.shrink()
        if self.left_out:
            rank_zero_warn(
                f"no room in the cache for {', '.join(self.left_out)}: their clips are decoded "
                "from the files, which is slow; set data.cache_gib higher"
            )

    def read(self, path: Path) -> tuple[RecordingIndex, Path | None]:
        """Index of a recording, and where its frames are kept.

        Raises:
            VideoError: if not one frame can be read.
        """
        try:
            if self.store is not None:
                return self.from_store(self.store, path)
        except OSError as error:  # of the cache; what is wrong with a recording is a VideoError
            self.left_out.append(f"{path.name} ({error.strerror})")
        finally:
            self.progress.advance(self.task)
        return self.decode(path, None), None

    def from_store(self, store: FrameStore, path: Path) -> tuple[RecordingIndex, Path | None]:
        """The same with a cache."""
        content = f"{FORMAT} {self.size} {fingerprint(path)}"
        key = f"{path.stem[:40]}-{hashlib.sha256(content.encode()).hexdigest()[:32]}"
        kept, file = store.path(key, ".frames"), store.path(key, ".npz")
        with store.locked(key):
            room = store.room()
            index = RecordingIndex.load(file)
            if index is None or not (index.needed > room or index.fits(kept, self.size)):
                with FrameWriter(store.path(key, ".part"), room) as writer:
                    index = self.decode(path, writer)
                    index.palette, index.needed = writer.finish(kept, len(index.numbers))
                index.save(file)
        store.use(key)
        if index.needed:
            self.left_out.append(path.name)
        return index, None if index.needed else kept

    def decode(self, path: Path, writer: FrameWriter | None) -> RecordingIndex:
        """Decodes a recording in order, and keeps its frames if there is a writer."""
        self.progress.start()
        count = 0

        def keep(rgb: Rgb) -> None:
            nonlocal count
            count += 1
            if writer is not None:
                writer.append(resized(rgb, self.size or rgb.shape[:2]))
            if count % 50 == 1:
                self.progress.update(self.task, description=f"{path.name}, frame {count}")

        return build_index(path, keep)
