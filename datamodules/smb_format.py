"""Frames of Super Mario Bros. with their game state, in the format of the public smbdataset.

A folder an episode, `<user>_<session>_e<episode>_<world>-<level>_<outcome>`, a file a frame,
`<user>_<session>_e<episode>_<world>-<level>_f<frame>_a<buttons>_<date and time>.<outcome>.png`.
Frames count emulated ones. The picture is an indexed PNG, 256 wide and 240 high; behind its end
follow chunks of length (4 bytes, big endian), `tEXt`, key, a zero byte, data and a CRC that nobody
fills in. Keys: `RAM` (the console's 2048 bytes), `BP1` (the button byte, see `buttons`), `OUTCOME`
(1: the player failed, 2: the level was won).

The dataset's collector wrote these chunks in the text mode of Windows, which puts a 0x0D before
each 0x0A, lengths included. Reading undoes it: a damaged file is longer by each byte put in, so
its lengths do not add up, and as every 0x0A has its 0x0D there is one way back only.
"""

from __future__ import annotations

import io
import re
import struct
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.video.decoding import VideoError, check_file, check_pixels

RAM_BYTES = 2048
FAIL, WIN = 1, 2
OUTCOMES = {FAIL: "fail", WIN: "win"}
SIGNATURE = b"\x89PNG\r\n\x1a\n"
FRAME_NUMBER = re.compile(r"_f(\d+)_a\d+_[^/]*\.png$")
NO_CRC = bytes(4)


class SmbFrame(NamedTuple):
    """One frame and the state of the console that drew it."""

    indices: NDArray[np.uint8]
    """Picture `(h, w)`, indices into `palette`."""
    palette: NDArray[np.uint8]
    """RGB `(256, 3)`; entries that the file has not are black."""
    ram: NDArray[np.uint8]
    """`(2048,)`"""
    buttons: int
    outcome: int
    """How the episode ended: `FAIL` or `WIN`, 0 if the file does not say."""


class Episode(NamedTuple):
    """What the names of an episode's folder and files are made of; no field holds a `_`."""

    user: str
    session: str
    number: int
    level: str
    """`<world>-<level>`"""
    outcome: int

    @property
    def folder(self) -> str:
        """Name of the folder."""
        return f"{self._stem()}_{OUTCOMES[self.outcome]}"

    def file(self, frame: int, buttons: int, time: datetime) -> str:
        """Name of a frame's file; `frame` counts emulated frames from 1."""
        moment = time.strftime("%Y-%m-%d_%H-%M-%S")
        return f"{self._stem()}_f{frame}_a{buttons}_{moment}.{OUTCOMES[self.outcome]}.png"

    def _stem(self) -> str:
        return f"{self.user}_{self.session}_e{self.number}_{self.level}"


def episodes(folder: str | Path) -> list[Path]:
    """The files of one episode in the order of their frame numbers; other files are left out."""
    numbers = {p: FRAME_NUMBER.search(p.name) for p in Path(folder).iterdir()}
    return sorted((p for p, match in numbers.items() if match), key=frame_number)


def frame_number(path: Path) -> int:
    """Number of the emulated frame.

    Raises:
        VideoError: if the name holds none.
    """
    match = FRAME_NUMBER.search(path.name)
    if match is None:
        raise VideoError("its name holds no frame number such as _f12_a148_")
    return int(match[1])


def read_frame(path: str | Path) -> SmbFrame:
    """Reads one frame, undoing the damage of the text mode.

    Raises:
        VideoError: if it is no indexed PNG or its game state is not there or beyond repair.
    """
    check_file(path)
    data = Path(path).read_bytes()
    end = picture_end(data)
    indices, palette = decode_picture(data[:end])
    state = read_state(data[end:])
    return SmbFrame(
        indices,
        palette,
        np.frombuffer(state[b"RAM"], np.uint8).copy(),
        state[b"BP1"][0],
        state.get(b"OUTCOME", b"\0")[0],
    )


def picture_end(data: bytes) -> int:
    """Where the picture ends and the game state begins."""
    if not data.startswith(SIGNATURE):
        raise VideoError("it is no PNG")
    place, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        if place + 12 > len(data):
            raise VideoError("its picture is cut off")
        (length,) = struct.unpack_from(">I", data, place)
        kind = data[place + 4 : place + 8]
        place += 12 + length
    return place


def decode_picture(png: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Indices `(h, w)` and palette `(256, 3)`."""
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
            check_pixels(*picture.size)
            if picture.mode != "P":
                raise VideoError(f"its picture is {picture.mode}, not indexed")
            colours = picture.getpalette() or []
            indices = np.array(picture, np.uint8)
    except VideoError:
        raise
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # what Pillow raises
        raise VideoError(f"its picture is damaged ({error})") from error
    palette = np.zeros((256, 3), np.uint8)
    palette.reshape(-1)[: len(colours)] = colours
    return indices, palette


def read_state(data: bytes) -> dict[bytes, bytes]:
    """What stands behind the picture by key, in its own lengths."""
    if not data:
        raise VideoError("it holds a picture but no game state")
    chunks = text_chunks(data) or text_chunks(data.replace(b"\r\n", b"\n"))
    if chunks is None:
        raise VideoError("its game state is damaged beyond what text mode does")
    if len(ram := chunks.get(b"RAM", b"")) != RAM_BYTES:
        raise VideoError(f"its RAM has {len(ram)} bytes, not {RAM_BYTES}")
    for key in (b"BP1", b"OUTCOME"):
        if len(chunks.get(key, b"\0")) != 1 or (key == b"BP1" and key not in chunks):
            raise VideoError(f"its {key.decode()} is not one byte")
    return chunks


def text_chunks(data: bytes) -> dict[bytes, bytes] | None:
    """Data of each key; None unless the lengths add up to the end."""
    chunks: dict[bytes, bytes] = {}
    place = 0
    while place < len(data):
        if data[place + 4 : place + 8] != b"tEXt":
            return None
        (length,) = struct.unpack_from(">I", data, place)
        key, zero, value = data[place + 8 : place + 8 + length].partition(b"\0")
        place += 12 + length
        if not zero:
            return None
        chunks[key] = value
    return chunks if place == len(data) else None


def write_frame(path: str | Path, frame: SmbFrame) -> None:
    """Writes one frame, without the damage of the text mode."""
    picture = Image.fromarray(frame.indices)
    picture.putpalette(frame.palette[: int(frame.indices.max()) + 1].tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG")
    state = {
        b"RAM": frame.ram.tobytes(),
        b"BP1": bytes([frame.buttons]),
        b"OUTCOME": bytes([frame.outcome]),
    }
    for key, value in state.items():
        body = key + b"\0" + value
        file.write(struct.pack(">I", len(body)) + b"tEXt" + body + NO_CRC)
    Path(path).write_bytes(file.getvalue())


def to_palette(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """RGB `(h, w, 3)` of at most 256 colours to indices `(h, w)` and palette `(256, 3)`.

    Raises:
        ValueError: if there are more colours.
    """
    red, green, blue = np.moveaxis(rgb.astype(np.uint32), -1, 0)
    colours, indices = np.unique(red << 16 | green << 8 | blue, return_inverse=True)
    if len(colours) > 256:
        raise ValueError(f"a frame has {len(colours)} colours; indexed pictures hold 256")
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colours)] = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], -1)
    return indices.reshape(rgb.shape[:2]).astype(np.uint8), palette
