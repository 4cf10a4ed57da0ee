"""`generate.py compress --quality lossless` and `decompress`, as a user calls them."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from made_recordings import scroll

import callbacks
import lit_modules.codec
from callbacks import compression_verbs  # noqa: F401  compiled loops lie in the home of now
from datamodules.video_io import read_frames, write_video
from generate import main
from lit_modules.codec import LavReader

SIZE = (32, 48)


def recording(path: Path, frames: int = 20, **codec: str) -> Path:
    write_video(path, list(scroll(0, frames, SIZE)[0]), 30, **codec)
    return path


def photographed(path: Path, frames: int = 6) -> Path:
    rng = np.random.default_rng(0)
    write_video(path, list(rng.integers(0, 256, (frames, *SIZE, 3), np.uint8)), 25)
    return path


def compress(source: Path, out: Path, *more: str) -> dict:
    main(["compress", "--input", str(source), "--out", str(out), "--quality", "lossless", *more])
    return json.loads((out / "metrics.json").read_text())


def decompress(source: Path, out: Path, *more: str) -> dict:
    main(["decompress", "--input", str(source), "--out", str(out), *more])
    return json.loads((out / "metrics.json").read_text())


def pixels(path: Path) -> np.ndarray:
    return np.stack([frame for frame, _ in read_frames(path)])


def seconds(path: Path) -> list[float]:
    return [time for _, time in read_frames(path)]


def error_line(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert ended.value.code not in (0, None)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("make", [recording, photographed])
def test_frames_and_times_come_back_as_they_were(make, tmp_path: Path) -> None:
    source = make(tmp_path / "play.avi")
    compress(source, tmp_path / "lav", "--group_frames", "8", "--yardstick", "false")
    figures = decompress(tmp_path / "lav/play.lav", tmp_path / "out")
    assert np.array_equal(pixels(tmp_path / "out/play.avi"), pixels(source))
    assert seconds(tmp_path / "out/play.avi") == seconds(source)
    assert figures["damage"] == [] and figures["frames_repeated"] == 0


def test_uneven_times_come_back(tmp_path: Path) -> None:
    frames, ticks = scroll(0, 6, SIZE)[0], [0, 2, 3, 7, 8, 12]
    with av.open(str(tmp_path / "uneven.mp4"), "w") as file:
        stream = file.add_stream("libx264rgb", rate=60, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "bgr24"
        for frame, tick in zip(frames, ticks, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = tick, Fraction(1, 60)
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    compress(tmp_path / "uneven.mp4", tmp_path / "lav", "--yardstick", "false")
    decompress(tmp_path / "lav/uneven.lav", tmp_path / "out")
    assert np.array_equal(pixels(tmp_path / "out/uneven.avi"), frames)
    assert seconds(tmp_path / "out/uneven.avi") == pytest.approx(np.array(ticks) / 60, abs=1e-6)


def test_metrics_tell_size_rate_and_what_classical_codecs_come_to(tmp_path: Path, capsys) -> None:
    metrics = compress(recording(tmp_path / "play.avi"), tmp_path / "lav", "--group_frames", "8")
    size = (tmp_path / "lav/play.lav").stat().st_size
    assert metrics["bytes"] == size
    assert metrics["exact"] and metrics["psnr"] is None
    assert metrics["kbps"] == pytest.approx(8 * size / 1000 / (20 / 30))
    assert metrics["bits_per_pixel"] == pytest.approx(8 * size / (20 * 32 * 48))
    assert metrics["groups"] == {"palette": 3}
    rivals = metrics["classical_bytes"]
    assert set(rivals) == {"x264 RGB", "FFV1", "palette PNG", "LZMA of indices"}
    assert metrics["best_classical"] == min(rivals, key=rivals.get)
    assert metrics["bytes_to_best_classical"] == pytest.approx(size / min(rivals.values()))
    shown = capsys.readouterr().out
    assert f"{size} bytes" in shown and "best classical" in shown and "exact" in shown


def test_video_without_palette_is_said_to_be_coded_in_general(tmp_path: Path, capsys) -> None:
    metrics = compress(photographed(tmp_path / "noise.avi"), tmp_path / "lav")
    assert metrics["groups"] == {"general": 1}
    assert "no palette" in capsys.readouterr().out
    assert set(metrics["classical_bytes"]) == {"x264 RGB", "FFV1"}


def test_bytes_do_not_depend_on_the_run(tmp_path: Path) -> None:
    source = recording(tmp_path / "play.avi")
    for name in ("one", "two"):
        compress(source, tmp_path / name, "--yardstick", "false")
    assert (tmp_path / "one/play.lav").read_bytes() == (tmp_path / "two/play.lav").read_bytes()


def test_damaged_group_repeats_the_last_good_frame_and_is_named(tmp_path: Path, capsys) -> None:
    source = recording(tmp_path / "play.avi")
    compress(source, tmp_path / "lav", "--group_frames", "5", "--yardstick", "false")
    path = tmp_path / "lav/play.lav"
    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        packet = LavReader(file).group(1).packets[0]
    assert packet is not None
    data[data.index(packet) + len(packet) // 2] ^= 1
    path.write_bytes(data)
    figures = decompress(path, tmp_path / "out")
    made, true = pixels(tmp_path / "out/play.avi"), pixels(source)
    expected = true.copy()
    expected[5:10] = true[4]
    assert np.array_equal(made, expected)
    assert figures["frames_repeated"] == 5 and figures["repeated"] == [[5, 9]]
    assert any("group 1" in line for line in figures["damage"])
    assert "5 of 20 frames are lost" in capsys.readouterr().out


def test_file_cut_off_gives_the_frames_before(tmp_path: Path, capsys) -> None:
    source = recording(tmp_path / "play.avi")
    compress(source, tmp_path / "lav", "--group_frames", "5", "--yardstick", "false")
    path = tmp_path / "lav/play.lav"
    data = path.read_bytes()
    with path.open("rb") as file:
        last = LavReader(file).group(3).packets[0]
    path.write_bytes(data[: data.index(last) + 3])
    decompress(path, tmp_path / "out")
    made = pixels(tmp_path / "out/play.avi")
    assert np.array_equal(made[:15], pixels(source)[:15])
    assert "damaged" in capsys.readouterr().out


def peak(verb: Callable[..., dict], *arguments: Any) -> int:
    """Bytes of Python and numpy at most at a time; decoders of FFmpeg keep a fixed few frames."""
    tracemalloc.start()
    try:
        verb(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    short = recording(tmp_path / "short.avi", 48)
    long = recording(tmp_path / "long.avi", 480)
    compress(short, tmp_path / "first", "--yardstick", "false")  # what is loaded once is loaded
    outs = tmp_path / "short", tmp_path / "long"
    options = ("--group_frames", "8")
    coding = [
        peak(compress, path, out, *options) for path, out in zip((short, long), outs, strict=True)
    ]
    files = [out / f"{out.name}.lav" for out in outs]
    decoding = [peak(decompress, file, file.parent / "back") for file in files]
    assert coding[1] <= 1.2 * coding[0]
    assert decoding[1] <= 1.2 * decoding[0]


def test_mistakes_end_in_one_line(tmp_path: Path, capsys) -> None:
    source, out = recording(tmp_path / "play.avi"), str(tmp_path / "out")
    (tmp_path / "text.avi").write_text("no video")
    (tmp_path / "text.lav").write_text("no codec")
    (tmp_path / "empty.lav").touch()
    verb = ("compress", "--out", out, "--input")
    assert "none.avi" in error_line(capsys, *verb, str(tmp_path / "none.avi"))
    assert "text.avi" in error_line(capsys, *verb, str(tmp_path / "text.avi"))
    assert "--ckpt_path" in error_line(capsys, *verb, str(source), "--quality", "3")
    assert "quality" in error_line(capsys, *verb, str(source), "--quality", "7")
    assert "group_frames 0" in error_line(capsys, *verb, str(source), "--group_frames", "0")
    verb = ("decompress", "--out", out, "--input")
    assert "none.lav" in error_line(capsys, *verb, str(tmp_path / "none.lav"))
    assert "text.lav" in error_line(capsys, *verb, str(tmp_path / "text.lav"))
    assert "empty" in error_line(capsys, *verb, str(tmp_path / "empty.lav"))
    compress(source, tmp_path / "out", "--yardstick", "false")
    assert "--overwrite" in error_line(capsys, *verb[:3], "--input", str(tmp_path / "out/play.lav"))


def test_missing_extra_is_named_and_breaks_only_its_verb(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith("lit_modules.codec.palette")]:
        monkeypatch.delitem(sys.modules, name)
    ours = (
        "callbacks.compression",
        "callbacks.group_coders",
        "callbacks.classical",
        "callbacks.dec",
    )
    for name in [n for n in sys.modules if n.startswith((*ours, "lit_modules.codec.lossless"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(callbacks, "compression_verbs", raising=False)
    monkeypatch.delattr(lit_modules.codec, "palette", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    source = recording(tmp_path / "play.avi")
    line = error_line(capsys, "compress", "--input", str(source), "--out", str(tmp_path / "out"))
    assert "pip install -e .[codec]" in line


def test_folder_is_shared_out_gone_on_with_and_reported_on(tmp_path: Path, capsys: Any) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    (videos / "more").mkdir(parents=True)
    for name in ("a.avi", "b.avi", "more/a.avi"):
        recording(videos / name, 6)
    (videos / "broken.avi").write_bytes(b"RIFF, and no more")
    call = ["compress", "--input", str(videos), "--out", str(out), "--yardstick", "false"]

    main([*call, "--shard", "2/2"])  # every second file: b and the one below
    first = {path.parent.name for path in out.rglob("metrics.json")}
    assert "2 done, 0 were done before, 0 failed" in capsys.readouterr().out
    (out / "a").mkdir()
    (out / "a/a.lav").write_bytes(b"cut short")  # as a call leaves it that was killed
    said = error_line(capsys, *call)
    assert "1 of 4 files failed" in said and "broken.avi" in said
    done = {path.parent.name for path in out.rglob("metrics.json")}
    assert first < done == {"a", "b", "more__a"}

    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.lav")}
    error_line(capsys, *call)
    assert stamps == {path: path.stat().st_mtime_ns for path in out.rglob("*.lav")}

    back = tmp_path / "back"
    main(["decompress", "--input", str(out), "--out", str(back)])
    for name in ("a", "b", "more__a"):
        (video,) = (back / f"{name}__{name.rpartition('__')[2]}").glob("*.avi")
        assert np.array_equal(pixels(video), pixels(videos / f"{name.replace('__', '/')}.avi"))


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "x/y"])
def test_shard_that_is_none_is_refused(shard: str, tmp_path: Path, capsys: Any) -> None:
    source = recording(tmp_path / "a.avi", 3)
    call = ["compress", "--input", str(source), "--out", str(tmp_path), "--shard", shard]
    assert f"shard '{shard}' must be like 2/8" in error_line(capsys, *call)
