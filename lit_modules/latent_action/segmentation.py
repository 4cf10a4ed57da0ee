"""Energies of windows to segments of time, window by window: a hysteresis state machine."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

ROUNDING = 1e-6  # seconds, so that rounding of floats decides nothing


class Cell(NamedTuple):
    """The time that a window answers for: the stride in its middle."""

    window: int
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """A stretch of time in which something goes on."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    windows: range
    """Numbers of the windows, in the order in which they came."""
    ended_by: Literal["quiet", "length", "end"]
    """Low energy, the longest allowed length, or the end of the video."""


def smooth(before: float | None, energy: float, ema: float) -> float:
    """Exponential moving average in which a new value weighs `ema`; it begins with the first."""
    return energy if before is None else ema * energy + (1 - ema) * before


class Segmenter:
    """Two thresholds with hysteresis; nothing depends on windows that are still to come.

    A window answers for the stride in its middle, the first one of a video (and the first behind
    a gap) also for what is before, the last one for what is behind it. A segment begins with the
    first of `debounce` windows in a row that reach `on`, and ends before the first of `debounce`
    windows in a row below `off`; after that `cooldown` windows begin none. One that grows longer
    than `max_seconds` is cut there and goes on as the next segment. A gap in the windows leaves a
    segment open, which ends there only if it would become too long.

    Args:
        on: smoothed energy that opens a segment, above 0.
        off: smoothed energy below which it closes, at most `on`; None is 0.95 of `on`.
        debounce: windows in a row that it takes to open or close, at least 1.
        cooldown: windows after a close that open nothing, at least 0.
        max_seconds: longest segment; 0 is no limit.
        ema: weight of a new energy in the smoothed one, in (0, 1]; 1 does not smooth.
        overlap: share of a window's span, in (0, 1], that a segment must cover for the window to
            belong to it also where another segment has it; None gives a window to one segment.
        horizon: seconds of a window.
        stride: seconds from a window's beginning to the next one's.

    Raises:
        ValueError: a value outside its range.
    """

    def __init__(
        self,
        on: float,
        off: float | None = None,
        debounce: int = 2,
        cooldown: int = 1,
        max_seconds: float = 2.0,
        ema: float = 0.7,
        overlap: float | None = None,
        horizon: float = 0.8,
        stride: float = 0.2,
    ) -> None:
        self.on, self.off = on, 0.95 * on if off is None else off
        if not 0 <= self.off <= on < math.inf or on <= 0:
            raise ValueError(
                f"thresholds on {on} and off {self.off} do not fit; set 0 <= off <= on, on above 0"
            )
        if debounce < 1 or cooldown < 0 or max_seconds < 0:
            raise ValueError(
                f"debounce {debounce}, cooldown {cooldown} and max_seconds {max_seconds}: set them "
                "to at least 1, 0 and 0"
            )
        if not 0 < ema <= 1 or (overlap is not None and not 0 < overlap <= 1):
            raise ValueError(f"ema {ema} and overlap {overlap} must be above 0 and at most 1")
        self.debounce, self.cooldown, self.ema = debounce, cooldown, ema
        self.longest = max_seconds or math.inf
        self.overlap, self.horizon, self.stride = overlap, horizon, stride
        self.smoothed: float | None = None
        self._seconds: list[float] = []  # beginnings of windows from `_first` on
        self._first = 0
        self._last: float | None = None
        self._cells: list[Cell] = []  # of the open segment
        self._run: list[
            Cell
        ] = []  # behind them, or before one opens: windows that speak for change
        self._rest = 0  # windows of the cooldown that are left
        self._waiting: list[Segment] = []  # for windows that may belong to them as well

    @property
    def is_open(self) -> bool:
        """Whether the newest window is in a segment, as far as it is known."""
        return bool(self._cells)

    @property
    def undecided(self) -> float:
        """Seconds before which nothing can become part of a segment any more."""
        cells = self._cells or self._run
        times = [cells[0].start] if cells else [self._edge]
        return min([*times, *(segment.start for segment in self._waiting)])

    @property
    def oldest_window(self) -> int:
        """Number of the first window that may still become part of a segment."""
        return self._first

    def push(self, energy: float, seconds: float) -> list[Segment]:
        """Takes the next window.

        Args:
            energy: of the window, not smoothed.
            seconds: when the window begins, later than the one before.

        Returns:
            Segments that are complete now, in order.

        Raises:
            ValueError: if the energy is not finite.
        """
        if not math.isfinite(energy):
            raise ValueError(f"the energy {energy} of the window at {seconds:g} s is not finite")
        cell = self._cell(seconds)
        self._seconds.append(seconds)
        self._last = seconds
        self.smoothed = smooth(self.smoothed, energy, self.ema)
        done = self._open_or_close(cell, self.smoothed)
        done += self._too_long()
        return self._release(done, seconds)

    def flush(self, end: float | None = None) -> list[Segment]:
        """Ends the video, which loses nothing of an open segment.

        Args:
            end: when the video ends; None is the end of the last window.
        """
        done: list[Segment] = []
        if self._cells:
            cells, self._cells, self._run = self._cells + self._run, [], []
            close = max(end or 0.0, (self._last or 0.0) + self.horizon)
            cells[-1] = cells[-1]._replace(end=close)
            self._cells = cells
            done = [*self._too_long(), as_segment(self._cells, "end")]
        self._cells, self._run = [], []
        return self._release(done, math.inf)

    @property
    def _edge(self) -> float:
        """Where the cell of the newest window ends."""
        return 0.0 if self._last is None else self._last + (self.horizon + self.stride) / 2

    def _cell(self, seconds: float) -> Cell:
        """What the window that begins now answers for."""
        number, start = self._first + len(self._seconds), self._edge
        if self._last is None:
            start = seconds
        elif seconds - self._last > 1.5 * self.stride:
            start = max(seconds, start)
            self._stretch(min(start, self._last + self.horizon))
        return Cell(number, start, seconds + (self.horizon + self.stride) / 2)

    def _stretch(self, end: float) -> None:
        """Lets the last cell reach to the end of its window, as none follows that would."""
        for cells in (self._run, self._cells):
            if cells:
                cells[-1] = cells[-1]._replace(end=max(end, cells[-1].end))
                return

    def _open_or_close(self, cell: Cell, energy: float) -> list[Segment]:
        """The hysteresis."""
        if not self._cells:
            if self._rest:
                self._rest -= 1
            elif energy >= self.on:
                self._run.append(cell)
            else:
                self._run.clear()
            if len(self._run) >= self.debounce:
                self._cells, self._run = self._run, []
            return []
        self._run.append(cell)
        if energy >= self.off:
            self._cells, self._run = self._cells + self._run, []
        elif len(self._run) >= self.debounce:
            closed = as_segment(self._cells, "quiet")
            self._cells, self._run, self._rest = [], [], self.cooldown
            return [closed]
        return []

    def _too_long(self) -> list[Segment]:
        """Cuts off what is too long; the rest stays open."""
        cut: list[Segment] = []
        while (cells := self._cells) and cells[-1].end - cells[0].start > self.longest + ROUNDING:
            ends = (cell.end - cells[0].start <= self.longest + ROUNDING for cell in cells)
            count = max(1, sum(ends))
            if count == len(cells):  # one window alone is longer than that
                break
            cut.append(as_segment(cells[:count], "length"))
            self._cells = cells[count:]
        return cut

    def _release(self, done: list[Segment], now: float) -> list[Segment]:
        """Segments to which no later window can belong; forgets windows that belong to none."""
        if self.overlap is not None:
            self._waiting += done
            reach = self.overlap * self.horizon
            done = [s for s in self._waiting if s.end - reach <= now + ROUNDING]
            self._waiting = [s for s in self._waiting if s not in done]
            done = [self._with_neighbours(segment) for segment in done]
        oldest = self.undecided - self.horizon - ROUNDING
        while self._seconds and self._seconds[0] < oldest:
            self._seconds.pop(0)
            self._first += 1
        return done

    def _with_neighbours(self, segment: Segment) -> Segment:
        """The segment with all windows that it covers well enough."""
        assert self.overlap is not None
        least = self.overlap * self.horizon - ROUNDING
        windows = {segment.windows[0], segment.windows[-1]}
        for number, begin in enumerate(self._seconds, self._first):
            covered = min(segment.end, begin + self.horizon) - max(segment.start, begin)
            if covered >= least:
                windows.add(number)
        return replace(segment, windows=range(min(windows), max(windows) + 1))


def as_segment(cells: list[Cell], ended_by: Literal["quiet", "length", "end"]) -> Segment:
    """Cells in a row as a segment."""
    windows = range(cells[0].window, cells[-1].window + 1)
    return Segment(cells[0].start, cells[-1].end, windows, ended_by)


def find_segments(
    segmenter: Segmenter,
    energies: Iterable[float],
    seconds: Iterable[float],
    end: float | None = None,
) -> list[Segment]:
    """All segments of a video whose windows are known.

    Args:
        segmenter: a fresh one.
        energies: of the windows, not smoothed.
        seconds: beginnings of the windows.
        end: when the video ends.
    """
    segments: list[Segment] = []
    for energy, begin in zip(energies, seconds, strict=True):
        segments += segmenter.push(energy, begin)
    return segments + segmenter.flush(end)
