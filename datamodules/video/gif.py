"""GIFs with one palette for the whole clip, so that colours do not flicker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.filter import Graph
from numpy.typing import NDArray

TICK = Fraction(1, 100)
LEAST_TICKS = 2  # browsers show frames of one tick for ten


def write_gif(path: Path, frames: Iterator[NDArray[np.uint8]], fps: float) -> None:
    """Writes RGB frames `(h, w, 3)`; see `video_io.write_video`."""
    clip = list(frames)
    present = np.zeros(1 << 24, np.bool_)
    for frame in clip:
        present[as_number(frame)] = True
    colours = np.flatnonzero(present)
    rgb = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], -1).astype(np.uint8)
    palette = rgb if len(rgb) <= 256 else fit_palette(clip)
    index = np.zeros(1 << 24, np.uint8)  # of each colour that is present: its place in the palette
    index[colours] = np.arange(len(rgb)) if palette is rgb else nearest(rgb, palette)
    encode_gif(path, (index[as_number(frame)] for frame in clip), palette, fps)


def as_number(frame: NDArray[np.uint8]) -> NDArray[np.int32]:
    """`(h, w, 3)` -> `(h, w)`, each colour as one number of 24 bits."""
    red, green, blue = np.moveaxis(frame.astype(np.int32), -1, 0)
    number: NDArray[np.int32] = red << 16 | green << 8 | blue
    return number


def fit_palette(clip: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """256 colours `(256, 3)` by FFmpeg's median cut over all frames."""
    height, width, _ = clip[0].shape
    rgb24 = av.VideoFormat("rgb24", width, height)
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(width=width, height=height, format=rgb24, time_base=TICK),
        graph.add("palettegen", "max_colors=256:reserve_transparent=0:stats_mode=full"),
        graph.add("buffersink"),
    ).configure()
    for time, frame in enumerate(clip):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = time, TICK
        graph.push(picture)
    graph.push(None)
    found: Any = graph.pull()
    palette: NDArray[np.uint8] = found.to_ndarray(format="rgb24").reshape(-1, 3)
    return palette


def nearest(colours: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Index of the palette's nearest colour for each of `(n, 3)`."""
    entries = torch.from_numpy(palette).float()
    parts = torch.split(torch.from_numpy(colours), 1 << 16)
    found = [torch.cdist(part.float(), entries).argmin(1) for part in parts]
    places: NDArray[np.int64] = torch.cat(found).numpy()
    return places


def encode_gif(
    path: Path, indices: Iterator[NDArray[np.uint8]], palette: NDArray[np.uint8], fps: float
) -> None:
    """Writes palette indices `(h, w)`, looping for ever.

    FFmpeg's encoder crops each frame to what has changed and keeps those that are alike apart.
    """
    argb = np.full((256, 4), 255, np.uint8)
    argb[:, 1:] = 0
    argb[: len(palette), 1:] = palette
    ticks = max(float(1 / TICK) / fps, LEAST_TICKS)
    options = {"loop": "0", "final_delay": str(round(ticks))}
    with av.open(os.fspath(path), "w", options=options) as container:
        stream: Any = None
        for count, frame in enumerate(indices):
            if stream is None:
                stream = container.add_stream("gif", rate=1 / TICK)
                stream.height, stream.width, stream.pix_fmt = *frame.shape, "pal8"
                stream.codec_context.time_base = TICK
            indexed: Any = (frame, argb)
            picture = av.VideoFrame.from_ndarray(indexed, format="pal8")
            picture.pts, picture.time_base = round(count * ticks), TICK
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
