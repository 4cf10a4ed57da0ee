"""Which frames of which recordings clips are made of, for training and held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from datamodules.clip.timing import last_start
from datamodules.labels import LabelsError, State, read_labels, state_of
from datamodules.video.recorded import Recording


class Section(NamedTuple):
    """Frames `[first, stop)` of a recording, of which clips are made."""

    source: int
    """Number of the recording in the folder."""
    recording: Recording
    first: int
    stop: int
    action: NDArray[np.uint8] | None
    """Bytes of buttons of all the recording's frames, where they are known."""
    state: NDArray[Any] | None
    """State vectors `(n, d)` of all the recording's frames; uint8 ones are to be divided by 255."""

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Timestamps of its frames."""
        return self.recording.seconds[self.first : self.stop]


def whole(source: int, recording: Recording, kind: State) -> Section:
    """All of a recording, with its labels; warns of labels that cannot be used."""
    action, state = None, None
    try:
        if labels := read_labels(recording):
            action = labels.action
            state = state_of(labels, kind)
    except LabelsError as error:
        rank_zero_warn(f"the labels of {recording.path} are left out: {error}")
    return Section(source, recording, 0, len(recording), action, state)


def with_states(sections: Sequence[Section], kind: State) -> tuple[list[Section], int]:
    """The sections with state vectors of one width, and that width.

    Raises:
        ValueError: if a state is asked for and no section has one.
    """
    widths = [section.state.shape[1] for section in sections if section.state is not None]
    if kind == "none":
        return list(sections), 0
    if not widths:
        raise ValueError(
            f"no recording has labels for state {kind}; make some with litarcade-record or set "
            "data.state to none"
        )
    fitting = []
    for section in sections:
        if section.state is not None and section.state.shape[1] != widths[0]:
            rank_zero_warn(
                f"the state of {section.recording.path} is left out: it has "
                f"{section.state.shape[1]} entries, that of the first file has {widths[0]}"
            )
            section = section._replace(state=None)
        fitting.append(section)
    return fitting, widths[0]


def cut_in_time(
    sections: Sequence[Section], fraction: float, length: int, fps: float
) -> tuple[list[Section], list[Section]]:
    """Holds out the last part of each section, at least a clip; what is too short only trains.

    Args:
        sections: whole recordings that hold a clip.
        fraction: share of the time to hold out.
        length: frames of a clip.
        fps: frames a second of a clip.
    """
    train, held_out = [], []
    for section in sections:
        seconds = section.seconds
        border = seconds[0] + (1 - fraction) * (seconds[-1] - seconds[0])
        cut = min(int(np.searchsorted(seconds, border)), last_start(seconds, length, fps))
        if last_start(seconds[:cut], length, fps) < 0:
            train.append(section)
        else:
            train.append(section._replace(stop=cut))
            held_out.append(section._replace(first=cut))
    return train, held_out
