"""Frames of any size cut into clips of tiles about as large as a model was trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Places = tuple[slice, slice, slice]  # times, rows and columns


class Tiles:
    """Where tiles lie; frames are padded by their last row, column and frame until they fit.

    Args:
        shape: frames, height and width.
        size: height and width that the model was trained on, in pixels.
        unit: pixels that a tile's sides divide by.
        length: frames that a clip has.
    """

    def __init__(
        self, shape: tuple[int, int, int], size: tuple[int, int], unit: int, length: int
    ) -> None:
        self.length = length
        self.counts = [max(1, round(a / b)) for a, b in zip(shape[1:], size, strict=True)]
        self.tile = [
            -(-a // (count * unit)) * unit for a, count in zip(shape[1:], self.counts, strict=True)
        ]
        self.shape, frames = shape, -(-shape[0] // length) * length
        self.padded = (
            frames,
            *(count * side for count, side in zip(self.counts, self.tile, strict=True)),
        )

    def pad(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`(t, h, w, 3)` to the padded shape."""
        more = [(0, to - own) for to, own in zip(self.padded, frames.shape[:3], strict=True)]
        return np.pad(frames, [*more, (0, 0)], mode="edge")

    def crop(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The inverse of `pad`."""
        t, h, w = self.shape
        return frames[:t, :h, :w]

    def __iter__(self) -> Iterator[Places]:
        """Clip by clip, of each its tiles row by row."""
        times, height, width = self.padded
        for t in range(0, times, self.length):
            for y in range(0, height, self.tile[0]):
                for x in range(0, width, self.tile[1]):
                    yield (
                        slice(t, t + self.length),
                        slice(y, y + self.tile[0]),
                        slice(x, x + self.tile[1]),
                    )


def cubes(places: Places, frames: int, side: int) -> Places:
    """The same places counted in cubes of so many frames and pixels."""
    t, y, x = places
    return (
        slice(t.start // frames, t.stop // frames),
        slice(y.start // side, y.stop // side),
        slice(x.start // side, x.stop // side),
    )
