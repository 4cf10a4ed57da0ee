"""What was pressed and what the game's memory held while a recording was made."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.decoding import VideoError
from datamodules.ram_map import SMB_BYTES, mario_state
from datamodules.smb_format import episodes, picture_end, read_state

SUFFIX = ".labels.npz"
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


def read_labels(recording: Path, frames: int) -> Labels | None:
    """The labels of a recording, None if there are none.

    Those of a video are in `<name>.labels.npz` beside it, those of a folder of PNG frames in the
    frames themselves.

    Args:
        recording: the video, or the folder of frames.
        frames: number of its frames.

    Raises:
        LabelsError: if they cannot be read or do not fit the recording.
    """
    beside = recording.with_name(recording.stem + SUFFIX)
    if recording.is_dir():
        labels = from_pictures(recording)
    elif beside.is_file():
        labels = from_file(beside)
    else:
        return None
    action, ram = labels
    if action.shape != (frames,):
        raise LabelsError(f"they are of {action.size} frames, the recording has {frames}")
    if ram is not None and (ram.ndim != 2 or len(ram) != frames or ram.dtype != np.uint8):
        raise LabelsError(f"ram is {ram.dtype} {ram.shape}, not uint8 ({frames}, bytes)")
    if action.dtype != np.uint8:
        raise LabelsError(f"action is {action.dtype}, not uint8")
    return labels


def from_file(path: Path) -> Labels:
    """What is in a labels file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return Labels(file["action"], file.get("ram"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise LabelsError(f"{path.name} cannot be read: {error or type(error).__name__}") from error


def from_pictures(folder: Path) -> Labels:
    """What stands behind the picture in each file of an episode."""
    buttons, memory = [], []
    for path in episodes(folder):
        try:
            data = path.read_bytes()
            state = read_state(data[picture_end(data) :])
        except (OSError, VideoError) as error:
            raise LabelsError(f"{path.name}: {error}") from error
        buttons.append(state[b"BP1"])
        memory.append(state[b"RAM"])
    ram = np.frombuffer(b"".join(memory), np.uint8).reshape(len(memory), -1)
    return Labels(np.frombuffer(b"".join(buttons), np.uint8), ram)


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
