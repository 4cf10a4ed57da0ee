"""`generate.py inspect`: what is told of a file, what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from generate import main
from lit_modules.codec import Header, LavWriter

HEADER = Header("palette", 16, 24, 30.0, 8, {"quality": "lossless"})
GROUPS = 3


@pytest.fixture
def lav(tmp_path: Path) -> Path:
    path = tmp_path / "in.lav"
    with path.open("wb") as file, LavWriter(file, HEADER) as writer:
        for number in range(GROUPS):
            seconds = (8 * number + np.arange(8)) / 30
            writer.add_group(seconds, [bytes(100), bytes(200 * number)], b"shared")
    return path


def inspect(path: Path, *more: str) -> None:
    main(["inspect", "--input", str(path), *more])


def test_header_and_rate_of_each_group_are_printed(lav: Path, capsys) -> None:
    inspect(lav)
    lines = capsys.readouterr().out.splitlines()
    assert "palette, 16x24 at 30 frames a second" in lines[0]
    assert "lossless" in lines[1]
    rows = [line.split() for line in lines[3 : 3 + GROUPS]]
    assert [row[:5] for row in rows] == [
        [str(n), str(8 * n), "8", "0.267", str(100 + 200 * n)] for n in range(GROUPS)
    ]
    for row in rows:
        total = sum(map(int, row[4:7]))
        assert float(row[7]) == pytest.approx(8e-3 * total / (8 / 30), abs=0.01)
    assert f"{lav.stat().st_size} bytes, 24 frames" in lines[-1]
    assert list(lav.parent.iterdir()) == [lav]


def test_figures_are_written_and_add_up_to_the_file(lav: Path, tmp_path: Path) -> None:
    inspect(lav, "--out", str(tmp_path / "out"))
    figures = json.loads((tmp_path / "out/metrics.json").read_text())
    size = lav.stat().st_size
    assert figures["bytes"] == size
    assert figures["packet_bytes"] == 3 * 100 + 200 + 400
    assert figures["shared_bytes"] == 2 * GROUPS * len("shared")
    kinds = ("packet_bytes", "shared_bytes", "container_bytes")
    assert sum(figures[kind] for kind in kinds) == size
    assert figures["kbps"] == pytest.approx(8e-3 * size / 0.8)
    assert figures["bits_per_pixel"] == pytest.approx(8 * size / (24 * 16 * 24))
    assert (figures["frames"], figures["groups"], len(figures["rates"])) == (24, GROUPS, GROUPS)
    assert figures["about"] == HEADER.about
    assert figures["damage"] == []


def test_damage_is_told(lav: Path, tmp_path: Path, capsys) -> None:
    broken = bytearray(lav.read_bytes())
    broken[broken.index(bytes(200)) + 50] = 1
    lav.write_bytes(broken)
    inspect(lav, "--out", str(tmp_path / "out"))
    out = capsys.readouterr().out
    assert "group 1: packet 1 of 2 damaged or lost" in out
    damage = json.loads((tmp_path / "out/metrics.json").read_text())["damage"]
    assert any("packet 1 of 2" in line for line in damage)


def test_file_without_groups_is_told(tmp_path: Path, capsys) -> None:
    with (tmp_path / "none.lav").open("wb") as file, LavWriter(file, HEADER):
        pass
    inspect(tmp_path / "none.lav", "--out", str(tmp_path / "out"))
    assert "0 frames" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/metrics.json").read_text())["kbps"] is None


def test_mistake_is_one_line_and_writes_nothing(lav: Path, tmp_path: Path, capsys) -> None:
    os.mkfifo(tmp_path / "pipe.lav")
    (tmp_path / "picture.lav").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(90))
    (tmp_path / "empty.lav").touch()
    mistakes = {
        tmp_path / "gone.lav": "gone.lav",
        tmp_path: "not a file",
        tmp_path / "pipe.lav": "not a file",
        tmp_path / "picture.lav": "PNG",
        tmp_path / "empty.lav": "empty",
    }
    for path, named in mistakes.items():
        with pytest.raises(SystemExit) as stop:
            inspect(path, "--out", str(tmp_path / "out"))
        assert stop.value.code not in (0, None)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert named in lines[0]
        assert path.name in lines[0]
    assert not list(tmp_path.glob("out/*"))


def test_earlier_figures_stay_unless_overwritten(lav: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("mine")
    with pytest.raises(SystemExit):
        inspect(lav, "--out", str(tmp_path))
    assert (tmp_path / "metrics.json").read_text() == "mine"
    inspect(lav, "--out", str(tmp_path), "--overwrite", "true")
    assert "kbps" in (tmp_path / "metrics.json").read_text()
