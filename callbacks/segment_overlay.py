"""A video with what the segmenter made of it drawn below: energy, thresholds, segments, figures."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.video_io import Rgb, write_video

SPAN = 6.0  # seconds of the curve
LEAST_WIDTH = 240  # pixels: below that, text does not fit
CURVE = 72  # pixels of height
LINE = 14  # pixels of height of a line of text
BACK, INK, FAINT = (24, 24, 28), (230, 230, 230), (90, 90, 96)
ON, OFF, ENERGY, OPEN = (90, 200, 120), (220, 160, 60), (120, 180, 255), (52, 72, 60)


class Point(NamedTuple):
    """One window on the curve."""

    seconds: float
    """Of its middle."""
    energy: float
    """Smoothed."""
    open: bool


class Panel(NamedTuple):
    """A frame and what is drawn below it."""

    pixels: Rgb
    seconds: float
    curve: Sequence[Point]
    lines: Sequence[str]


class OverlayVideo:
    """Draws and encodes in a thread of its own.

    Args:
        path: MP4 to write; it appears when it is complete.
        fps: frames a second.
        on: threshold that opens a segment.
        off: threshold that closes it.
    """

    def __init__(self, path: Path, fps: float, on: float, off: float) -> None:
        self.on, self.off = on, off
        self._panels: queue.Queue[Panel | None] = queue.Queue(256)  # bounded: memory is
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write, args=(path, fps), daemon=True)
        self._thread.start()

    def add(self, panel: Panel) -> None:
        """Queues a frame; waits while the thread is far behind."""
        if self._error is None:
            self._panels.put(panel)

    def close(self) -> None:
        """Waits until the file is complete.

        Raises:
            OSError, ValueError: what went wrong while it was written.
        """
        self._panels.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _write(self, path: Path, fps: float) -> None:
        try:
            write_video(path, self._drawn(), fps)
        except Exception as error:  # handed over to whoever closes
            self._error = error
            while self._panels.get() is not None:
                pass

    def _drawn(self) -> Iterator[Rgb]:
        highest = self.on
        while (panel := self._panels.get()) is not None:
            highest = max([highest, *(point.energy for point in panel.curve)])
            yield draw(panel, self.on, self.off, highest)


def draw(panel: Panel, on: float, off: float, highest: float) -> Rgb:
    """The frame above the curve of the last seconds and lines of text.

    Args:
        panel: what to draw.
        on: threshold that opens a segment.
        off: threshold that closes it.
        highest: energy at the upper edge of the curve.
    """
    height, width = panel.pixels.shape[:2]
    times = max(1, -(-LEAST_WIDTH // width))
    size = (width * times, height * times)
    frame = cv2.resize(panel.pixels, size, interpolation=cv2.INTER_NEAREST)
    below = np.full((CURVE + LINE * len(panel.lines) + 6, size[0], 3), BACK, np.uint8)
    draw_curve(below[:CURVE], panel, on, off, highest)
    for row, line in enumerate(panel.lines):
        place = (4, CURVE + LINE * (row + 1) - 2)
        cv2.putText(below, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, INK, 1, cv2.LINE_AA)
    return np.concatenate([np.asarray(frame, np.uint8), below])


def draw_curve(
    canvas: NDArray[np.uint8], panel: Panel, on: float, off: float, highest: float
) -> None:
    """The energy of the last seconds, the thresholds, and where a segment was open."""
    height, width = canvas.shape[:2]
    scale = (height - 6) / (1.1 * highest)

    def x(seconds: float) -> int:
        return int(width * (1 - (panel.seconds - seconds) / SPAN))

    def y(energy: float) -> int:
        return int(height - 3 - energy * scale)

    for one, other in zip(panel.curve, panel.curve[1:], strict=False):
        if other.open:
            canvas[:, max(0, x(one.seconds)) : max(0, x(other.seconds))] = OPEN
    for level, colour in ((on, ON), (off, OFF)):
        cv2.line(canvas, (0, y(level)), (width, y(level)), colour, 1)
    cv2.line(canvas, (0, height - 1), (width, height - 1), FAINT, 1)
    points = np.array([(x(p.seconds), y(p.energy)) for p in panel.curve], np.int32)
    if len(points) > 1:
        cv2.polylines(canvas, [points], False, ENERGY, 1, cv2.LINE_AA)
