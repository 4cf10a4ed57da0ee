"""`python -m datamodules.video_io describe DIR` says what is there."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks.numbered_video import write_numbered
from datamodules.video_io import main, write_video


def test_each_recording_is_a_row_and_sums_are_below(tmp_path, capsys):
    colours = np.random.default_rng(0).integers(0, 256, (300, 3)).astype(np.uint8)
    frames = [np.tile(colours[50 * i : 50 * i + 50, None], (1, 40, 1)) for i in range(6)]
    write_video(tmp_path / "ffv1.avi", frames, 24)
    np.savez(
        tmp_path / "ffv1.labels.npz", action=np.zeros(6, np.uint8), ram=np.zeros((6, 128), "u1")
    )
    (tmp_path / "below").mkdir()
    whole = write_numbered(tmp_path / "below", "xvid_dropped.avi", 30, (64, 80))
    cut = whole.read_bytes()[: whole.stat().st_size * 7 // 10]
    (tmp_path / "cut.avi").write_bytes(cut)
    (tmp_path / "empty.avi").touch()
    main(["describe", str(tmp_path)])
    out = capsys.readouterr().out
    rows = {row.split("│")[1].strip(): row for row in out.splitlines() if "│" in row}
    count = len(np.unique(np.concatenate(frames).reshape(-1, 3), axis=0))
    assert set(rows) == {"below/xvid_dropped.avi", "cut.avi", "empty.avi", "ffv1.avi"}
    assert re.search(
        rf"│ 6 +│ 0.2 +│ 24 +│ 40x50 +│ ffv1 bgr0 +│ {count} +│ action, ram 128 +│ +│",
        rows["ffv1.avi"],
    )
    assert re.search(r"│ 30 .*│ 30 +│ 80x64 +│ mpeg4 .*none +│ +│", rows["below/xvid_dropped.avi"])
    assert re.search(r"│ \d+ .*its bytes are not all there at frame", rows["cut.avi"])
    assert re.search(r"│ - .*it is empty", rows["empty.avi"])
    kept = int(rows["cut.avi"].split("│")[2])
    assert f"3 recordings, {36 + kept} frames" in out
    assert "1 files cannot be read, 1 are damaged" in out


def test_missing_folder_is_one_line_and_a_failure(tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["describe", str(tmp_path / "nowhere")])
    assert re.fullmatch(r".*error: there is no .*/nowhere; name a folder.*", str(ended.value.code))
