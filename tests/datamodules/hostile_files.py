"""Files that are no good video, each in its own way."""

from __future__ import annotations

import io
import os
import struct
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
from PIL import Image

from benchmarks.numbered_video import picture, write_numbered
from datamodules.video_io import write_video

SIZE = (64, 80)
COUNT = 90


def write_hostile(folder: Path) -> dict[str, str]:
    """Makes one of each kind; returns what is to be said of each, as a pattern."""
    names = ("xvid.avi", "ffv1.avi", "mjpg.avi", "h264.mp4", "h264_b_frames.avi")
    with TemporaryDirectory() as other:
        good = {name: write_numbered(Path(other), name, COUNT, SIZE).read_bytes() for name in names}

    def write(name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)

    write("empty.avi", b"")
    write("text.avi", b"this is no video\n" * 200)
    write("playlist.avi", b"ffconcat version 1.0\nfile h264.mp4\n")
    (folder / "folder.avi").mkdir()
    os.mkfifo(folder / "pipe.avi")
    (folder / "nowhere.avi").symlink_to(folder / "gone.avi")
    (folder / "device.avi").symlink_to("/dev/zero")
    write("cut_header.avi", good["xvid.avi"][:150])
    write("cut_header.mp4", good["h264.mp4"][:100])
    for name, data in good.items():
        write(f"cut_{name}", data[: len(data) * 6 // 10])
    for name in ("xvid.avi", "ffv1.avi", "h264_b_frames.avi"):
        write(f"rot_{name}", rotten(good[name]))
    write("bomb_header.avi", with_header_size(good["ffv1.avi"], 16000, 16000))
    write("bomb_frame.avi", with_jpeg_size(good["mjpg.avi"], 40, 16000, 16000))
    write_bomb(folder / "bomb.avi")
    screen = struct.pack("<HH", 16000, 16000)
    write(
        "bomb.gif",
        b"GIF89a"
        + screen
        + b"\x80\0\0"
        + b"\0\0\0\xff\xff\xff\x2c\0\0\0\0"
        + screen
        + b"\0\x02\x02\x44\x01\0\x3b",
    )
    change_size(folder / "size_changes.avi")
    write_video(folder / "one_frame.avi", [picture(0, SIZE)], 30)
    return {
        "empty.avi": "it is empty",
        "text.avi": "Invalid data",
        "playlist.avi": "not on whitelist",
        "folder.avi": "no regular file",
        "pipe.avi": "no regular file",
        "nowhere.avi": "No such file",
        "device.avi": "no regular file",
        "cut_header.avi": "Invalid data",
        "cut_header.mp4": "moov atom not found",
        "cut_h264.mp4": "moov atom not found",
        **{f"cut_{name}": "at frame .*good frames are used" for name in good if ".avi" in name},
        "rot_xvid.avi": "at frame .*good frames are used",
        "rot_ffv1.avi": "the checksum is wrong at frame .*good frames are used",
        "rot_h264_b_frames.avi": "frame .*good frames are used",
        "bomb_header.avi": "16000x16000 exceeds",
        "bomb_frame.avi": "at frame 40.*good frames are used",
        "bomb.avi": "16000x16000 exceeds",
        "bomb.gif": "16000x16000 exceeds",
        "size_changes.avi": "the size changes from 80x64 to 40x32 at frame 20 .*20 good frames",
        "one_frame.avi": "it holds one frame only",
    }


def rotten(data: bytes) -> bytes:
    """In the middle of a video the bytes of one frame are others."""
    with av.open(io.BytesIO(data)) as container:
        packets = [(int(p.pos or 0), p.size) for p in container.demux(video=0)]
    spoilt, (place, size) = bytearray(data), packets[COUNT // 2]
    noise = np.random.default_rng(0).integers(1, 256, size).tolist()
    for i, flips in enumerate(noise):
        spoilt[place + i] ^= flips
    return bytes(spoilt)


def with_header_size(data: bytes, width: int, height: int) -> bytes:
    """An AVI that claims another size."""
    spoilt = bytearray(data)
    header, stream = spoilt.index(b"avih"), spoilt.index(b"strf")
    spoilt[header + 40 : header + 48] = struct.pack("<ii", width, height)
    spoilt[stream + 12 : stream + 20] = struct.pack("<ii", width, height)
    return bytes(spoilt)


def with_jpeg_size(data: bytes, frame: int, width: int, height: int) -> bytes:
    """An MJPG file of which one picture claims another size."""
    spoilt, place = bytearray(data), -1
    for _ in range(frame + 1):
        place = spoilt.index(b"\xff\xc0\x00\x11\x08", place + 1)
    spoilt[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(spoilt)


def write_bomb(path: Path) -> None:
    """Two megabytes that decode to a black picture of 16000 x 16000."""
    jpeg = io.BytesIO()
    Image.new("L", (16000, 16000)).save(jpeg, "JPEG")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=30)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuvj420p"
        packet = av.Packet(jpeg.getvalue())
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, 0, 0, True
        container.mux(packet)


def change_size(path: Path) -> None:
    """Twenty frames, then twenty of half the height and width, in one stream."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=30)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuvj420p"
        for first, size in ((0, SIZE), (20, (SIZE[0] // 2, SIZE[1] // 2))):
            encoder: Any = av.CodecContext.create("mjpeg", "w")
            encoder.height, encoder.width, encoder.pix_fmt = *size, "yuvj420p"
            encoder.time_base = stream.time_base = Fraction(1, 30)
            for i in range(first, first + 20):
                frame = av.VideoFrame.from_ndarray(picture(i, size), format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 30)
                for packet in encoder.encode(frame):
                    packet.stream = stream
                    container.mux(packet)
