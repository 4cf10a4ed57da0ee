"""Lossless coding of any frames: FFmpeg's FFV1 or H.264 in RGB, whichever is smaller.

For video of more colours than a palette holds. H.264 finds what moves, FFV1 is better where there
is noise; both give the frames back bit for bit.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from lit_modules.codec.container.fields import BitstreamError, Fields, unsigned

Frames = NDArray[np.uint8]


class Coder(NamedTuple):
    """How FFmpeg is asked for a lossless codec."""

    encoder: str
    decoder: str
    pixels: str
    options: dict[str, str]


CODERS = (
    Coder("ffv1", "ffv1", "bgr0", {"level": "3", "coder": "1", "context": "1", "g": "1000"}),
    Coder("libx264rgb", "h264", "bgr24", {"qp": "0", "preset": "medium", "g": "1000"}),
)
"""Those a packet may name; their order is part of the format."""
MARGIN = 128  # pixels by which decoders may enlarge a picture in memory


def pack(frames: Frames) -> bytes:
    """Codes frames `(t, h, w, 3)` RGB uint8 by the codec that takes fewest bytes."""
    packed = (
        bytes([number]) + encode(frames, coder)
        for number, coder in enumerate(CODERS)
        if coder.encoder in av.codecs_available
    )
    return min(packed, key=len)


def unpack(packed: bytes, count: int, height: int, width: int) -> Frames:
    """The frames `(t, h, w, 3)` that `pack` took.

    Raises:
        BitstreamError: that many frames of that size are not in it.
    """
    if not packed or packed[0] >= len(CODERS):
        raise BitstreamError(f"{packed[:1]!r} names no lossless codec that is known here")
    frames = np.empty((count, height, width, 3), np.uint8)
    found = 0
    try:
        for picture in decode(packed, CODERS[packed[0]], height, width):
            if found == count or (picture.height, picture.width) != (height, width):
                raise BitstreamError(f"{packed[0]} holds frames of another number or size")
            frames[found] = picture.to_ndarray(format="rgb24")
            found += 1
    except av.error.FFmpegError as error:
        raise BitstreamError(f"a group cannot be decoded: {error.strerror}") from None
    if found < count:
        raise BitstreamError(f"{found} of {count} frames can be decoded")
    return frames


def encode(frames: Frames, coder: Coder) -> bytes:
    """What the decoder must know beforehand, then the packets, each after its length."""
    context: Any = VideoCodecContext.create(coder.encoder, "w")
    context.height, context.width = frames.shape[1:3]
    context.pix_fmt, context.options = coder.pixels, coder.options
    context.time_base = Fraction(1, 30)  # of no meaning here: times are the container's
    context.thread_count = 1  # more of them give other bytes
    packets: list[bytes] = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = number
        packets += [bytes(packet) for packet in context.encode(picture)]
    packets += [bytes(packet) for packet in context.encode(None)]
    parts = [bytes(context.extradata or b""), *packets]
    return b"".join(unsigned(len(part)) + part for part in parts)


def decode(packed: bytes, coder: Coder, height: int, width: int) -> Any:
    """Yields the pictures that `encode` took, behind the byte that names the codec."""
    fields = Fields(packed, at=1)
    context: Any = VideoCodecContext.create(coder.decoder, "r")
    context.thread_count = 1
    most = str((height + MARGIN) * (width + MARGIN))
    context.options = {"max_pixels": most, "err_detect": "crccheck+explode"}
    if extradata := fields.take(fields.unsigned()):
        context.extradata = extradata
    if coder.decoder == "ffv1":  # which does not say it itself
        context.height, context.width = height, width
    while fields.rest:
        yield from context.decode(av.Packet(fields.take(fields.unsigned())))
    yield from context.decode(None)
