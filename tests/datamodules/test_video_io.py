"""Files of video: what is written comes back, and nothing half-written is left behind."""

from __future__ import annotations

import os

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from benchmarks.numbered_video import mux, number_of, picture
from datamodules.video.decoder import Damage, Frame
from datamodules.video.decoding import read_around_damage
from datamodules.video_io import CODECS, VideoError, read_frames, to_uint8, write_video

RNG = np.random.default_rng(0)


def clip(colours: int, count: int = 6, size: tuple[int, int] = (31, 42)) -> list[np.ndarray]:
    """Frames of random blocks in that many colours; two neighbours are alike."""
    palette = RNG.integers(0, 256, (colours, 3)).astype(np.uint8)
    frames = [palette[RNG.integers(0, colours, size)] for _ in range(count)]
    frames[2] = frames[1].copy()
    return frames


def decode(path) -> tuple[np.ndarray, list[float]]:
    pictures, times = zip(*read_frames(path), strict=True)
    return np.stack(pictures), list(times)


@pytest.mark.parametrize(
    ("name", "colours"), [("a.gif", 2), ("a.gif", 256), ("a.avi", 256), ("a.avi", 5000)]
)
def test_decode_inverts_encode(name, colours, tmp_path):
    frames = clip(colours)
    write_video(tmp_path / name, frames, fps=20)
    pictures, times = decode(tmp_path / name)
    assert np.array_equal(pictures, np.stack(frames))
    assert times == pytest.approx([i / 20 for i in range(6)])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [(31, 42), (48, 33)])
def test_every_codec_of_an_avi_keeps_count_time_and_picture(codec, size, tmp_path):
    rows, columns = np.indices(size)
    frames = [np.stack([2 * rows, 3 * columns, rows + i], -1).astype(np.uint8) for i in range(70)]
    write_video(tmp_path / "a.avi", frames, 24, codec=codec)
    pictures, times = decode(tmp_path / "a.avi")
    assert times == pytest.approx([i / 24 for i in range(70)])
    error = np.abs(pictures.astype(int) - np.stack(frames))
    assert (error.max() == 0) if codec in ("ffv1", "h264") else (error.mean() < 4)


def test_strip_holds_the_frames_from_left_to_right(tmp_path):
    frames = clip(300, count=4)
    write_video(tmp_path / "a.png", frames, fps=30)
    assert np.array_equal(imageio.imread(tmp_path / "a.png"), np.concatenate(frames, 1))


def test_mp4_is_close_and_its_size_even(tmp_path):
    ramp = np.linspace(0, 255, 41)
    smooth = np.repeat(np.add.outer(ramp[:33], ramp)[..., None] / 2, 3, 2).astype(np.uint8)
    write_video(tmp_path / "a.mp4", [smooth] * 4, fps=30)
    pictures, times = decode(tmp_path / "a.mp4")
    assert pictures.shape == (4, 34, 42, 3)
    assert np.abs(pictures[:, :33, :41].astype(int) - smooth).mean() < 3
    assert times == pytest.approx([i / 30 for i in range(4)], abs=1e-3)


def test_gif_of_many_colours_has_one_palette_that_fits(tmp_path):
    rows, columns = np.indices((64, 64)) * 4
    frames = [np.stack([rows, columns, rows], -1).astype(np.uint8) for _ in range(3)]
    write_video(tmp_path / "a.gif", frames, fps=10)
    pictures, _ = decode(tmp_path / "a.gif")
    assert len(np.unique(pictures.reshape(-1, 3), axis=0)) <= 256
    assert np.array_equal(pictures[0], pictures[2])
    assert np.abs(pictures[0].astype(int) - frames[0]).mean() < 8


@pytest.mark.parametrize(("fps", "last"), [(30, 0.3), (50, 0.18), (200, 0.18), (3, 3.0)])
def test_gif_keeps_time_to_its_hundredths(fps, last, tmp_path):
    write_video(tmp_path / "a.gif", clip(8, count=10), fps)
    _, times = decode(tmp_path / "a.gif")
    assert times[-1] == pytest.approx(last)
    assert min(np.diff(times)) > 0.019


@pytest.mark.parametrize("name", ["a.gif", "a.mp4", "a.avi"])
def test_failed_write_leaves_the_old_file_alone(name, tmp_path):
    (tmp_path / name).write_bytes(b"old")

    def breaks_off():
        yield from clip(8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / name, breaks_off(), fps=10)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"old"


def test_what_cannot_be_written_is_named(tmp_path):
    frames = clip(8)
    for name, given, fps, reason in (
        ("a.xyz", frames, 10, r"cannot write a.xyz; choose one of .gif .mp4 .avi"),
        ("a.gif", [], 10, "no frames"),
        ("a.png", [], 10, "no frames"),
        ("a.gif", frames, 0, "fps 0"),
        ("a.avi", [frames[0], frames[0][:20]], 10, "all of one size"),
        ("a.avi", [frames[0].astype(float)], 10, "uint8"),
    ):
        with pytest.raises(ValueError, match=reason):
            write_video(tmp_path / name, given, fps)
    for name, codec in (("a.avi", "divx"), ("a.gif", "ffv1")):
        with pytest.raises(ValueError, match=r"an .avi takes ffv1 h264 xvid mjpg"):
            write_video(tmp_path / name, frames, 10, codec=codec)
    assert os.listdir(tmp_path) == []


def spoil(kind: str, path) -> None:
    """Puts something at `path` that is no good video."""
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is no video\n" * 100)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "header":
        write_video(path, clip(300), fps=10)
        path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("kind", ["empty", "text", "folder", "pipe", "header", "missing"])
def test_what_is_no_video_is_an_error_and_never_hangs(kind, tmp_path):
    spoil(kind, tmp_path / "a.avi")
    with pytest.raises(VideoError):
        list(read_frames(tmp_path / "a.avi"))


def test_truncated_file_gives_its_frames_then_an_error(tmp_path):
    frames = clip(300, count=20)
    write_video(tmp_path / "a.avi", frames, fps=10)
    whole = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(whole[: len(whole) * 6 // 10])
    got = []
    with pytest.raises(VideoError):
        for picture, _ in read_frames(tmp_path / "a.avi"):
            got.append(picture)
    assert 8 <= len(got) < 20
    assert np.array_equal(got[:-1], frames[: len(got) - 1])


def test_bytes_are_the_nearest_of_clamped_values():
    values = torch.tensor([-1.0, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 7.0], requires_grad=True)
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 255, 255]


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.gif", "a.avi"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_file_cut_anywhere_ends_with_an_error_and_no_wrong_frame(name, share, tmp_path):
    if name in ("a.gif", "a.avi"):
        write_video(tmp_path / name, [picture(i, (64, 80)) for i in range(60)], 30)
    else:
        codec = "libx264" if name == "a.mkv" else "libvpx"
        frames = (picture(i, (64, 80)) for i in range(60))
        mux(tmp_path / name, frames, np.arange(60), codec, {"g": "30"})
    assert [number_of(frame) for frame, _ in read_frames(tmp_path / name)] == list(range(60))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    events = list(read_around_damage(tmp_path / name))
    end = min(event.number for event in events if isinstance(event, Damage))
    good = [number_of(event.pixels) for event in events if isinstance(event, Frame)][:end]
    assert good == list(range(len(good)))
    assert 60 * share * 0.2 < len(good) < 60
