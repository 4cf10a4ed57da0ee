"""Latent actions against what the emulator knows: boundaries, clusters and a linear probe.

Of each game random play is recorded (Mario comes from a folder), a tokenizer of the preset is
trained on the training recordings, and everything that has settings gets them there: baselines,
segmenter, clustering. The table is of recordings of other seeds (of Mario, other levels). What the
folder already holds is not made again; `--table` writes it as Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.latent_games import GAMES, Play, plays, record, share_out
from benchmarks.latent_segments import (
    STRIDES,
    change_scores,
    cluster_scores,
    codes_used,
    measure,
    probe_scores,
    segment_scores,
)
from lit_modules import LitSegmenter
from lit_modules.latent_action import truth
from lit_modules.latent_action.baselines import all_baselines, score

TOKENIZER = "configs/latent_action/tokenizer.yaml"


def main(argv: list[str]) -> dict[str, Any]:
    """Returns the figures of each game."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks latent_actions", description=__doc__
    )
    parser.add_argument("--games", nargs="+", choices=GAMES, default=GAMES)
    parser.add_argument("--mario", type=Path, default=Path("data_video/mario"), metavar="DIR")
    parser.add_argument("--train", type=int, default=12, help="recordings to train on")
    parser.add_argument("--held_out", type=int, default=8, help="recordings of the table")
    parser.add_argument("--frames", type=int, default=1200, help="most of a recording, 30 a second")
    parser.add_argument("--steps", type=int, default=1200, help="training steps of a tokenizer")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0], help="of tokenizers; none: "
        "baselines alone")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="videos at a time")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark_latent_actions"))
    parser.add_argument("--table", type=Path, metavar="FILE", help="file for the Markdown table")
    options = parser.parse_args(argv)
    figures: dict[str, Any] = {}
    for game in options.games:
        done = options.folder / game / "figures.json"
        if not done.is_file():
            found = judge(game, options)
            done.write_text(json.dumps(found, indent=2) + "\n")
        figures[game] = json.loads(done.read_text())
        print("\n".join(markdown({game: figures[game]})), flush=True)
    if options.table:
        options.table.write_text("\n".join(markdown(figures)) + "\n")
    return figures


def judge(game: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about a game."""
    folder = options.folder / game
    if game == "mario":
        share_out(options.mario, folder)
    else:
        counts = {"train": options.train, "held_out": options.held_out}
        record(game, folder, counts, options.frames)
    train, held_out = (
        plays(folder, part, game, folder / "tracks", options.jobs) for part in ("train", "held_out")
    )
    figures: dict[str, Any] = {part: facts(own) for part, own in zip(
        ("train", "held_out"), (train, held_out), strict=True)}  # fmt: skip
    figures["boundaries"] = judge_baselines(train, held_out)
    for stride in STRIDES.values():
        plain = LitSegmenter(energy="velocity")
        ours, theirs = ([measure(plain, one, stride) for one in own] for own in (train, held_out))
        figures["boundaries"][f"segments of velocity, stride {stride}"] = segment_scores(
            ours, theirs
        )
    for seed in options.seeds:
        checkpoint = folder / f"tokenizer/seed{seed}/checkpoints/last.ckpt"
        if not checkpoint.is_file():
            fit(folder, seed, options)
        figures.setdefault("seeds", {})[str(seed)] = judge_tokenizer(checkpoint, train, held_out)
    return figures


def facts(own: Sequence[Play]) -> dict[str, Any]:
    """How much there is, and how often each action is taken."""
    actions = np.concatenate([play.actions for play in own])
    names, counts = np.unique(actions[actions != truth.UNKNOWN], return_counts=True)
    seconds = len(actions) / 20
    shares = {truth.ACTIONS[n]: c / counts.sum() for n, c in zip(names, counts, strict=True)}
    return {
        "recordings": len(own),
        "seconds": seconds,
        "boundaries_per_second": sum(len(play.seen.true) for play in own) / seconds,
        "actions": {name: round(float(share), 4) for name, share in shares.items()},
    }


def judge_baselines(train: Sequence[Play], held_out: Sequence[Play]) -> dict[str, Any]:
    """Boundary scores of each baseline on held-out recordings."""
    figures = {}
    for name, baseline in all_baselines().items():
        baseline.fit([play.seen for play in train])
        cuts = [(baseline.boundaries(play.seen), play.seen.true) for play in held_out]
        figures[name] = {**score(cuts), "settings": str(baseline.settings)}
        print(f"  {name}: {figures[name]['boundary_f1_100ms']:.3f}", flush=True)
    return figures


def fit(folder: Path, seed: int, options: argparse.Namespace) -> None:
    """As a user would, on the training recordings alone."""
    command = [
        *(sys.executable, "train.py", "fit", "-c", TOKENIZER, "--seed_everything", str(seed)),
        *("--data.data_dir", str(folder / "train"), "--data.seed", str(seed)),
        *("--trainer.max_epochs", "-1", "--trainer.max_steps", str(options.steps)),
        *("--trainer.logger.save_dir", str(folder), "--trainer.logger.name", "tokenizer"),
        *("--trainer.logger.version", f"seed{seed}"),
    ]
    subprocess.run(command, check=True)


def judge_tokenizer(
    checkpoint: Path, train: Sequence[Play], held_out: Sequence[Play]
) -> dict[str, Any]:
    """Segments, clusters and probe with a trained tokenizer."""
    torch.set_num_threads(1)
    segmenter = LitSegmenter(tokenizer_ckpt=str(checkpoint)).eval()
    found: dict[str, Any] = {}
    clusters = []
    for kind, stride in STRIDES.items():
        ours, theirs = (
            [measure(segmenter, one, stride) for one in own] for own in (train, held_out)
        )
        found[kind] = segment_scores(ours, theirs)
        settings, value = found[kind]["settings"], found[kind]["value_in_training"]
        clusters.append((value, cluster_scores(segmenter, settings, ours, theirs)))
        if kind == "segmenter":  # probe and changes of code are of the windows that presets have
            found["segmenter_codes"] = change_scores(ours, theirs)
            found["probe"] = probe_scores(theirs)
            found["usage"] = {
                part: codes_used(segmenter, own)
                for part, own in (("train", ours), ("held_out", theirs))
            }
    return {**found, "clusters": max(clusters, key=lambda one: one[0])[1]}


def markdown(figures: dict[str, Any]) -> list[str]:
    """The tables of all games."""
    lines = [
        "| game | | F1 ±0.1 s | F1 ±0.25 s | precision, recall ±0.25 s |",
        "|---|---|---|---|---|",
    ]
    for game, own in figures.items():
        rows = dict(own["boundaries"])
        for kind in LABELS:
            seeds = [one[kind] for one in own.get("seeds", {}).values() if kind in one]
            if seeds:
                names = [name for name in seeds[0] if name.startswith("boundary_")]
                rows[LABELS[kind]] = {n: float(np.mean([s[n] for s in seeds])) for n in names}
        for name, row in rows.items():
            scores = (f"{row[f'boundary_{key}']:.3f}" for key in ("f1_100ms", "f1_250ms"))
            both = ", ".join(
                f"{row[f'boundary_{key}_250ms']:.2f}" for key in ("precision", "recall")
            )
            lines.append(f"| {game} | {name} | {' | '.join(scores)} | {both} |")
            game = ""
    lines += ["", *second_table(figures)] if any("seeds" in own for own in figures.values()) else []
    return lines


LABELS = {
    "segmenter": "**segments**, stride 4",
    "segmenter_fine": "**segments**, stride 2",
    "segmenter_codes": "**changes of code**",
}


def second_table(figures: dict[str, Any]) -> list[str]:
    """Clusters and use of the codes, then the probe; means over the tokenizers."""
    clusters = [
        "| game | AMI | ARI | V | clusters, actions | moving tokens: perplexity, codes used |",
        "|---|---|---|---|---|---|",
    ]
    probes = [
        "| game | labelled recordings | probe on velocity | on codes | gain |",
        "|---|---|---|---|---|",
    ]
    for game, own in figures.items():
        seeds = list(own.get("seeds", {}).values())
        if not seeds:
            continue
        found = [one["clusters"] for one in seeds]
        ami, ari, v = (mean(found, key) for key in ("ami", "ari", "v_measure"))
        counts = f"{found[0]['clusters']}, {found[0]['actions']}"
        used = [one["usage"]["train"] for one in seeds]
        share, dead = (mean(used, f"moving_{key}") for key in ("perplexity_share", "dead_share"))
        clusters.append(
            f"| {game} | {ami:.3f} | {ari:.3f} | {v:.3f} | {counts} | {share:.2f}, {1 - dead:.0%} |"
        )
        for labelled in seeds[0]["probe"]:
            read = [one["probe"][labelled] for one in seeds]
            raw, codes = (
                mean([one[kind] for one in read], "balanced_accuracy")
                for kind in ("velocity", "codes")
            )
            gain, error = (
                mean([one["codes"] for one in read], key) for key in ("gain", "gain_standard_error")
            )
            probes.append(
                f"| {game} | {labelled} | {raw:.3f} | {codes:.3f} | {gain:+.3f} ± {error:.3f} |"
            )
    return [*clusters, "", *probes]


def mean(of: Sequence[dict[str, Any]], key: str) -> float:
    """Of one entry."""
    return float(np.mean([one[key] for one in of]))
