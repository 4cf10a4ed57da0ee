"""What a recording is read from: a file of video, or a folder of frames as pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from pathlib import Path

from datamodules.smb_format import episodes, frame_number, read_frame
from datamodules.video import decoding
from datamodules.video.decoder import Damage, Frame, Rgb
from datamodules.video.decoding import VideoError

NOMINAL_RATE = 60.0  # the console draws 60.0988 frames a second; its recordings are named 30 and 60


def read_in_order(path: Path) -> Generator[Frame | Damage, None, None]:
    """All frames, and where some are lost; see `decoding.read_around_damage`.

    Raises:
        VideoError: if nothing can be read.
    """
    return read_pictures(path) if path.is_dir() else decoding.read_around_damage(path)


def read_from(path: Path, seek: int, skip: int) -> Generator[Rgb, None, None]:
    """Frames from the one on that has this `Frame.seek`; see `decoding.read_from`."""
    if not path.is_dir():
        yield from decoding.read_from(path, seek, skip)
        return
    for file in episodes(path)[seek + skip :]:
        yield read_picture(file)


def read_pictures(folder: Path) -> Generator[Frame | Damage, None, None]:
    """The frames of an episode; each picture stands for itself."""
    files = episodes(folder)
    if not files:
        raise VideoError("it is no regular file but a folder, and holds no frames of an episode")
    for i, file in enumerate(files):
        seconds = (frame_number(file) - frame_number(files[0])) / NOMINAL_RATE
        try:
            yield Frame(i, seconds, read_picture(file), seek=i)
        except VideoError as error:
            yield Damage(f"{file.name}: {error}", i)


def read_picture(file: Path) -> Rgb:
    """One frame in RGB."""
    frame = read_frame(file)
    return frame.palette[frame.indices]


def fingerprint(path: Path) -> str:
    """Tells whether a recording is still the same: sizes, times and contents of its files.

    Raises:
        VideoError: if it is no regular file.
    """
    digest = hashlib.sha256()
    for file in episodes(path) if path.is_dir() else [path]:
        decoding.check_file(file)
        status = file.stat()
        digest.update(
            f"{file.name if path.is_dir() else ''} {status.st_size} {status.st_mtime_ns}".encode()
        )
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()
