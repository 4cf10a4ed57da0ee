"""Live sources: they drop, come back, and never wait for a slow reader."""

from __future__ import annotations

import http.server
import io
import itertools
import threading
import time
from collections.abc import Iterator

import av
import numpy as np
import pytest
from made_motion_videos import SIZE, pictures

from datamodules.video.decoding import VideoError
from datamodules.windows.feed import Gap, Shot
from datamodules.windows.live import LiveFeed, open_stream

QUICK = {"first_pause": 0.01, "longest_pause": 0.02}


class Source:
    """A source that gives some frames a connection and then breaks off.

    Args:
        frames: frames of each connection; None refuses it.
        pace: seconds from frame to frame.
    """

    def __init__(self, *frames: int | None, pace: float = 0.0) -> None:
        self.frames, self.pace = list(frames), pace
        self.calls: list[float] = []

    def __call__(self) -> Iterator[tuple[np.ndarray, float | None]]:
        self.calls.append(time.monotonic())
        number = len(self.calls) - 1
        count = self.frames[number] if number < len(self.frames) else None
        if count is None:
            raise VideoError("refused")
        for i in range(count):
            if self.pace:
                time.sleep(self.pace)
            yield np.full((*SIZE, 3), i % 256, np.uint8), i / 30
        raise VideoError("broke off")


def collect(source: Source, **options) -> list[Shot | Gap]:
    return list(LiveFeed(source, "made", max_lag=99, **(QUICK | options)))


def test_a_source_that_drops_is_opened_again_and_time_goes_on() -> None:
    items = collect(Source(5, None, 4), attempts=2)
    assert [type(item).__name__ for item in items] == [
        *["Shot"] * 5,
        "Gap",
        *["Shot"] * 4,
        *["Gap"] * 2,
    ]
    seconds = [item.seconds for item in items if isinstance(item, Shot)]
    assert all(b > a for a, b in itertools.pairwise(seconds))
    assert seconds[4] == pytest.approx(4 / 30, abs=0.05)
    assert items[5].reason == "broke off"
    assert "lost" in items[-1].reason


def test_pauses_before_tries_double() -> None:
    source = Source(1)
    collect(source, attempts=4, first_pause=0.05, longest_pause=9)
    pauses = np.diff(source.calls)
    assert len(pauses) == 4
    assert all(p >= 0.05 * 2**i for i, p in enumerate(pauses))


def test_a_source_that_cannot_be_reached_at_first_is_an_error() -> None:
    with pytest.raises(VideoError, match="made cannot be reached: refused"):
        collect(Source(None))


def test_a_feed_ends_with_its_duration() -> None:
    items = collect(Source(10_000), duration=1.0)
    assert len([item for item in items if isinstance(item, Shot)]) == 30


def test_a_slow_reader_finds_a_gap_and_frames_that_follow_each_other() -> None:
    feed = LiveFeed(Source(60, pace=0.002), "made", max_lag=0.3, attempts=0)
    items = []
    for item in feed:
        items.append(item)
        if len(items) < 4:
            time.sleep(0.4)
    gaps = [item for item in items if isinstance(item, Gap)]
    assert any(gap.behind for gap in gaps)
    runs = [
        [shot.seconds for shot in run]
        for is_gap, run in itertools.groupby(items, key=lambda item: isinstance(item, Gap))
        if not is_gap
    ]
    for run in runs[1:]:
        np.testing.assert_allclose(np.diff(run), 1 / 30, atol=1e-6)


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a stream that ends after a second, each time that it is opened."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=30)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for picture in pictures("rl"):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(memory.getvalue())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/live.ts"
        running.shutdown()


def test_a_network_stream_that_drops_comes_back(server: str) -> None:
    feed = LiveFeed(lambda: open_stream(server), server, max_lag=99, duration=1.5, **QUICK)
    items = list(feed)
    frames = [item for item in items if isinstance(item, Shot)]
    assert any(isinstance(item, Gap) for item in items)
    assert frames[-1].seconds > 1.0
    assert frames[0].pixels.shape == (*SIZE, 3)
    expected = pictures("r")[0].astype(int)
    assert np.abs(frames[0].pixels.astype(int) - expected).mean() < 12
