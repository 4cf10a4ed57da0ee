"""`generate.py restore`: what is restored, what is left as it was, what is refused."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from made_recordings import scroll

from datamodules.ram_map import STATE_NAMES
from datamodules.smb_format import FAIL, Episode, SmbFrame, to_palette, write_frame
from datamodules.video_io import read_frames, write_video
from generate import main
from lit_modules import LitFlowVideo, LitMaskedAutoencoder

SIZE = (48, 64)
SIDE, LENGTH = 16, 4  # of a mask unit in pixels, of a clip in frames
TINY = {"dims": (8, 12, 16, 20), "depths": (1, 1, 1, 1), "decoder_dim": 16, "decoder_depth": 1}
HALF = ("--mask_ratio", "0.5")


def save(folder: Path, module: torch.nn.Module) -> str:
    saved = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "global_step": 0,
    }
    module.on_save_checkpoint(saved)
    torch.save(saved, folder / "model.ckpt")
    return str(folder / "model.ckpt")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained module far from its small start, so that everything acts."""
    torch.manual_seed(0)
    module = LitMaskedAutoencoder(**TINY, patch=2, size=(32, 32), clip_length=LENGTH)
    for parameter in module.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return save(tmp_path_factory.mktemp("mae"), module)


def recording(path: Path, frames: int = 10, size: tuple[int, int] = SIZE, fps: int = 15) -> Path:
    write_video(path, list(scroll(0, frames, size)[0]), fps)
    return path


def labels(path: Path, frames: int, seed: int = 0) -> None:
    ram = np.random.default_rng(seed).integers(0, 256, (frames, 2048), np.uint8)
    np.savez(path, action=np.zeros(frames, np.uint8), ram=ram, seconds=np.arange(frames) / 15)


def restore(checkpoint: str, out: Path, input: Path, *more: str) -> dict[str, object]:
    main(["restore", "--ckpt_path", checkpoint, "--out", str(out), "--input", str(input), *more])
    return json.loads((out / "metrics.json").read_text())


def pixels(path: Path) -> np.ndarray:
    return np.stack([frame for frame, _ in read_frames(path)])


def picture(path: Path, values: np.ndarray) -> Path:
    """A picture file of `(h, w)` or `(h, w, 3)` values."""
    write_video(path, [np.broadcast_to(np.atleast_3d(values), (*values.shape[:2], 3))], 1)
    return path


def hidden_units(changed: np.ndarray) -> np.ndarray:
    """Mask units in which pixels `(h, w)` have changed; all of them must have."""
    units = changed.reshape(SIZE[0] // SIDE, SIDE, SIZE[1] // SIDE, SIDE).mean((1, 3))
    assert ((units < 0.05) | (units > 0.8)).all()
    return units > 0.5


def test_recording_gives_video_picture_comparison_and_figures(
    checkpoint: str, tmp_path: Path, capsys
) -> None:
    true = pixels(source := recording(tmp_path / "in.avi"))
    report = restore(checkpoint, tmp_path / "out", source, *HALF)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("restored.png", "restored.avi", "comparison.gif", "metrics.json")
    }
    made = pixels(tmp_path / "out/restored.avi")
    assert made.shape == true.shape
    error = (made / 255 - true / 255) ** 2
    assert report["mse"] == pytest.approx(error.mean(), rel=1e-4)
    assert report["psnr"] == pytest.approx(-10 * np.log10(error.mean()), abs=1e-2)
    # Half of 3x4 units, the same in all frames of a clip.
    assert report["hidden_pixels"] == 10 * 6 * SIDE**2
    assert report["mse_masked"] == pytest.approx(2 * error.mean(), rel=1e-4)
    assert report["truth_known"] and not report["state"]
    one = picture(tmp_path / "one.png", made[0])
    assert (tmp_path / "out/restored.png").read_bytes() == one.read_bytes()
    comparison = pixels(tmp_path / "out/comparison.gif")
    assert comparison.shape == (10, SIZE[0], 4 * SIZE[1] + 6, 3)
    assert "PSNR" in capsys.readouterr().out


def test_what_is_visible_stays_bit_for_bit(checkpoint: str, tmp_path: Path) -> None:
    true = pixels(source := recording(tmp_path / "in.avi"))
    restore(checkpoint, tmp_path / "out", source, *HALF)
    changed = (pixels(tmp_path / "out/restored.avi") != true).any(3)
    assert hidden_units(changed[0]).sum() == 6
    assert np.array_equal(hidden_units(changed[0]), hidden_units(changed[3]))  # tubes


@pytest.mark.parametrize("unit", [False, True])
def test_mask_picture_says_which_pixels_are_replaced(
    unit: bool, checkpoint: str, tmp_path: Path
) -> None:
    true = pixels(source := recording(tmp_path / "in.avi"))
    mask = np.zeros((3, 4) if unit else SIZE, np.uint8)
    mask[1:2, :2] = 255  # a row of units, or a line across part of one
    asked = mask.repeat(SIDE, 0).repeat(SIDE, 1) if unit else mask
    picture(tmp_path / "mask.png", mask)
    report = restore(checkpoint, tmp_path / "out", source, "--mask", str(tmp_path / "mask.png"))
    changed = (pixels(tmp_path / "out/restored.avi") != true).any(3)
    assert not changed[:, asked == 0].any()
    assert changed[:, asked > 0].mean() > 0.9
    assert report["hidden_pixels"] == 10 * (asked > 0).sum()
    assert report["hidden_units"] == 10 * (2 if unit else 1)


def test_hidden_pixels_never_reach_the_result(checkpoint: str, tmp_path: Path) -> None:
    true = pixels(recording(tmp_path / "in.avi"))
    mask = np.zeros(SIZE, np.uint8)
    mask[5:40, 20:50] = 1
    other = true.copy()
    other[:, mask > 0] = np.random.default_rng(0).integers(0, 256, other[:, mask > 0].shape)
    mask = picture(tmp_path / "mask.png", mask)
    for name, frames in (("one", true), ("two", other)):
        write_video(tmp_path / f"{name}.avi", list(frames), 15)
        restore(checkpoint, tmp_path / name, tmp_path / f"{name}.avi", "--mask", str(mask))
    for file in ("restored.png", "restored.avi"):
        one, two = ((tmp_path / name / file).read_bytes() for name in ("one", "two"))
        assert one == two


def test_holes_in_the_input_have_no_figures(checkpoint: str, tmp_path: Path, capsys) -> None:
    frames = pixels(recording(tmp_path / "in.avi")).copy()
    frames[:, :20, :20] = 0
    write_video(tmp_path / "holes.avi", list(frames), 15)
    mask = np.zeros(SIZE, np.uint8)
    mask[:20, :20] = 255
    mask = picture(tmp_path / "mask.png", mask)
    report = restore(checkpoint, tmp_path / "out", tmp_path / "holes.avi", "--mask", str(mask))
    assert not report["truth_known"]
    assert "psnr" not in report
    assert "PSNR" not in capsys.readouterr().out


@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128)])
def test_patches_of_one_flat_colour_are_restored(
    colour: tuple[int, int, int], checkpoint: str, tmp_path: Path, capsys
) -> None:
    image = scroll(0, 1, SIZE)[0][0].copy()
    for row, column in ((0, 0), (1, 2), (2, 3)):
        image[SIDE * row :, SIDE * column :][:SIDE, :SIDE] = colour
    source = picture(tmp_path / "holes.png", image)
    report = restore(checkpoint, tmp_path / "out", source)
    assert report["hidden_pixels"] == 3 * SIDE**2
    assert report["hidden_units"] == 3
    assert f"12 patches of colour {colour}" in capsys.readouterr().out  # four cubes a unit
    made = imageio.imread(tmp_path / "out/restored.png")
    changed = (made != image).any(2)
    assert np.array_equal(hidden_units(changed), hidden_units((image == colour).all(2)))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("restored.png", "comparison.gif", "metrics.json")
    }


def test_state_beside_the_video_is_used_unless_told_otherwise(
    checkpoint: str, tmp_path: Path
) -> None:
    source = recording(tmp_path / "in.avi")
    plain = restore(checkpoint, tmp_path / "plain", source, *HALF)
    labels(tmp_path / "in.labels.npz", 10)
    found = restore(checkpoint, tmp_path / "found", source, *HALF)
    without = restore(checkpoint, tmp_path / "without", source, *HALF, "--state", "none")
    labels(tmp_path / "other.labels.npz", 10, seed=1)
    other = str(tmp_path / "other.labels.npz")
    restore(checkpoint, tmp_path / "other", source, *HALF, "--state", other)
    assert (plain["state"], found["state"], without["state"]) == (False, True, False)
    result = {
        name: pixels(tmp_path / name / "restored.avi")
        for name in ("plain", "found", "without", "other")
    }
    assert np.array_equal(result["plain"], result["without"])
    assert not np.array_equal(result["plain"], result["found"])
    assert not np.array_equal(result["other"], result["found"])


@pytest.mark.parametrize(("size", "frames"), [((37, 45), 7), ((20, 33), 1), (SIZE, 2)])
def test_any_size_and_length(
    size: tuple[int, int], frames: int, checkpoint: str, tmp_path: Path
) -> None:
    source = recording(tmp_path / "in.avi", frames, size)
    report = restore(checkpoint, tmp_path / "out", source, *HALF, "--mask_type", "random")
    made = pixels(tmp_path / "out/restored.avi")
    assert made.shape == (frames, *size, 3)
    assert report["frames"] == frames
    assert (made != pixels(source)).any((1, 2, 3)).all()


def test_later_frames_do_not_change_earlier_clips(checkpoint: str, tmp_path: Path) -> None:
    source = recording(tmp_path / "in.avi", 11)
    restore(checkpoint, tmp_path / "whole", source, *HALF)
    report = restore(checkpoint, tmp_path / "part", source, *HALF, "--frames", "8")
    assert report["frames"] == 8
    whole, part = (pixels(tmp_path / name / "restored.avi") for name in ("whole", "part"))
    assert np.array_equal(whole[:8], part)
    assert (whole != pixels(source)).any((1, 2, 3)).all()


def test_missing_frames_are_filled_in_from_the_others(checkpoint: str, tmp_path: Path) -> None:
    true = pixels(recording(tmp_path / "in.avi"))
    other = true.copy()
    other[1::2] = 7
    for name, frames in (("one", true), ("two", other)):
        write_video(tmp_path / f"{name}.avi", list(frames), 30)
        report = restore(checkpoint, tmp_path / name, tmp_path / f"{name}.avi", "--missing", "1::2")
        assert report["truth_known"] == (name == "one")
    one, two = (pixels(tmp_path / name / "restored.avi") for name in ("one", "two"))
    assert np.array_equal(one, two)
    assert np.array_equal(one[::2], true[::2])
    assert (one[1::2] != true[1::2]).any((1, 2, 3)).all()


def test_variants_are_restorations_by_other_masks(checkpoint: str, tmp_path: Path) -> None:
    source = recording(tmp_path / "in.avi")
    report = restore(checkpoint, tmp_path / "many", source, *HALF, "--variants", "3")
    assert len(report["variants"]) == 3
    many = [pixels(tmp_path / f"many/restored_{k}.avi") for k in (1, 2, 3)]
    assert not any(np.array_equal(many[i], many[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    restore(checkpoint, tmp_path / "second", source, *HALF, "--seed", "1")
    assert np.array_equal(many[1], pixels(tmp_path / "second/restored.avi"))
    assert len(list((tmp_path / "many").iterdir())) == 3 * 3 + 1


def test_folder_of_frames_with_state_is_a_video(checkpoint: str, tmp_path: Path) -> None:
    episode = Episode("me", "s1", 1, "1-1", FAIL)
    (folder := tmp_path / episode.folder).mkdir()
    frames = scroll(0, 12, SIZE)[0][:6]
    ram = np.random.default_rng(0).integers(0, 256, (6, 2048), np.uint8)
    for i, frame in enumerate(frames):  # numbers of one and of two digits
        path = folder / episode.file(4 * i + 1, 0, datetime(2026, 1, 2))
        write_frame(path, SmbFrame(*to_palette(frame), ram[i], 0, FAIL))
    report = restore(checkpoint, tmp_path / "out", folder, *HALF)
    assert report["state"]
    assert report["fps"] == pytest.approx(15)
    made = pixels(tmp_path / "out/restored.avi")
    changed = (made != frames).any(3)
    assert all(hidden_units(frame).sum() == 6 for frame in changed)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--mask", "small.png"], "the mask is 10x8 pixels, the frames are 64x48"),
        (["--mask", "white.png"], "100%"),
        (["--mask", "dots.png"], "100%"),
        (["--mask", "black.png"], "hides nothing"),
        (["--mask", "none.png"], "none.png"),
        (["--mask_ratio", "1"], "mask_ratio 1.0"),
        (["--mask_ratio", "0"], "mask_ratio 0.0"),
        (["--mask_ratio", "0.01"], "0.01 of 24 mask units is none"),
        (["--mask_ratio", "0.5", "--mask_type", "tubes"], "'tube'"),
        (["--mask_type", "tube"], "--mask_ratio"),
        (["--mask", "white.png", "--mask_ratio", "0.5"], "mask and mask_ratio"),
        ([], "--mask"),
        (["--mask_colour", "1,2,3"], "(1, 2, 3)"),
        (["--mask_colour", "grey"], "grey"),
        (["--missing", "3-1"], "3-1"),
        (["--missing", "0:"], "100%"),
        (["--missing", "99"], "none of the 6 frames"),
        (["--mask_ratio", "0.5", "--state", "none.npz"], "none.npz"),
        (["--mask_ratio", "0.5", "--state", "short.npz"], "more frames than the 3"),
        (["--mask_ratio", "0.5", "--input", "empty.avi"], "empty.avi: it is empty"),
        (["--mask_ratio", "0.5", "--input", "none.avi"], "none.avi"),
        (["--mask_ratio", "0.5", "--input", "folder"], "folder holds no pictures"),
        (["--mask_ratio", "0.5", "--frame_step", "0"], "frame_step 0"),
        (["--mask_ratio", "0.5", "--frames", "0"], "frames 0"),
        (["--mask_ratio", "0.5", "--variants", "0"], "variants 0"),
        (["--missing", "1", "--variants", "2"], "variants 2"),
        (["--mask_ratio", "0.5", "--ckpt_path", "flow.ckpt"], "LitFlowVideo"),
    ],
)
def test_mistake_is_one_line_and_writes_nothing(
    arguments: list[str], named: str, checkpoint: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    recording(tmp_path / "in.avi", 6)
    dots = np.zeros(SIZE, np.uint8)
    dots[::SIDE, ::SIDE] = 1
    masks = {"small": np.ones((8, 10)), "white": np.ones(SIZE), "black": np.zeros(SIZE)}
    for name, mask in (masks | {"dots": dots}).items():
        picture(tmp_path / f"{name}.png", mask.astype(np.uint8))
    labels(tmp_path / "short.npz", 3)
    (tmp_path / "empty.avi").touch()
    (tmp_path / "folder").mkdir()
    if "flow.ckpt" in arguments:
        (tmp_path / "flow").mkdir()
        shape = {"size": (12, 16), "clip_length": 6, "widths": [16], "depths": [1], "time_dim": 16}
        Path(save(tmp_path / "flow", LitFlowVideo(**shape))).rename(tmp_path / "flow.ckpt")
    given = ["--ckpt_path", checkpoint, "--out", "out", "--input", "in.avi"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["restore", *given, *arguments])
    assert stop.value.code not in (0, None)
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert named in lines[0]
    assert not list(tmp_path.glob("out/*"))


def test_earlier_files_stay_unless_overwritten(checkpoint: str, tmp_path: Path) -> None:
    source = recording(tmp_path / "in.avi")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/comparison.gif").write_text("mine")
    with pytest.raises(SystemExit):
        restore(checkpoint, tmp_path / "out", source, *HALF)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["comparison.gif"]
    restore(checkpoint, tmp_path / "out", source, *HALF, "--overwrite", "true")
    assert (tmp_path / "out/comparison.gif").read_bytes() != b"mine"


def test_model_without_state_takes_none(tmp_path: Path, capsys) -> None:
    module = LitMaskedAutoencoder(**TINY, patch=2, size=(32, 32), clip_length=LENGTH, state_dim=0)
    checkpoint = save(tmp_path, module)
    source = recording(tmp_path / "in.avi")
    labels(tmp_path / "in.labels.npz", 10)
    assert not restore(checkpoint, tmp_path / "out", source, *HALF)["state"]
    assert len(STATE_NAMES) == LitMaskedAutoencoder(**TINY).state_dim


def test_each_video_of_a_folder_is_restored_and_none_twice(
    checkpoint: str, tmp_path: Path, capsys
) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for name in ("a", "b"):
        recording(videos / f"{name}.avi", 6)
    (videos / "c.avi").write_bytes(b"")
    call = ["restore", "--ckpt_path", checkpoint, "--input", str(videos), "--mask_ratio", "0.5"]
    for first in (True, False):
        with pytest.raises(SystemExit):
            main([*call, "--out", str(out)])
        said = capsys.readouterr()
        assert "1 of 3 files failed" in said.err and "c.avi: it is empty" in said.out
        assert ("2 done, 0 were done before" if first else "0 done, 2 were done before") in said.out
    restore(checkpoint, tmp_path / "alone", videos / "b.avi", "--mask_ratio", "0.5")
    assert (out / "b/restored.avi").read_bytes() == (tmp_path / "alone/restored.avi").read_bytes()
