"""Cameras and network streams: read beside the work, reconnected when they drop."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from types import FrameType
from typing import Any

import av
import cv2
import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from datamodules.video.decoder import Rgb, reason, to_rgb
from datamodules.video.decoding import VideoError, check_pixels
from datamodules.windows.feed import Feed, Gap, Shot

Connection = Iterator[tuple[Rgb, float | None]]
"""Frames and, where the source tells it, their time in seconds from any origin."""
SHORTEST_BREAK = 0.05  # seconds that a frame behind a break comes later than the one before it


def open_camera(index: int) -> Connection:
    """Frames of a camera, at the time at which they come.

    Raises:
        VideoError: if it cannot be opened or gives no more frames.
    """
    camera = cv2.VideoCapture(index)
    try:
        if not camera.isOpened():
            raise VideoError(f"there is no camera {index}")
        while True:
            there, picture = camera.read()
            if not there:
                raise VideoError(f"camera {index} gives no frames")
            yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8), None
    finally:
        camera.release()


def open_stream(address: str, patience: float = 5.0) -> Connection:
    """Frames of a network stream with its own timestamps.

    Args:
        address: anything that FFmpeg opens, such as `rtsp://host/path`.
        patience: seconds without a byte after which the connection counts as lost.

    Raises:
        VideoError: if it cannot be reached, breaks off or holds no video.
    """
    options = {"rtsp_transport": "tcp", "fflags": "nobuffer"}
    try:
        with av.open(address, options=options, timeout=patience) as container:
            if not container.streams.video:
                raise VideoError("it holds no video")
            stream: Any = container.streams.video[0]
            check_pixels(stream.codec_context.width, stream.codec_context.height)
            for picture in container.decode(stream):
                yield to_rgb(picture), picture.time
    except av.error.FFmpegError as error:
        raise VideoError(reason(error)) from error


class LiveFeed:
    """Frames of a live source, taken by a thread so that none waits for whoever reads.

    Who falls behind by more than `max_lag` finds a gap: whatever was waiting is gone. A connection
    that drops is a gap, too, and opened again, after a pause that doubles each time. Ctrl+C ends
    the feed like the end of a file.

    Args:
        connect: opens the source.
        name: what messages call it.
        max_lag: most seconds of frames that wait.
        attempts: tries to reconnect in a row until the source counts as lost; None is no limit.
            A source that cannot be reached at first is given up at once.
        first_pause: seconds before the first try.
        longest_pause: most seconds before a try.
        duration: seconds after which the feed ends; None is never.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        name: str,
        max_lag: float = 1.0,
        attempts: int | None = 10,
        first_pause: float = 0.5,
        longest_pause: float = 30.0,
        duration: float | None = None,
    ) -> None:
        self.connect, self.name, self.duration = connect, name, duration
        self.max_lag, self.attempts = max_lag, attempts
        self.first_pause, self.longest_pause = first_pause, longest_pause
        self._queue: deque[Shot | Gap] = deque()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._ended = False
        self._failure: VideoError | None = None

    def __iter__(self) -> Feed:
        """The frames, until the source is lost, `duration` is over or Ctrl+C is pressed.

        Raises:
            VideoError: if the source cannot be reached at first.
        """
        reader = threading.Thread(target=self._read, name=f"live {self.name}", daemon=True)
        previous = self._take_over_interrupts()
        reader.start()
        try:
            while (item := self._next()) is not None:
                yield item
            if self._failure is not None:
                raise self._failure
        finally:
            self._stop.set()
            if previous is not None:
                signal.signal(signal.SIGINT, previous)

    def _take_over_interrupts(self) -> Any:
        """Ctrl+C ends the feed; what handled it before, None outside the main thread."""

        def end(signum: int, frame: FrameType | None) -> None:
            if self._stop.is_set():
                raise KeyboardInterrupt
            self._stop.set()

        with suppress(ValueError):
            return signal.signal(signal.SIGINT, end)
        return None

    def _next(self) -> Shot | Gap | None:
        """Waits for a frame; None at the end."""
        with self._changed:
            while not self._queue and not self._ended:
                self._changed.wait(0.1)
                if self._stop.is_set() and not self._queue:
                    return None
            return self._queue.popleft() if self._queue else None

    def _read(self) -> None:
        """The thread: connection after connection."""
        start, last, failures = time.monotonic(), -SHORTEST_BREAK, 0
        while not self._stop.is_set():
            why = "it ended"
            base = first = None
            try:
                with closing(self.connect()) as frames:  # type: ignore[type-var]
                    for pixels, told in frames:
                        now = time.monotonic() - start
                        if base is None:
                            base, first = max(now, last + SHORTEST_BREAK), told
                        known = told is not None and first is not None
                        seconds = base + told - first if known else max(now, base)  # type: ignore[operator]
                        if self.duration is not None and seconds >= self.duration:
                            self._stop.set()
                        if self._stop.is_set():
                            break
                        if seconds > last:
                            failures, last = 0, seconds
                            self._put(Shot(pixels, seconds, -1))
            except VideoError as error:
                why = str(error)
                if last < 0:
                    self._failure = VideoError(f"{self.name} cannot be reached: {why}")
                    break
            failures += 1
            if self._stop.is_set() or not self._pause(why, failures):
                break
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _pause(self, why: str, failures: int) -> bool:
        """Waits before the next try, if there is to be one."""
        if self.attempts is not None and failures > self.attempts:
            rank_zero_info(f"{self.name} is lost ({why}) after {self.attempts} tries")
            self._put(Gap(f"lost: {why}"))
            return False
        pause = min(self.first_pause * 2 ** (failures - 1), self.longest_pause)
        rank_zero_info(f"{self.name} has dropped ({why}); reconnecting in {pause:g} s")
        if failures == 1:
            self._put(Gap(why))
        self._stop.wait(pause)
        return True

    def _put(self, item: Shot | Gap) -> None:
        """Hands an item over; too many that wait are dropped together."""
        with self._changed:
            waiting = [shot.seconds for shot in self._queue if isinstance(shot, Shot)]
            if isinstance(item, Shot) and waiting and item.seconds - waiting[0] > self.max_lag:
                gaps = [gap for gap in self._queue if isinstance(gap, Gap) and not gap.behind]
                self._queue.clear()
                self._queue.extend([*gaps, Gap("fell behind", behind=True)])
            self._queue.append(item)
            self._changed.notify()
