"""The guide's way from raw video to clusters runs as it stands, only shorter."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("umap", reason="pip install -e .[latent]")

import generate
import train
from datamodules.recording import __main__ as recording
from datamodules.tracking import __main__ as tracking

ROOT = Path(__file__).parent.parent
PROGRAMS = {
    "litarcade-record": recording.main,
    "python -m datamodules.tracking": tracking.main,
    "python train.py": train.main,
    "python generate.py": generate.main,
}
WAY = (ROOT / "docs/latent_actions.md").read_text().partition("## The whole way")[2]
COMMANDS = re.findall(
    rf"^    ({'|'.join(map(re.escape, PROGRAMS))}) (.*)$",
    WAY.partition("\n## ")[0].replace("\\\n", " "),
    re.MULTILINE,
)


def shorter(arguments: list[str]) -> list[str]:
    """A command with less to do: small recordings, a small network."""
    if arguments[0] == "--env":
        return [*arguments, "--frames", "240", "--episodes", "3"]
    if arguments[0] == "extract":
        return [*arguments, "--processes", "1"]
    if arguments[0] == "cluster":
        return [*arguments, "--examples", "2"]
    small = arguments[2].replace("configs", "tests/conf")
    found = ["--model.on", "null"] if arguments[0] == "predict" else []  # that of the report
    return [*arguments[:3], "-c", small, *arguments[3:], *found]


@pytest.mark.slow
def test_guide_leads_from_video_to_clusters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for room in ("configs", "tests"):
        (tmp_path / room).symlink_to(ROOT / room)
    assert len(COMMANDS) == 7
    for program, line in COMMANDS:
        try:
            PROGRAMS[program](shorter(shlex.split(line)))
        except SystemExit as stop:
            assert not stop.code, line

    tracks = sorted(path.name for path in (tmp_path / "tracks/breakout").iterdir())
    assert tracks == [f"00{n}_Breakout_random_s{n}.tracks.safetensors" for n in range(3)]
    segments = tmp_path / "runs/latent_action/segments/breakout"
    videos = [json.loads(line) for line in (segments / "videos.jsonl").read_text().splitlines()]
    assert [video["status"] for video in videos] == ["done"] * 3
    sidecars = list(segments.glob("*/code_indices/*.codes.json"))
    assert len(sidecars) == sum(video["segments"] for video in videos) >= 3
    for path in sidecars:
        assert (path.parent.parent / json.loads(path.read_text())["clip"]).is_file()

    metrics = json.loads((tmp_path / "clusters/breakout/metrics.json").read_text())
    assert metrics["segments"] == len(sidecars)
    assert {"ami", "ari", "v_measure"} <= metrics["truth"].keys()
    assert (tmp_path / "clusters/breakout/clusters.html").stat().st_size > 10_000
