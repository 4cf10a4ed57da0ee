"""A group of frames of few colours to bytes and back: the palette, and the code of its indices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lit_modules.codec.container.fields import BitstreamError
from lit_modules.codec.palette.compiled import compiled
from lit_modules.codec.palette.contexts import CONTEXTS
from lit_modules.codec.palette.frames import Model, code_frames
from lit_modules.codec.palette.logistic import tables
from lit_modules.codec.palette.memory import STEPS, new_memory
from lit_modules.codec.palette.mixer import FASTEST, PRECISE, new_mixer
from lit_modules.codec.palette.planes import new_motion, new_planes

MOST_COLOURS = 256
Frames = NDArray[np.uint8]


def pack(frames: Frames) -> bytes | None:
    """Codes frames that have few colours between them.

    Args:
        frames: RGB `(t, h, w, 3)` uint8.

    Returns:
        Bytes that `unpack` takes; None if there are more than 256 colours, or if the code is
        longer than a byte a pixel.
    """
    indices = np.empty(frames.shape[:3], np.uint8)
    palette = np.empty((MOST_COLOURS, 3), np.uint8)
    colours = to_indices(np.ascontiguousarray(frames).reshape(-1, 3), indices.reshape(-1), palette)
    if colours < 0:
        return None
    data = np.empty(indices.size + 64, np.uint8)
    count = code(indices, data, colours, decoding=False)
    if count > len(data):
        return None
    return bytes([colours - 1]) + palette[:colours].tobytes() + data[:count].tobytes()


def unpack(packed: bytes, count: int, height: int, width: int) -> Frames:
    """The frames `(t, h, w, 3)` uint8 that `pack` took.

    Raises:
        BitstreamError: there is not even a palette. Other bytes than those of `pack` give some
            frames of that size.
    """
    colours = packed[0] + 1 if packed else 0
    if not colours or len(packed) < 1 + 3 * colours:
        raise BitstreamError(f"{len(packed)} bytes are no palette and its frames")
    palette = np.frombuffer(packed, np.uint8, 3 * colours, 1).reshape(-1, 3)
    indices = np.empty((count, height, width), np.uint8)
    data = np.frombuffer(packed, np.uint8)[1 + 3 * colours :].copy()
    code(indices, data, colours, decoding=True)
    return palette[indices]


def code(indices: NDArray[np.uint8], data: NDArray[np.uint8], colours: int, decoding: bool) -> int:
    """Encodes palette indices `(t, h, w)` to `data`, or decodes them; returns the bytes it took."""
    logistic = tables()
    calm = np.zeros((256, 2), np.int64)
    calm[:, 0] = PRECISE - PRECISE // 64
    each = (np.zeros(size, np.int64) for size in (CONTEXTS, MOST_COLOURS, CONTEXTS))
    spelling = np.full(MOST_COLOURS, 1 << 15, np.int64)
    mixer, steps = new_mixer(logistic.squash), STEPS.astype(np.int64)
    model = Model(logistic, FASTEST, steps, new_memory(), mixer, calm, spelling, *each)
    planes, motion = new_planes(*indices.shape[1:]), new_motion(indices.shape[1])
    return int(code_frames(indices, data, colours, model, planes, motion, decoding))


@compiled
def to_indices(
    pixels: NDArray[np.uint8], indices: NDArray[np.uint8], palette: NDArray[np.uint8]
) -> int:
    """Fills in the index of each pixel and the palette, in the order in which colours come up.

    Args:
        pixels: RGB `(n, 3)`.
        indices: `(n,)`, to be filled.
        palette: `(256, 3)`, to be filled.

    Returns:
        The number of colours, -1 if there are more than 256.
    """
    keys = np.full(4096, -1, np.int64)
    places = np.zeros(4096, np.int64)
    colours, last, index = 0, -1, 0
    for i in range(len(pixels)):
        key = int(pixels[i, 0]) << 16 | int(pixels[i, 1]) << 8 | int(pixels[i, 2])
        if key != last:
            at = (key * 0x9E3779B1 >> 12) & 4095
            while keys[at] != key:
                if keys[at] < 0:
                    if colours == 256:
                        return -1
                    keys[at], places[at] = key, colours
                    palette[colours] = pixels[i]
                    colours += 1
                    break
                at = (at + 1) & 4095
            last, index = key, places[at]
        indices[i] = index
    return colours
