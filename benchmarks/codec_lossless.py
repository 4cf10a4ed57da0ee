"""Real file sizes of lossless coding, per level, against classical codecs: same key frames.

Each recording is compressed to a `.lav` file, decoded from it and compared bit for bit; the rivals
write Matroska files of the same frames (LZMA: palette indices of each group, bare). Speeds are
pixels per CPU second of one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from callbacks.classical_codecs import QUICK, SLOW, ClassicalCodecs, Rival
from datamodules.clip.split import level_of
from datamodules.video.cache import Recording, open_recordings
from lit_modules.codec import Header, LavReader, LavWriter
from lit_modules.codec.lossless import decode_group, encode_group

Frames = NDArray[np.uint8]


def main(argv: list[str]) -> dict[str, Any]:
    """Figures of each level and of all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks codec_lossless", description=__doc__
    )
    parser.add_argument(
        "--data_dir", required=True, help="folder of recordings, one file or more a level"
    )
    parser.add_argument("--files", type=int, default=1, help="recordings of each level")
    parser.add_argument(
        "--groups", type=int, help="groups of each recording, spread over it; all if unset"
    )
    parser.add_argument("--group_frames", type=int, default=32, help="distance of key frames")
    parser.add_argument("--cache_dir", help="of decoded recordings, as data.cache_dir")
    parser.add_argument("--slow", action="store_true", help="x264 veryslow, VP9 and AV1 too")
    options = parser.parse_args(argv)
    levels: dict[str, list[Recording]] = defaultdict(list)
    for recording in open_recordings(options.data_dir, cache_dir=options.cache_dir):
        levels[level_of(recording.path.name) or recording.name].append(recording)
    chosen = [recording for some in levels.values() for recording in some[: options.files]]
    rows: dict[str, dict[str, Any]] = {}
    for recording in track(chosen, "recordings"):
        frames, seconds = read(recording, options.groups, options.group_frames)
        rivals = SLOW if options.slow else QUICK
        rows[recording.path.stem] = measure(frames, seconds, options.group_frames, rivals)
        print(f"{recording.path.stem}: {rows[recording.path.stem]}", flush=True)
    return {
        "recordings_a_level": options.files,
        "groups_a_recording": options.groups or "all",
        "group_frames": options.group_frames,
        "levels": rows,
        "all": total(list(rows.values())),
    }


def read(
    recording: Recording, groups: int | None, length: int
) -> tuple[list[Frames], list[NDArray[np.float64]]]:
    """Some groups of frames, evenly spread, or all, and their times."""
    starts = list(range(0, len(recording), length))
    if groups is not None and groups < len(starts):
        starts = [starts[k] for k in np.linspace(0, len(starts) - 1, groups).round().astype(int)]
    spans = [np.arange(start, min(start + length, len(recording))) for start in starts]
    frames = []
    for span in spans:
        pixels, palette = recording.frames(span)
        frames.append(pixels if palette is None else colours(pixels, palette))
    return frames, [recording.seconds[span] for span in spans]


def colours(indices: NDArray[np.uint8], palette: NDArray[np.int32]) -> Frames:
    """Palette indices `(t, h, w)` and bytes R, G, B, X of each -> RGB `(t, h, w, 3)`."""
    return palette.view(np.uint8).reshape(-1, 4)[:, :3][indices]


def measure(
    frames: list[Frames],
    seconds: list[NDArray[np.float64]],
    group_frames: int,
    rivals: dict[str, Rival],
) -> dict[str, Any]:
    """Bytes and speeds of one recording."""
    with tempfile.TemporaryFile() as file:
        encoding = write(file, frames, seconds, group_frames)
        size = file.seek(0, 2)
        decoding = check(file, frames)
    classical = ClassicalCodecs(frames[0].shape[1:3], 30.0, group_frames, rivals)
    for group in frames:
        classical.add(group)
    sizes = classical.finish()
    classical.close()
    count = sum(map(len, frames))
    return {
        "frames": count,
        "bytes": size,
        "kbps_at_30": 8e-3 * size / (count / 30),
        "classical_bytes": sizes,
        "ratio_to_best": size / min(sizes.values()),
        "pixels": sum(group[..., 0].size for group in frames),
        "encode_seconds": encoding,
        "decode_seconds": decoding,
    }


def write(
    file: IO[bytes], frames: list[Frames], seconds: list[NDArray[np.float64]], group_frames: int
) -> float:
    """Writes a `.lav` file; returns the CPU seconds of encoding."""
    height, width = frames[0].shape[1:3]
    header = Header("palette", height, width, 30.0, group_frames, {"quality": "lossless"})
    spent = 0.0
    with LavWriter(cast(BinaryIO, file), header) as writer:
        for group, times in zip(frames, seconds, strict=True):
            started = time.thread_time()
            shared, packets = encode_group(group)
            spent += time.thread_time() - started
            writer.add_group(times, packets, shared)
    return spent


def check(file: IO[bytes], frames: list[Frames]) -> float:
    """Decodes a `.lav` file and compares; returns the CPU seconds of decoding."""
    spent = 0.0
    for group, true in zip(LavReader(cast(BinaryIO, file)).groups(), frames, strict=True):
        started = time.thread_time()
        made = decode_group(group.packets, *true.shape[:3])
        spent += time.thread_time() - started
        if made is None or not np.array_equal(made, true):
            raise RuntimeError(f"group {group.number} is not exact")
    return spent


def total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums and ratios over all recordings."""
    names = set.intersection(*(set(row["classical_bytes"]) for row in rows))
    sizes = {name: sum(row["classical_bytes"][name] for row in rows) for name in sorted(names)}
    size, pixels = (sum(row[key] for row in rows) for key in ("bytes", "pixels"))
    frames = sum(row["frames"] for row in rows)
    return {
        "exact": True,
        "frames": frames,
        "bytes": size,
        "kbps_at_30": 8e-3 * size / (frames / 30),
        "classical_bytes": sizes,
        "ratio_to_best": size / min(sizes.values()),
        "encode_pixels_per_cpu_second": pixels / sum(row["encode_seconds"] for row in rows),
        "decode_pixels_per_cpu_second": pixels / sum(row["decode_seconds"] for row in rows),
    }
