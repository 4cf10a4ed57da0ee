"""One page that shows clusters by their clips, with everything inside it."""

from __future__ import annotations

import base64
import html
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from rich.progress import track

from datamodules.video_io import Rgb, VideoError, read_frames, write_video

HEIGHT = 120  # pixels of a GIF
FPS = 10.0
MOST_FRAMES = 24

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
figure { display: inline-block; margin: 0 .5rem .75rem 0; vertical-align: top }
figcaption { font-size: 11px; color: #666; max-width: 11rem; overflow-wrap: anywhere }
figure img { height: 120px; image-rendering: pixelated; background: #ddd; display: block }
table { border-collapse: collapse } td, th { padding: .1rem .8rem .1rem 0; text-align: left }
.plane { max-width: 100% } .none { width: 120px; height: 120px; background: #ddd }
"""


class Clip(Protocol):
    """What the page needs of a segment."""

    @property
    def clip(self) -> Path | None:
        """File of its clip."""

    @property
    def path(self) -> Path:
        """The video it is of."""

    @property
    def start(self) -> float:
        """Seconds."""

    @property
    def end(self) -> float:
        """Seconds."""


def write_page(
    path: Path,
    plane: Path,
    rows: Sequence[Mapping[str, Any]],
    segments: Sequence[Clip],
    picked: Mapping[int, Sequence[int]],
    metrics: Mapping[str, Any],
) -> None:
    """Writes an HTML file that needs no other file.

    Args:
        path: of the page.
        plane: PNG that stands at its top.
        rows: of each segment `name`, `start_seconds`, `end_seconds`, `cluster` and `action`.
        segments: likewise, their clips.
        picked: of each cluster the numbers of the segments to show.
        metrics: figures to list.
    """
    shown = [number for numbers in picked.values() for number in numbers]
    pictures = {number: picture(segments[number]) for number in track(shown, "clips")}
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Clusters of segments</title>",
        f"<style>{STYLE}</style><h1>Clusters of segments</h1>",
        figures(metrics),
        f'<p><img class=plane alt="segments in the plane" src="{embed(plane, "png")}">',
    ]
    for cluster, numbers in picked.items():
        own = [row for row in rows if row["cluster"] == cluster]
        title = "Noise" if cluster < 0 else f"Cluster {cluster}"
        parts.append(f"<h2>{title}: {len(own)} segments</h2>")
        actions = Counter(row["action"] for row in own if row["action"])
        if actions:
            told = (f"{html.escape(name)} {count}" for name, count in actions.most_common())
            parts.append(f"<p>Effective actions: {', '.join(told)}</p>")
        parts += [figure(rows[number], pictures[number]) for number in numbers]
    path.write_text("\n".join(parts) + "\n")


def figures(metrics: Mapping[str, Any]) -> str:
    """The metrics as a table."""
    flat = {name: value for name, value in metrics.items() if not isinstance(value, Mapping)}
    for name, value in metrics.get("truth", {}).items():
        if not isinstance(value, Mapping):
            flat[f"truth: {name}"] = value
    shown = {
        name: f"{value:.3f}" if isinstance(value, float) else value for name, value in flat.items()
    }
    rows = (f"<tr><th>{html.escape(n)}<td>{html.escape(str(v))}" for n, v in shown.items())
    return f"<table>{''.join(rows)}</table>"


def figure(row: Mapping[str, Any], picture: str | None) -> str:
    """A clip and what it is."""
    seconds = f"{row['start_seconds']:.2f} to {row['end_seconds']:.2f} s"
    told = f"{row['name']}, {seconds}" + (f": {row['action']}" if row["action"] else "")
    image = f'<img alt="" src="{picture}">' if picture else "<div class=none></div>"
    return f"<figure>{image}<figcaption>{html.escape(told)}</figcaption></figure>"


def picture(segment: Clip) -> str | None:
    """A small GIF as a data address; None where neither clip nor video can be read."""
    source = segment.clip or segment.path
    first, last = (0.0, np.inf) if segment.clip else (segment.start, segment.end)
    frames: list[Rgb] = []
    try:
        for pixels, seconds in read_frames(source):
            if seconds >= last or len(frames) == MOST_FRAMES:
                break
            if seconds >= first + len(frames) / FPS - 1e-6:
                frames.append(shrunk(pixels))
    except (VideoError, OSError):
        pass
    if not frames:
        return None
    with tempfile.TemporaryDirectory() as folder:
        write_video(gif := Path(folder) / "clip.gif", frames, FPS)
        return embed(gif, "gif")


def shrunk(pixels: Rgb) -> Rgb:
    """The frame at `HEIGHT`, if it is higher."""
    height, width, _ = pixels.shape
    if height <= HEIGHT:
        return pixels
    size = max(1, round(width * HEIGHT / height)), HEIGHT
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def embed(path: Path, kind: str) -> str:
    """A picture file as a data address."""
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
