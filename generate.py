"""From a checkpoint to files: `python generate.py VERB --ckpt_path CKPT --out DIR`."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Literal

# Before torch loads: threads that spin while they wait made steps on a shared machine 40x slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from jsonargparse import auto_cli
from rich.progress import Progress, TimeElapsedColumn

from callbacks.clear_errors import OneLineParser, one_line_errors
from callbacks.cluster_report import FILES, Clustering, Kind, summary
from callbacks.cluster_segments import read_segments
from callbacks.folder_job import for_each
from callbacks.generated_clips import write_clips
from callbacks.given_beginning import first_frame, held_buttons
from callbacks.lav_report import LavReport
from callbacks.reconstructions import Reconstructions
from callbacks.restorations import hidings_of, restore_all, restorer_of
from callbacks.verb_files import load, new_files
from datamodules.footage import Footage
from datamodules.video_io import SUFFIXES, write_video
from lit_modules import (
    LitCodeLM,
    LitFlowVideo,
    LitMaskedAutoencoder,
    LitStreamingAutoencoder,
    LitVideoCodec,
)
from lit_modules.checkpoints import export as export_checkpoint
from lit_modules.flow.solver import Method
from lit_modules.latent_action.clustering import Method as ClusterMethod
from lit_modules.mae.masking import MaskName


def sample(
    ckpt_path: str,
    out: str,
    num: int = 4,
    seconds: float = 5.0,
    fps: float = 30.0,
    steps: int = 10,
    solver: Method = "midpoint",
    guidance: float = 1.0,
    actions: str | None = None,
    start_frame: str | None = None,
    format: Literal["gif", "mp4", "png"] = "gif",
    seed: int = 0,
    device: str = "cpu",
    overwrite: bool = False,
) -> None:
    """Generates clips of video and a grid of them all.

    Writes `generated_video_1.gif` (or `.mp4`, or `.png`: the frames side by side) and so on,
    `generated_videos_grid.gif` and `metrics.json`. Clip k depends on seed and k alone. What is
    longer than the clips of the training is made piece by piece.

    Args:
        ckpt_path: checkpoint of a flow-matching generator.
        out: folder for the files; made if missing.
        num: clips to generate.
        seconds: length of each.
        fps: frames a second; that of the training data gives true speed.
        steps: steps of the solver from noise to clip.
        solver: how a step is made; `midpoint` and `heun` evaluate the network twice a step,
            `dopri5` chooses its own steps.
        guidance: 1 follows the actions, more exaggerates them.
        actions: buttons held, such as `right:30,right+jump:10` (frames); unknown after the last.
        start_frame: picture or video whose first frame the clips begin with.
        format: file format of the clips.
        seed: seed of the noise.
        device: `cpu`, `cuda` or `cuda:N`.
        overwrite: write over files of an earlier call.
    """
    frames = round(seconds * fps)
    if num < 1 or frames < 1:
        raise ValueError(f"num {num}, seconds {seconds} and fps {fps} leave nothing to generate")
    names = [f"generated_video_{clip}.{format}" for clip in range(1, num + 1)]
    paths = new_files(out, overwrite, *names, "generated_videos_grid.gif", "metrics.json")
    module = load(ckpt_path, LitFlowVideo, device)
    held = None if actions is None else held_buttons(actions, frames, module)
    first = None if start_frame is None else first_frame(start_frame, module)

    with Progress(*Progress.get_default_columns(), TimeElapsedColumn()) as bar:
        task = bar.add_task("pieces", total=num * module.pieces(frames, first))
        made = (
            module.sample(
                *(1, seed, clip, frames, held, None, first, steps, solver, guidance),
                progress=lambda: bar.advance(task),
            )
            for clip in range(num)
        )
        took, evaluations = write_clips(made, paths[:-1], fps)
    report = {"clips": num, "frames": frames, "fps": fps, "seed": seed}
    report |= {"seconds_per_clip": took, "function_evaluations_per_clip": evaluations}
    paths[-1].write_text(json.dumps(report, indent=2) + "\n")
    print(f"{took:.2f} seconds and {evaluations:g} function evaluations per clip")
    print(f"written to {paths[0]} … {paths[-2]} and {paths[-1]}")


def reconstruct(
    ckpt_path: str,
    out: str,
    game: str | None = None,
    input: str | None = None,
    frames: int = 300,
    format: Literal["gif", "mp4"] = "gif",
    fps: float = 15.0,
    seed: int = 1,
    device: str = "cpu",
    overwrite: bool = False,
) -> None:
    """Plays a game or reads a video and writes source, reconstruction and error side by side.

    Nothing is learned on the way; where the model codes against a running mean, the mean follows
    the stream, beginning black. Writes `reconstruction.gif` (or `.mp4`) and `metrics.json`.

    Args:
        ckpt_path: checkpoint of a streaming autoencoder.
        out: folder for the files; made if missing.
        game: game to play at random, such as `Breakout`; the default where `input` is absent.
        input: video file or folder of videos to read in order instead.
        frames: frames to write, at least 1; fewer where the videos end before.
        format: file format of the picture.
        fps: frames a second of the written file.
        seed: seed of the game's play.
        device: `cpu`, `cuda` or `cuda:N`.
        overwrite: write over files of an earlier call.
    """
    if frames < 1:
        raise ValueError(f"frames {frames} leaves nothing to write; give at least 1")
    if game is not None and input is not None:
        raise ValueError(f"game {game} and input {input} exclude each other; give one of them")
    picture, report = new_files(out, overwrite, f"reconstruction.{format}", "metrics.json")
    module = load(ckpt_path, LitStreamingAutoencoder, device)
    job = Reconstructions(module, input, game or "Breakout", seed)
    write_video(picture, job.panels(frames), fps)
    metrics = job.figures()
    report.write_text(json.dumps({"frames": job.frames, **metrics}, indent=2) + "\n")
    print(f"PSNR {metrics['psnr']:.2f} dB, SSIM {metrics['ssim']:.4f}, MSE {metrics['mse']:.3g}")
    print(f"written to {picture} and {report}")


def restore(
    ckpt_path: str,
    out: str,
    input: str,
    mask: str | None = None,
    mask_ratio: float | None = None,
    mask_type: MaskName | None = None,
    mask_colour: str | None = None,
    missing: str | None = None,
    state: str | None = None,
    variants: int = 1,
    frames: int | None = None,
    frame_step: int | None = None,
    format: Literal["avi", "mp4", "gif"] = "avi",
    seed: int = 0,
    device: str = "cpu",
    shard: str = "1/1",
    overwrite: bool = False,
) -> None:
    """Restores hidden parts of a picture or video, and frames that are missing in it.

    Hidden is what a mask picture says, what is drawn by chance, whole frames, or else the patches
    of the input that are of one and the same flat colour. Writes `restored.png` (the first frame),
    `restored.avi` (of a video), `comparison.gif` (input, what is seen of it, result and error side
    by side, 300 frames at most) and `metrics.json`.

    Args:
        ckpt_path: checkpoint of a masked autoencoder.
        out: folder for the files; made if missing.
        input: video, picture, folder of pictures of one size (frames of the smbdataset too), or
            folder of videos, of which each gets a folder of its own in `out`, as with `compress`.
        mask: picture that is not black where a pixel is to be restored; as large as the frames, or
            a pixel a mask unit. A unit that holds such a pixel is hidden from the model as a whole,
            and of what the model makes of it those pixels are taken.
        mask_ratio: share of the mask units to draw and hide, between 0 and 1.
        mask_type: how they are drawn: `random`, `tube` (the same places at all times; the
            default), `block`, `cube`, `low` or `high` (where little or much happens).
        mask_colour: colour of masked patches, such as `128,128,128` or `#808080`; unset it is found
            if no pixel elsewhere has it.
        missing: frames to fill in, counted from 0: `3,4,7-9`, or `1::2` for every second from 1 on.
        state: labels (`.labels.npz`) with the game's memory, which helps; unset those beside the
            video or in the frames are taken where there are any, `none` does without.
        variants: restorations to write, each with drawn masks of its own (`restored_1.avi` and so
            on); the k-th is what the seed k - 1 further on gives.
        frames: frames to restore at most; all if unset.
        frame_step: frames of the input from one frame of a clip to the next; every frame is
            restored all the same. Unset as many as make 15 frames a second, which models are
            trained on unless told otherwise, and 1 where frames are missing.
        format: file format of the video: `avi` (lossless), `mp4` or `gif`.
        seed: seed of the masks.
        device: `cpu`, `cuda` or `cuda:N`.
        shard: which share of a folder of videos to do: `2/8` is the second of eight.
        overwrite: write over files of an earlier call.
    """
    if frames is not None and frames < 1:
        raise ValueError(f"frames {frames} leaves nothing to restore; give at least 1")
    module = load(ckpt_path, LitMaskedAutoencoder, device)

    def one(source: str, folder: str, over: bool) -> None:
        footage = Footage(source)
        known = footage.state(state, module.state_dim)
        restorer = restorer_of(module, footage, frame_step, missing is not None)
        hidings = hidings_of(
            *(footage, module, restorer, mask, mask_ratio, mask_type, mask_colour, missing),
            range(seed, seed + variants),
        )
        paths, runs = restore_all(
            *(footage, restorer, hidings, known, frames, format, folder, over)
        )
        print("\n".join(run.summary() for run in runs))
        print(f"written to {paths[0]} … {paths[-2]} and {paths[-1]}")

    for_each(input, out, SUFFIXES, one, shard, overwrite, pictures=True)


def export(ckpt_path: str, out: str, overwrite: bool = False) -> None:
    """Writes a checkpoint's weights (safetensors), configuration and model card.

    The weights come back by `train.py fit … --model.init_from DIR/model.safetensors`.

    Args:
        ckpt_path: any checkpoint of this package.
        out: folder for `model.safetensors`, `config.yaml` and `README.md`; made if missing.
        overwrite: write over files of an earlier call.
    """
    new_files(out, overwrite, "model.safetensors", "config.yaml", "README.md")
    export_checkpoint(ckpt_path, Path(out))
    print(f"written to {out}")


def cluster(
    input: str,
    out: str,
    features: Kind = "bow",
    method: ClusterMethod = "kmeans",
    clusters: int | None = None,
    tfidf: bool = False,
    balance: bool = False,
    ckpt_path: str | None = None,
    game: str | None = None,
    labels: str | None = None,
    examples: int = 8,
    seed: int = 0,
    device: str = "cpu",
    overwrite: bool = False,
) -> None:
    """Clusters segments of latent actions, and shows the clusters by their clips.

    Writes `clusters.csv` and `clusters.json` (a row for each segment), `metrics.json`, `umap.png`
    and `clusters.html`, a page with a few clips of each cluster that needs no other file. Where
    the emulator's memory is known, clusters are held against the player's effective actions.

    Args:
        input: folder of segments as `train.py predict` wrote it, looked through to its bottom.
        out: folder for the files; made if missing.
        features: `bow` (how often each code comes up), `mean` (mean of the codes' vectors) or
            `embedding` (state of a language model of codes).
        method: `kmeans`, `gmm` or `hdbscan`.
        clusters: their number; unset, the one of 2 to 12 with the best silhouette.
        tfidf: weigh codes less that most segments hold; of `bow`.
        balance: let segments of rare actions (of short videos where actions are not known) count
            as much as those of frequent ones.
        ckpt_path: checkpoint of a language model of codes; of `embedding`.
        game: whose memory the labels hold, such as `Breakout`; told by the files' names if unset.
        labels: folder of the `*.labels.npz`; beside the videos if unset.
        examples: clips shown of each cluster.
        seed: seed of clusters and picture.
        device: `cpu`, `cuda` or `cuda:N`.
        overwrite: write over files of an earlier call.
    """
    job = Clustering(features, method, clusters, tfidf, balance, game, labels, examples, seed)
    job.check(ckpt_path)
    segments = read_segments(input)
    new_files(out, overwrite, *FILES)
    module = None if ckpt_path is None else load(ckpt_path, LitCodeLM, device)
    metrics = job.write(segments, module, Path(out))
    print("\n".join(summary(metrics)))
    print(f"written to {out}; look at {Path(out) / FILES[-1]}")


def compress(
    input: str,
    out: str,
    quality: Literal["lossless", 1, 2, 3, 4, 5, 6] = "lossless",
    max_kbps: float | None = None,
    group_frames: int = 32,
    ckpt_path: str | None = None,
    state: str | None = None,
    yardstick: bool = True,
    device: str = "cpu",
    shard: str = "1/1",
    overwrite: bool = False,
) -> None:
    """Compresses a video, or each of a folder, to a `.lav` file, which survives damage.

    Writes `<name>.lav` and `metrics.json`, and tells what classical codecs come to.

    Args:
        input: video file, or folder of some: each gets a folder of its own in `out`, those that
            have one are passed over, and those that fail are named.
        out: folder for the files; made if missing.
        quality: `lossless` gives every pixel back and needs no checkpoint; 1 to 6 is the number of
            codebooks of a trained codec.
        max_kbps: most kilobits a second; of a trained codec the most codebooks that keep to it.
        group_frames: frames that are decoded together, at most: the distance of key frames.
        ckpt_path: checkpoint of a codec; of quality 1 to 6.
        state: labels (`.labels.npz`) with the game's memory, of use to a codec trained with it;
            unset those beside the video are taken where there are any, `none` does without.
        yardstick: whether classical codecs code the same frames too, as well as this one; slow.
        device: `cpu`, `cuda` or `cuda:N`, of quality 1 to 6.
        shard: which share of a folder to do: `2/8` is the second of eight.
        overwrite: write over files of an earlier call.
    """
    from callbacks import compression_verbs as verbs  # an extra, which other verbs do without

    net = partial(load, kind=LitVideoCodec, device=device)

    def one(source: str, folder: str, over: bool) -> None:
        settings = (quality, max_kbps, group_frames, yardstick, ckpt_path, state, net)
        verbs.compress(source, folder, over, *settings)

    for_each(input, out, SUFFIXES, one, shard, overwrite)


def decompress(
    input: str,
    out: str,
    ckpt_path: str | None = None,
    device: str = "cpu",
    shard: str = "1/1",
    overwrite: bool = False,
) -> None:
    """Turns a `.lav` file into an AVI (FFV1); what is lost of it is made up and named.

    Writes `<name>.avi`, `metrics.json` and, where something is lost, `concealed.png`: the brighter,
    the more of the time a pixel is made up.

    Args:
        input: file that `compress` wrote, damaged or not, or a folder of some, as there.
        out: folder for the files; made if missing.
        ckpt_path: the checkpoint that the file was compressed with; of quality 1 to 6.
        device: `cpu`, `cuda` or `cuda:N`, of quality 1 to 6.
        shard: as of `compress`.
        overwrite: write over files of an earlier call.
    """
    from callbacks import compression_verbs as verbs  # as above

    net = partial(load, kind=LitVideoCodec, device=device)

    def one(source: str, folder: str, over: bool) -> None:
        verbs.decompress(source, folder, over, ckpt_path, net)

    for_each(input, out, [".lav"], one, shard, overwrite)


def inspect(input: str, out: str | None = None, overwrite: bool = False) -> None:
    """Tells what a `.lav` file holds: its header, what each group costs, what is damaged.

    Args:
        input: file that `compress` wrote.
        out: folder for `metrics.json` with the same figures; made if missing, unset none is
            written.
        overwrite: write over files of an earlier call.
    """
    report = LavReport(input)
    paths = [] if out is None else new_files(out, overwrite, "metrics.json")
    print("\n".join(report.lines()))
    for path in paths:
        path.write_text(json.dumps(report.figures(), indent=2) + "\n")
        print(f"written to {path}")


def main(args: list[str] | None = None) -> None:
    """Runs the command line; a mistake in it ends in one line and a non-zero exit status."""
    with one_line_errors("generate.py"):
        auto_cli(
            [sample, reconstruct, restore, compress, decompress, inspect, cluster, export],
            args,
            as_positional=False,
            parser_class=OneLineParser,
            description=__doc__,
        )


if __name__ == "__main__":
    main()
