"""What was pressed and what the game's memory held while a recording was made."""

from __future__ import annotations

import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.ram_map import SMB_BYTES, mario_state
from datamodules.smb_format import episodes, picture_end, read_state
from datamodules.video.decoding import VideoError
from datamodules.video.recorded import Recording

SUFFIX = ".labels.npz"
# RuntimeError: zip files that are encrypted or, NotImplementedError, of a kind that Python lacks
UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
Bytes = NDArray[np.uint8]
State = Literal["none", "mario", "ram"]


class LabelsError(ValueError):
    """Labels that cannot be used; the message tells why, without the path."""


class Labels(NamedTuple):
    """Labels of each frame of a recording."""

    action: Bytes
    """Bytes of buttons `(n,)`."""
    ram: Bytes | None
    """Memory of the game `(n, 2048)` (Super Mario Bros.) or `(n, 128)` (ALE)."""


def read_labels(recording: Recording) -> Labels | None:
    """The labels of a recording's frames, None if there are none.

    Those of a video are in `<name>.labels.npz` beside it, those of a folder of PNG frames in the
    frames themselves. Of a damaged video the frames that are left keep their labels.

    Raises:
        LabelsError: if they cannot be read or do not fit the recording.
    """
    path, stop = recording.path, recording.first_frame + len(recording)
    beside = path.with_name(path.stem + SUFFIX)
    if path.is_dir():
        action, ram = from_pictures(path)
    elif beside.is_file():
        action, ram = from_file(beside)
    else:
        return None
    damaged = bool(recording.index.damages.size)
    if action.ndim != 1 or len(action) < stop or (len(action) > stop and not damaged):
        raise LabelsError(f"they are of {action.size} frames, the recording has {stop}")
    if action.dtype != np.uint8:
        raise LabelsError(f"action is {action.dtype}, not uint8")
    if ram is not None and (ram.ndim != 2 or len(ram) != len(action) or ram.dtype != np.uint8):
        raise LabelsError(f"ram is {ram.dtype} {ram.shape}, not uint8 ({len(action)}, bytes)")
    these = slice(recording.first_frame, stop)
    return Labels(action[these], None if ram is None else ram[these])


def from_file(path: Path) -> Labels:
    """What is in a labels file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return Labels(file["action"], file.get("ram"))
    except UNREADABLE as error:
        raise LabelsError(f"{path.name} cannot be read: {error or type(error).__name__}") from error


def from_pictures(folder: Path) -> Labels:
    """What stands behind the picture in each file of an episode, zeros where it is damaged."""
    files = episodes(folder)
    action, ram = np.zeros(len(files), np.uint8), np.zeros((len(files), SMB_BYTES), np.uint8)
    for i, path in enumerate(files):
        with suppress(VideoError, OSError):  # such a frame is in no recording either
            data = path.read_bytes()
            state = read_state(data[picture_end(data) :])
            action[i], ram[i] = state[b"BP1"][0], np.frombuffer(state[b"RAM"], np.uint8)
    return Labels(action, ram)


def state_of(labels: Labels, kind: State) -> NDArray[Any] | None:
    """The state vector of each frame `(n, d)`; `ram` stays uint8 until a clip needs it.

    Raises:
        LabelsError: if the memory is not there or not that of the game.
    """
    if kind == "none":
        return None
    if labels.ram is None:
        raise LabelsError("they hold no ram")
    if kind == "ram":
        return labels.ram
    if (width := labels.ram.shape[1]) != SMB_BYTES:
        raise LabelsError(f"ram has {width} bytes a frame, that of Super Mario Bros. {SMB_BYTES}")
    return mario_state(labels.ram)
