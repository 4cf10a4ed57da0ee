"""Classical lossless codecs on the same frames, at the same distance of key frames."""

from __future__ import annotations

import lzma
import tempfile
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from lit_modules.codec.palette.group import MOST_COLOURS, to_indices

Frames = NDArray[np.uint8]


class Rival(NamedTuple):
    """A codec of FFmpeg's, told to lose nothing."""

    encoder: str
    pixels: str
    """What it is given: RGB in some order, or `pal8` and `gray` for palette indices."""
    options: dict[str, str]
    distance: str | None = "g"
    """Its option for the distance of key frames; None if every frame is one."""
    container: str = "matroska"


QUICK = {
    "x264 RGB": Rival("libx264rgb", "bgr24", {"qp": "0", "preset": "medium"}),
    "FFV1": Rival("ffv1", "bgr0", {"level": "3", "context": "1"}),
    "palette PNG": Rival("png", "pal8", {"compression_level": "9"}, None, "nut"),
}
SLOW = QUICK | {
    "x264 RGB": Rival("libx264rgb", "bgr24", {"qp": "0", "preset": "veryslow"}),
    "VP9": Rival("libvpx-vp9", "gbrp", {"lossless": "1", "cpu-used": "2", "row-mt": "0"}),
    "AV1 of indices": Rival(
        "libsvtav1", "yuv420p", {"preset": "6", "svtav1-params": "lossless=1:scm=1"}
    ),
}
LZMA = "LZMA of indices"
STRONGEST = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]


class ClassicalCodecs:
    """Writes a file by each codec into a folder that goes away.

    LZMA codes the palette indices of each group, its palette counted too. What needs a palette
    falls out at the first group that has none, what cannot take the frames' size at once.

    Args:
        size: height and width of the frames.
        rate: frames a second.
        group_frames: distance of key frames.
        rivals: the codecs by name.
    """

    def __init__(
        self,
        size: tuple[int, int],
        rate: float,
        group_frames: int,
        rivals: dict[str, Rival] | None = None,
    ) -> None:
        self.group_frames = group_frames
        self._folder = tempfile.TemporaryDirectory(prefix="litarcade-")
        self._lzma: int | None = 0
        self.left_out: dict[str, str] = {}
        """Codecs that cannot take these frames, and why."""
        self._files: dict[str, tuple[Any, Any, Rival]] = {}
        for name, rival in (QUICK if rivals is None else rivals).items():
            try:
                self._files[name] = self._open(name, rival, size, rate)
            except (av.error.FFmpegError, ValueError) as error:
                self.left_out[name] = str(error)

    def _open(
        self, name: str, rival: Rival, size: tuple[int, int], rate: float
    ) -> tuple[Any, Any, Rival]:
        distance = {} if rival.distance is None else {rival.distance: str(self.group_frames)}
        file = av.open(str(self._path(name)), "w", format=rival.container)
        stream: Any = file.add_stream(
            rival.encoder,
            rate=Fraction(rate).limit_denominator(1001),
            options=rival.options | distance,
        )
        stream.height, stream.width, stream.pix_fmt = *size, rival.pixels
        stream.codec_context.open()
        return file, stream, rival

    def add(self, frames: Frames) -> None:
        """Codes a group `(t, h, w, 3)`."""
        indices = np.empty(frames.shape[:3], np.uint8)
        palette = np.zeros((MOST_COLOURS, 3), np.uint8)
        colours = to_indices(frames.reshape(-1, 3), indices.reshape(-1), palette)
        if colours < 0:
            self._lzma = None
            for name, (_, _, rival) in list(self._files.items()):
                if rival.pixels in ("pal8", "yuv420p"):
                    self._drop(name, "there are more than 256 colours")
        elif self._lzma is not None:
            coded = lzma.compress(indices.tobytes(), lzma.FORMAT_RAW, filters=STRONGEST)
            self._lzma += len(coded) + 3 * colours
        for name, (file, stream, rival) in list(self._files.items()):
            try:
                for rgb, places in zip(frames, indices, strict=True):
                    file.mux(stream.encode(picture(rival.pixels, rgb, places, palette)))
            except (av.error.FFmpegError, ValueError) as error:
                self._drop(name, str(error))

    def finish(self) -> dict[str, int]:
        """Bytes of each file."""
        sizes = {} if self._lzma is None else {LZMA: self._lzma}
        for name, (file, stream, _) in list(self._files.items()):
            file.mux(stream.encode(None))
            file.close()
            sizes[name] = self._path(name).stat().st_size
        self._files.clear()
        return sizes

    def close(self) -> None:
        """Deletes the files."""
        for name in list(self._files):
            self._drop(name, "the video could not be read on")
        self._folder.cleanup()

    def _drop(self, name: str, why: str) -> None:
        self.left_out[name] = why
        with suppress(av.error.FFmpegError):
            self._files.pop(name)[0].close()

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / name


def picture(
    pixels: str, rgb: Frames, indices: NDArray[np.uint8], palette: NDArray[np.uint8]
) -> av.VideoFrame:
    """A frame as a codec takes it; indices may stand as brightness, beside grey colours."""
    if pixels == "pal8":
        opaque = np.column_stack([palette, np.full(MOST_COLOURS, 255, np.uint8)])
        both: Any = indices, opaque
        return av.VideoFrame.from_ndarray(both, format="pal8")
    if pixels == "yuv420p":
        height, width = indices.shape
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        planes[:height] = indices
        return av.VideoFrame.from_ndarray(planes, format="yuv420p")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
