"""The codec trained, resumed, on two ranks, and what it begins as."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_codec import SHAPE, game, small

from lit_modules.checkpoints import load_module
from lit_modules.codec.learned import LearnedCoder
from lit_modules.codec.module import LitVideoCodec
from lit_modules.mae import LitMaskedAutoencoder
from train import LitArcadeCLI

ROOT = Path(__file__).parents[3]


def arguments(verb: str, folder: Path, recordings: Path, *more: str) -> list[str]:
    preset = "codec/tiny.yaml"
    return [
        *(verb, "-c", str(ROOT / "configs" / preset), "-c", str(ROOT / "tests/conf" / preset)),
        *("--data.data_dir", str(recordings), "--trainer.logger.save_dir", str(folder), *more),
    ]


def last(cli: LitArcadeCLI) -> Path:
    return Path(cli.trainer.log_dir) / "checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def trained(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("codec")
    return last(LitArcadeCLI(arguments("fit", folder, recordings)))


def test_preset_trains_and_validates(trained: Path, recordings: Path, tmp_path: Path) -> None:
    summary = json.loads((trained.parents[1] / "summary.json").read_text())
    assert {"val/psnr", "val/psnr_1", "val/psnr_lost", "codebook/dead_share"} <= set(
        summary["metrics"]
    )
    for verb, name in (("validate", "val/psnr"), ("test", "test/psnr_1"), ("predict", None)):
        cli = LitArcadeCLI(arguments(verb, tmp_path, recordings, "--ckpt_path", str(trained)))
        assert name is None or name in cli.trainer.callback_metrics


def test_checkpoint_codes_frames_of_any_size(trained: Path) -> None:
    frames = game(1, 6, (40, 70))
    shared, packets, foreseen = LearnedCoder(load_module(trained), 3).encode(frames)
    decoded, _ = LearnedCoder(load_module(trained), 3).decode_group(shared, packets)
    assert np.array_equal(decoded, foreseen)
    error = np.square(decoded.astype(float) - frames).mean()
    assert error < np.square(frames - frames.mean((0, 1, 2))).mean() / 4


def test_resumed_run_is_that_which_never_stopped(recordings: Path, tmp_path: Path) -> None:
    steps = ("--trainer.max_epochs", "-1", "--trainer.limit_train_batches", "5")
    whole = LitArcadeCLI(
        arguments("fit", tmp_path / "whole", recordings, *steps, "--trainer.max_steps", "25")
    )
    begun = LitArcadeCLI(
        arguments("fit", tmp_path / "parts", recordings, *steps, "--trainer.max_steps", "13")
    )
    more = ("--trainer.max_steps", "25", "--ckpt_path", str(last(begun)))
    resumed = LitArcadeCLI(arguments("fit", tmp_path / "parts", recordings, *steps, *more))
    one, other = (torch.load(last(cli), weights_only=True) for cli in (whole, resumed))
    assert one["global_step"] == other["global_step"] == 25
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name


@pytest.mark.slow
def test_codebooks_are_the_same_on_two_ranks(recordings: Path, tmp_path: Path) -> None:
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.max_steps", "12")
    two += ("--trainer.max_epochs", "-1")
    script = str(ROOT / "tests/fit_and_keep.py")
    args = arguments("fit", tmp_path, recordings, *two)
    done = subprocess.run(
        [sys.executable, script, str(tmp_path), *args],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    first, second = (
        torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)["weights"] for rank in (0, 1)
    )
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert first["net.quantizer.begun"]


def test_training_begins_as_principal_components() -> None:
    module = small(acting=False)
    clips = torch.from_numpy(np.stack([game(seed, 4) for seed in range(8)]))
    video = module.scale(clips.permute(0, 4, 1, 2, 3))
    net = module.net
    vectors = net.encode(video)
    known = torch.ones(vectors.shape[:4], dtype=torch.int64)
    made = net.decode(vectors, known)
    pixels = net._cut(video).flatten(0, -2).double()
    values = torch.linalg.svdvals(pixels - pixels.mean(0))
    missed = values[net.code_dim :].square().sum() / pixels.numel()
    error = (made - video).double().square().mean()
    torch.testing.assert_close(error, missed, rtol=1e-3, atol=1e-9)


def test_cubes_without_codes_are_read_from_other_times() -> None:
    net = small(acting=False).net
    video = torch.rand(2, 3, 4, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    codes, depth = net.encode(video), torch.full((2, 2, 4, 6), 3)
    depth[:, 1, 2, 3] = 0
    other = codes.clone()
    other[:, 1, 2, 3] = 99.0  # never read
    made = net.decode(other, depth)
    assert torch.equal(made, net.decode(codes, depth))
    assert torch.equal(made[:, :, 2:, 16:24, 24:32], made[:, :, :2, 16:24, 24:32])


def test_encoder_of_a_masked_autoencoder_is_taken_over(tmp_path: Path) -> None:
    shape = {k: SHAPE[k] for k in ("dims", "depths", "patch", "size", "clip_length")}
    mae = LitMaskedAutoencoder(**shape, decoder_dim=16, decoder_depth=1, state_dim=0)
    path = tmp_path / "mae.ckpt"
    torch.save({"state_dict": mae.state_dict(), "hyper_parameters": {}, "class_name": "x"}, path)
    module = LitVideoCodec(**SHAPE, encoder_from=str(path))
    module.configure_model()
    for name, value in mae.net.encoder.state_dict().items():
        assert torch.equal(value, module.net.encoder.state_dict()[name])
    other = LitVideoCodec(**{**SHAPE, "dims": (8, 12, 16, 24)}, encoder_from=str(path))
    with pytest.raises(ValueError, match="set dims"):
        other.configure_model()


@pytest.mark.parametrize(
    ("more", "message"), [({"parts": 3}, "parts 3 must divide"), ({"code_dim": 97}, "code_dim 97")]
)
def test_shapes_that_do_not_fit_are_named(more: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LitVideoCodec(**{**SHAPE, **more})
