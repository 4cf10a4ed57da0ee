"""Segments in clusters: files, figures and a page to look at, by the command line."""

from __future__ import annotations

import base64
import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("umap", reason="pip install -e .[latent]")

from callbacks.cluster_report import Clustering
from callbacks.cluster_segments import read_segments
from datamodules.video_io import read_frames, write_video
from generate import main
from lit_modules import LitCodeLM
from lit_modules.latent_action.truth import ACTIONS

SECONDS, SIDE = 24, 40
LEFT, RIGHT = 100, 200  # codes


def write_segments(folder: Path, seed: int = 0) -> Path:
    """Two recordings named after Breakout, whose paddle goes left and right for a second each.

    Segments are those seconds; their codes are near 100 on the way to the left and near 200 on
    the way to the right.
    """
    rng = np.random.default_rng(seed)
    videos, out = folder / "videos", folder / "segments"
    videos.mkdir(parents=True)
    frames = SECONDS * 30
    for number in range(2):
        name = f"{number:03d}_Breakout_random_s{number}"
        to_right = np.arange(frames) // 30 % 2 == 0
        x = 60 + np.cumsum(np.where(to_right, 2, -2))
        ram = np.zeros((frames, 128), np.uint8)
        ram[:, 72] = x
        pictures = np.zeros((frames, SIDE, SIDE, 3), np.uint8)
        for picture, place in zip(pictures, x, strict=True):
            picture[30:34, (place - 60) // 2 : (place - 60) // 2 + 6] = (200, 72, 72)
        write_video(videos / f"{name}.avi", pictures, 30)
        seconds = np.arange(frames) / 30
        np.savez_compressed(
            videos / f"{name}.labels.npz",
            action=np.zeros(frames, np.uint8),
            ram=ram,
            seconds=seconds,
        )
        (out / name / "code_indices").mkdir(parents=True)
        (out / name / "segments").mkdir()
        for segment in range(SECONDS):
            base = RIGHT if segment % 2 == 0 else LEFT
            codes = (base + rng.integers(0, 4, (int(rng.integers(3, 7)), 4))).tolist()
            clip = f"segments/{name}_seg{segment:03d}.mp4"
            record = {
                "video": name,
                "path": str(videos / f"{name}.avi"),
                "segment": segment,
                "start_seconds": float(segment),
                "end_seconds": segment + 1.0,
                "codes": codes,
                "codebook_size": 240,
                "fps": 20,
                "stride": 4,
                "horizon": 16,
                "clip": clip,
            }
            path = out / name / "code_indices" / f"{name}_seg{segment:03d}.codes.json"
            path.write_text(json.dumps(record))
            if number == 0:  # of the other recording the page cuts the clips itself
                write_video(out / name / clip, pictures[30 * segment : 30 * segment + 30], 30)
    return out


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_segments(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def clustered(segments: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clustered") / "out"
    main(["cluster", "--input", str(segments), "--out", str(out), "--examples", "3"])
    return out


def test_clusters_are_the_actions_and_nmi_is_never_alone(clustered: Path) -> None:
    metrics = json.loads((clustered / "metrics.json").read_text())
    assert (metrics["segments"], metrics["videos"], metrics["clusters"]) == (48, 2, 2)
    assert metrics["silhouette"] > 0.2
    truth = metrics["truth"]
    assert truth["actions"] == {"left": 24, "right": 24}
    assert {truth[name] for name in ("ami", "ari", "v_measure", "nmi")} == {1.0}


def test_tables_hold_a_row_for_each_segment(clustered: Path) -> None:
    with (clustered / "clusters.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = json.loads((clustered / "clusters.json").read_text())
    assert [list(map(str, row.values())) for row in told] == [list(row.values()) for row in rows]
    assert {row["action"] for row in told} <= set(ACTIONS)
    by_action = {row["action"]: row["cluster"] for row in told}
    assert all(row["cluster"] == by_action[row["action"]] for row in told)


def test_page_holds_everything_in_itself(clustered: Path, tmp_path: Path) -> None:
    page = (clustered / "clusters.html").read_text()
    sources = re.findall(r'src="([^"]*)"', page)
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.findall(r'(?:href|src)="(?!data:)', page)
    gifs = [source for source in sources if source.startswith("data:image/gif")]
    assert len(gifs) == 2 * 3
    for gif in gifs:
        (tmp_path / "clip.gif").write_bytes(base64.b64decode(gif.partition(",")[2]))
        frames = [frame for frame, _ in read_frames(tmp_path / "clip.gif")]
        assert len(frames) == 10  # a second at ten frames a second
        places = [np.argwhere(frame[31, :, 0] > 100).mean() for frame in frames]
        assert abs(places[-1] - places[0]) > 15  # and it is the segment: the paddle crosses
    assert page.count("<h2>Cluster") == 2


def test_same_seed_gives_the_same_files(segments: Path, clustered: Path, tmp_path: Path) -> None:
    main(["cluster", "--input", str(segments), "--out", str(tmp_path), "--examples", "3"])
    for path in clustered.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_embedding_is_that_of_the_language_model(segments: Path, tmp_path: Path, capsys) -> None:
    torch.manual_seed(0)
    module = LitCodeLM(hidden_dim=16, embed_dim=8)
    saved = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "global_step": 0,
    }
    module.on_save_checkpoint(saved)
    torch.save(saved, tmp_path / "lm.ckpt")
    arguments = ["--input", str(segments), "--features", "embedding", "--method", "gmm"]
    arguments += ["--ckpt_path", str(tmp_path / "lm.ckpt"), "--clusters", "2", "--examples", "0"]
    main(["cluster", "--out", str(tmp_path / "out"), *arguments])
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["clusters"] == 2
    assert metrics["truth"]["ami"] == 1.0  # an untrained one keeps codes apart, too
    assert "AMI 1.000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--features", "embedding"], "LitCodeLM"),
        (["--features", "mean", "--tfidf", "true"], "tfidf"),
        (["--method", "kmean"], "kmean"),
        (["--game", "Tetris"], "Tetris"),
        (["--input", "no_such_folder"], "no_such_folder"),
        (["--clusters", "1000"], "clusters 1000"),
    ],
)
def test_mistake_is_one_line(
    arguments: list[str], named: str, segments: Path, tmp_path: Path, capsys
) -> None:
    if "--input" not in arguments:
        arguments = ["--input", str(segments), *arguments]
    with pytest.raises(SystemExit) as stop:
        main(["cluster", "--out", str(tmp_path / "out"), *arguments])
    assert stop.value.code not in (0, None)
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert named in lines[0]
    assert not list(tmp_path.glob("out/*"))


def test_mean_of_codes_serves_as_well(segments: Path) -> None:
    found = read_segments(str(segments))
    job = Clustering(features="mean", clusters=2)
    features = job.describe(found, None)
    levels = (8, 6, 5)  # by hand: the first dimension changes fastest
    for one, row in zip(found[:5], features, strict=False):
        digits = np.stack(np.unravel_index(one.codes, levels, order="F"), -1)
        half = np.array(levels) // 2
        np.testing.assert_allclose(row, ((digits - half) / half).mean(0), rtol=1e-5, atol=1e-6)


def test_damaged_sidecar_is_left_out_and_named(segments: Path, tmp_path: Path) -> None:
    good = next(segments.rglob("*.codes.json")).read_text()
    (tmp_path / "a.codes.json").write_text(good)
    (tmp_path / "b.codes.json").write_text(good[:40])
    empty = {"codes": [], "windows": [], "codebook_size": None}  # as without a tokenizer
    (tmp_path / "c.codes.json").write_text(json.dumps(json.loads(good) | empty))
    with pytest.warns(UserWarning, match=r"b\.codes\.json"):
        found = read_segments(str(tmp_path))
    assert [one.name for one in found] == ["a"]


def test_codes_of_two_codebooks_are_not_mixed(segments: Path, tmp_path: Path) -> None:
    good = json.loads(next(segments.rglob("*.codes.json")).read_text())
    for size in (256, 512):
        record = good | {"codebook_size": size}
        (tmp_path / f"{size}.codes.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="several codebooks"):
        read_segments(str(tmp_path))
