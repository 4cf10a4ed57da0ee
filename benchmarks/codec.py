"""The learned codec on held-out levels: sizes of real files, what is decoded from them, and losses.

Every point is decoded from the file whose bytes it counts. Classical codecs write files of the same
frames with key frames as far apart. Lost packets are judged on other levels, named by
`--trained_levels`, beside two stand-ins: the last good frame, shown while anything of a group is
lost, and the last good frame where something is lost.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.codec_rivals import RATES, bd_rate, code
from datamodules.video.decoder import Damage
from datamodules.video.decoding import read_around_damage
from lit_modules import LitVideoCodec
from lit_modules.checkpoints import load_module
from lit_modules.codec import Header, LavReader, LavWriter
from lit_modules.codec.learned import LearnedCoder
from lit_modules.codec.packets import SHIFTED, CubeCoder, Lattice
from lit_modules.metrics.restoration import structural_similarity

Frames = NDArray[np.uint8]
FPS = 30


class Point(NamedTuple):
    """Files of all clips together."""

    kbps: float
    raw_to_bytes: float
    psnr: float
    ssim: float


def main(argv: list[str]) -> dict[str, Any]:
    """Returns the figures; draws `benchmarks/results/codec.png`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks codec", description=__doc__)
    parser.add_argument("--ckpt_path", type=Path, required=True)
    parser.add_argument("--data_dir", type=Path, default=Path("data_video/mario"))
    parser.add_argument("--levels", nargs="+", default=["1-2", "3-2", "8-1"], help="held out")
    parser.add_argument("--trained_levels", nargs="+", default=["1-1", "4-2"])
    parser.add_argument("--frames", type=int, default=128, help="of a clip, from its middle")
    parser.add_argument("--window", type=int, default=0, help="side of the middle; 0 for all of it")
    parser.add_argument("--group_frames", type=int, default=32)
    parser.add_argument("--lost", type=float, default=0.1, help="share of packets")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    module = load_module(options.ckpt_path)
    if not isinstance(module, LitVideoCodec):
        raise ValueError(f"{options.ckpt_path} is a {type(module).__name__}, not a LitVideoCodec")
    clips, trained = (
        [clip(path, options.frames, options.window) for path in of_levels(options.data_dir, names)]
        for names in (options.levels, options.trained_levels)
    )
    points = {"ours": [ours(module, q, clips, options) for q in qualities(module)]}
    for name, rates in RATES.items():
        points[name] = [
            judge(clips, partial(code, name, crf, fps=FPS, group_frames=options.group_frames))
            for crf in track(rates, name)
        ]
    draw(points, Path(__file__).with_name("results") / "codec.png")
    curves = {name: [(p.kbps, p.psnr) for p in some] for name, some in points.items()}
    return {
        "clips": len(clips),
        "frames": options.frames,
        "size": list(clips[0].shape[1:3]),
        "group_frames": options.group_frames,
        "points": {name: [p._asdict() for p in some] for name, some in points.items()},
        "bd_rate_percent": {
            name: bd_rate(curves["ours"], curve) for name, curve in curves.items() if name != "ours"
        },
        "losses": losses(module, trained, options),
        "entropy_decoding": entropy_speed(module, clips[0], options.group_frames),
        "quantiser": quantiser(module, clips),
    }


def qualities(module: LitVideoCodec) -> range:
    """All that the model has."""
    return range(1, module.codebooks + 1)


def of_levels(folder: Path, levels: list[str]) -> list[Path]:
    """One recording of each level.

    Raises:
        ValueError: there is none of one.
    """
    found = []
    for level in levels:
        files = sorted(p for p in folder.rglob("*.avi") if level in p.stem.split("_"))
        if not files:
            raise ValueError(f"no recording of level {level} in {folder}; set --data_dir, --levels")
        found.append(files[0])
    return found


def clip(path: Path, frames: int, window: int) -> Frames:
    """Frames from the middle of a recording, `(t, h, w, 3)`."""
    read = [f.pixels for f in read_around_damage(path) if not isinstance(f, Damage)]
    start = max(0, (len(read) - frames) // 2)
    video = np.stack(read[start : start + frames])
    if window:
        top, left = ((side - window) // 2 for side in video.shape[1:3])
        video = video[:, top : top + window, left : left + window]
    return np.ascontiguousarray(video)


def judge(clips: list[Frames], codec: Callable[[Frames], tuple[int, Frames]]) -> Point:
    """Bytes of all files, errors over all pixels."""
    coded = [codec(frames) for frames in clips]
    size, values = sum(n for n, _ in coded), sum(frames.size for frames in clips)
    squared = sum(error(made, true) for (_, made), true in zip(coded, clips, strict=True))
    similar = [similarity(made, true) for (_, made), true in zip(coded, clips, strict=True)]
    seconds = sum(map(len, clips)) / FPS
    return Point(
        size * 8e-3 / seconds, values / size, psnr(squared, values), float(np.mean(similar))
    )


def ours(module: LitVideoCodec, quality: int, clips: list[Frames], options: Any) -> Point:
    """Through a real file, with its container."""
    coder = LearnedCoder(module, quality)

    def through_file(frames: Frames) -> tuple[int, Frames]:
        file = io.BytesIO()
        about = {"quality": quality, "model": "0" * 16}
        height, width = frames.shape[1:3]
        header = Header("learned", height, width, FPS, options.group_frames, about)
        writer = LavWriter(file, header)
        for start, group in groups(frames, options.group_frames):
            shared, packets = coder.encode_group(group)
            writer.add_group(np.arange(start, start + len(group)) / FPS, packets, shared)
        writer.close()
        size = file.tell()
        file.seek(0)
        made = []
        for stored in LavReader(file).groups():
            assert stored.shared is not None
            made.append(coder.decode_group(stored.shared, stored.packets)[0])
        return size, np.concatenate(made)

    return judge(clips, through_file)


def groups(frames: Frames, length: int) -> Iterator[tuple[int, Frames]]:
    """First frame and frames of each group."""
    for start in range(0, len(frames), length):
        yield start, frames[start : start + length]


def losses(module: LitVideoCodec, clips: list[Frames], options: Any) -> dict[str, float]:
    """PSNR where packets are lost at random, by what is shown in their place."""
    coder, rng = LearnedCoder(module, module.codebooks), np.random.default_rng(0)
    names = ("whole", "concealed", "last_good_frame", "last_good_cubes")
    sums = dict.fromkeys(names, 0.0)
    values = lost_cubes = cubes = 0
    for frames in clips:
        before: Frames | None = None
        for _, true in groups(frames, options.group_frames):
            shared, packets = coder.encode_group(true)
            whole, _ = coder.decode_group(shared, list(packets))
            if before is None:  # something has to be good to begin with
                before = whole[-1]
                continue
            left = [None if rng.random() < options.lost else packet for packet in packets]
            made, concealed = coder.decode_group(shared, left, before)
            frozen = before[None].repeat(len(true), 0) if concealed.any() else whole
            side = module.net.encoder.cube_side
            where = concealed.repeat(2, 0).repeat(side, 1).repeat(side, 2)
            where = where[: len(true), : true.shape[1], : true.shape[2]]
            partly = np.where(where[..., None], before, whole)
            for name, shown in zip(names, (whole, made, frozen, partly), strict=True):
                sums[name] += error(shown, true)
            values, before = values + true.size, made[-1]
            lost_cubes, cubes = lost_cubes + int(concealed.sum()), cubes + concealed.size
    return {
        "lost_share": lost_cubes / max(1, cubes),
        **{f"psnr_{name}": psnr(total, values) for name, total in sums.items()},
    }


def entropy_speed(module: LitVideoCodec, frames: Frames, group_frames: int) -> dict[str, float]:
    """Symbols of a group a second of CPU time: operations and codes."""
    coder, rows = LearnedCoder(module, module.codebooks), module.tables.rows()
    shared, packets = coder.encode_group(frames[:group_frames])
    tiles = coder._tiles((len(frames[:group_frames]), *frames.shape[1:3]))
    lattice = Lattice(coder._grid(tiles))
    cubes = CubeCoder(rows, module.codebooks)
    begin = time.process_time()
    operations, _ = cubes.decode(list(packets), lattice, module.net.parts)
    seconds = time.process_time() - begin
    codes = int((operations - SHIFTED).clip(0).sum()) * module.net.parts
    count = operations.size + codes
    return {
        "symbols": count,
        "symbols_per_second": count / seconds,
        "coded_cubes": float((operations > SHIFTED).mean()),
        "head_bytes": len(shared),
    }


@torch.no_grad()
def quantiser(module: LitVideoCodec, clips: list[Frames]) -> dict[str, float]:
    """CPU time of encoding vectors against vector-quantize-pytorch, and how many codes agree."""
    from vector_quantize_pytorch import ResidualVQ

    net, length = module.net, module.clip_length
    coder = LearnedCoder(module, 1)
    side = net.encoder.unit_side
    vectors = torch.cat(
        [
            net.encode(coder._video(frames[i : i + length, : 7 * side, : 7 * side])).flatten(0, 4)
            for frames in clips
            for i in range(0, min(len(frames), 8 * length) - length + 1, length)
        ]
    )
    count, size, dim = net.quantizer.codebooks.shape
    peer = ResidualVQ(dim=dim, num_quantizers=count, codebook_size=size).eval()
    for layer, codes in zip(peer.layers, net.quantizer.codebooks, strict=True):
        layer._codebook.embed.copy_(codes[None])
        layer._codebook.initted.fill_(True)

    def timed(run: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
        run()
        begin = time.process_time()
        out = run()
        return time.process_time() - begin, out

    own, mine = timed(lambda: net.quantizer.encode(vectors))
    other, theirs = timed(lambda: peer(vectors[None])[1][0])
    everything = torch.full(mine.shape[:1], count)
    missed = [
        (vectors - net.quantizer.decode(codes, everything)).square().sum(1)
        for codes in (mine, theirs)
    ]
    used = torch.stack([torch.bincount(stage, minlength=size) > 0 for stage in mine.unbind(1)])
    return {
        "vectors": len(vectors),
        "vectors_per_second": len(vectors) / own,
        "times_the_peer": other / own,
        "same_codes": float((mine == theirs).float().mean()),
        # Near ties fall either way, by rounding, and then all codes after them differ.
        "same_codes_or_as_near": float(
            ((mine == theirs) | (missed[0] <= missed[1] * 1.0001 + 1e-6)[:, None]).float().mean()
        ),
        "unused_on_held_out": 1 - float(used.float().mean()),
        "unused_in_training": float((module.tables.counts.sum(1) == 0).float().mean()),
    }


def error(made: Frames, true: Frames) -> float:
    """Sum of squared differences of levels."""
    return float(np.square(made.astype(np.float32) - true).sum(dtype=np.float64))


def psnr(squared: float, values: int) -> float:
    """In dB, of a sum of squared differences of levels."""
    return float(10 * np.log10(255**2 * values / max(squared, 1e-9)))


def similarity(made: Frames, true: Frames) -> float:
    """Mean SSIM of every fourth of frames `(t, h, w, 3)`, one by one to take little memory."""
    planes = (
        [torch.from_numpy(x).permute(2, 0, 1).float() / 255 for x in pair]
        for pair in zip(made[::4], true[::4], strict=True)
    )
    return float(np.mean([structural_similarity(*pair).mean().item() for pair in planes]))


def draw(points: dict[str, list[Point]], path: Path) -> None:
    """Rate against quality."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for name, some in points.items():
        width = 2.5 if name == "ours" else 1.0
        rates, qualities = [p.kbps for p in some], [p.psnr for p in some]
        axes.plot(rates, qualities, label=name, marker="o", linewidth=width)
    axes.set(xscale="log", xlabel="kbit/s at 30 frames a second", ylabel="PSNR in dB")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
