"""The header of a `.lav` file: what is the same for all its groups."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from lit_modules.codec.container.fields import BitstreamError

MAGIC = b"LAV\0"
VERSION = 1
Mode = Literal["palette", "general", "learned"]
MOST_HEADER_BYTES = 1 << 16
MOST_PIXELS = 1 << 24  # of a frame
MOST_GROUP_PIXELS = 1 << 28  # of all frames of a group, which are decoded together
MOST_GROUP_FRAMES = 1 << 12
MOST_FPS = 1000.0


@dataclass(frozen=True)
class Header:
    """What is the same for all groups of a `.lav` file.

    Args:
        mode: how pixels are coded: `palette` and `general` are lossless, `learned` is not.
        height: of the frames, in pixels.
        width: of the frames, in pixels; height x width is at most 2^24.
        fps: nominal frames a second, in (0, 1000]; true times are those of the groups.
        group_frames: frames of a group at most, 1 to 4096, the distance of key frames; group_frames
            x height x width is at most 2^28.
        about: what else the mode needs to know: plain JSON, 60 kB at most.

    Raises:
        BitstreamError: a value is out of range.
    """

    mode: Mode
    height: int
    width: int
    fps: float
    group_frames: int
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise BitstreamError(f"mode {self.mode!r} must be one of {', '.join(get_args(Mode))}")
        for name, most in (("height", MOST_PIXELS), ("width", MOST_PIXELS)):
            check_integer(name, getattr(self, name), most)
        check_integer("group_frames", self.group_frames, MOST_GROUP_FRAMES)
        check_integer("height x width", self.height * self.width, MOST_PIXELS)
        pixels = self.height * self.width * self.group_frames
        check_integer("group_frames x height x width", pixels, MOST_GROUP_PIXELS)
        number = isinstance(self.fps, int | float) and not isinstance(self.fps, bool)
        if not number or not math.isfinite(self.fps) or not 0 < self.fps <= MOST_FPS:
            raise BitstreamError(f"fps {self.fps} must lie in (0, {MOST_FPS:g}]")
        if not isinstance(self.about, dict):
            raise BitstreamError(f"about {self.about!r:.40} must be a mapping of plain values")


def check_integer(name: str, value: object, most: int) -> None:
    """Refuses what is no integer of 1 to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BitstreamError(f"{name} {value!r:.40} must be an integer of 1 to {most}")


def pack_header(header: Header) -> bytes:
    """Magic, version, length, canonical JSON and CRC32: so will it be in any later version.

    Raises:
        BitstreamError: `about` is no plain JSON, or too long.
    """
    try:
        text = json.dumps(
            asdict(header), sort_keys=True, separators=(",", ":"), allow_nan=False
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BitstreamError(f"about must be plain JSON: {error}") from None
    if len(text) > MOST_HEADER_BYTES:
        raise BitstreamError(f"a header of {len(text)} bytes exceeds {MOST_HEADER_BYTES}")
    packed = MAGIC + bytes([VERSION]) + len(text).to_bytes(4, "little") + text
    return packed + zlib.crc32(packed).to_bytes(4, "little")


LONGEST_HEADER = len(MAGIC) + 1 + 4 + MOST_HEADER_BYTES + 4


def cut_header(data: bytes) -> bytes | None:
    """The packed header that `data` begins with, if it is whole and sound."""
    if data[: len(MAGIC)] != MAGIC or len(data) < len(MAGIC) + 5:
        return None
    length = int.from_bytes(data[len(MAGIC) + 1 :][:4], "little")
    end = len(MAGIC) + 5 + length
    if length > MOST_HEADER_BYTES or len(data) < end + 4:
        return None
    sound = zlib.crc32(data[:end]) == int.from_bytes(data[end : end + 4], "little")
    return data[: end + 4] if sound else None


def seed_of(packed: bytes) -> int:
    """What the CRCs of a file's records start from: the header's own CRC.

    Not the CRC of the packed header, which is the same for all headers that end in theirs.
    """
    return int.from_bytes(packed[-4:], "little")


def unpack_header(packed: bytes) -> Header:
    """The header in what `cut_header` gave.

    Raises:
        BitstreamError: it is of a newer version, or a value is missing, unknown or out of range.
    """
    version = packed[len(MAGIC)]
    if version != VERSION:
        raise BitstreamError(
            f"version {version} of .lav is not version {VERSION}, which this program reads; update"
            " it, or decompress the file with the program that wrote it"
        )
    try:
        values = json.loads(packed[len(MAGIC) + 5 : -4])
    except (ValueError, RecursionError) as error:
        raise BitstreamError(f"the header is no JSON: {error}") from None
    names = {entry.name for entry in fields(Header)}
    if not isinstance(values, dict) or set(values) != names:
        raise BitstreamError(f"the header must hold {', '.join(sorted(names))} and nothing else")
    return Header(**values)
