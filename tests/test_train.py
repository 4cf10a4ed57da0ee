"""The command line: every preset parses and runs, and a mistake ends in one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from train import LitArcadeCLI, main

ROOT = Path(__file__).parent.parent
PRESETS = sorted(  # what lies in the folder itself are overlays
    path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").glob("*/*.yaml")
)


def arguments(verb: str, preset: str, folder: Path, *more: str) -> list[str]:
    """Command line of a preset's small version, whose run goes to `folder`."""
    small = ROOT / "tests/conf" / preset
    return [
        *(verb, "-c", str(ROOT / "configs" / preset), "-c", str(small)),
        *("--trainer.logger.save_dir", str(folder), *more),
    ]


def error_line(capsys: pytest.CaptureFixture[str], args: list[str]) -> str:
    """The one line that a failing command leaves on standard error."""
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code not in (0, None)
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_parses_and_fits_one_screen(preset: str, capsys) -> None:
    path = ROOT / "configs" / preset
    with pytest.raises(SystemExit) as stop:
        main(["fit", "-c", str(path), "--print_config"])
    assert stop.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert isinstance(config["trainer"]["limit_train_batches"], int)
    assert isinstance(config["trainer"]["limit_val_batches"], int)
    assert len(path.read_text().splitlines()) <= 60
    assert path.read_text().startswith("# ")


SCORES = {
    "codec": {"val/psnr", "val/psnr_1", "test/psnr", "test/psnr_1"},
    "streaming_ae": {"val/mse", "val/psnr", "val/ssim", "test/mse", "test/psnr", "test/ssim"},
    "flow": {"val/loss", "val/loss_t0", "val/loss_t3", "test/loss", "test/loss_t0"},
    "mae": {
        *("val/psnr_masked", "val/psnr_masked_no_state", "val/ssim_within", "val/exact_masked"),
        *("test/tube_90/psnr_masked", "test/high_90/psnr_masked_no_state"),
        *("test/baseline/telea/psnr_masked", "test/baseline/previous_frame_oracle/psnr"),
    },
}


@pytest.mark.parametrize("preset", [p for p in PRESETS if Path(p).parent.name in SCORES])
def test_every_preset_fits_validates_tests_and_predicts(
    preset: str, recordings: Path, tmp_path: Path
) -> None:
    system = Path(preset).parent.name
    data = [] if system == "streaming_ae" else ["--data.data_dir", str(recordings)]
    cli = LitArcadeCLI(arguments("fit", preset, tmp_path, *data))
    run = Path(cli.trainer.log_dir)
    assert run.parent.parent == tmp_path
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == cli.trainer.global_step == cli.trainer.estimated_stepping_batches
    assert (run / "config.yaml").is_file()
    if system != "codec":  # whose pictures `generate.py decompress` writes
        assert list((run / "samples").glob("*.gif"))
    checkpoint = run / "checkpoints/last.ckpt"
    torch.load(checkpoint, weights_only=True)
    for verb in ("validate", "test", "predict"):
        cli = LitArcadeCLI(arguments(verb, preset, tmp_path, "--ckpt_path", str(checkpoint), *data))
        stage = {"validate": "val", "test": "test"}.get(verb)
        expected = {name for name in SCORES[system] if name.partition("/")[0] == stage}
        assert expected <= set(cli.trainer.callback_metrics)


def test_command_line_has_the_say_over_a_checkpoint_but_for_the_architecture(
    recordings: Path, tmp_path: Path
) -> None:
    data = ("--data.data_dir", str(recordings))
    cli = LitArcadeCLI(arguments("fit", "flow/tiny.yaml", tmp_path, *data, "--model.shift", "2"))
    checkpoint = ("--ckpt_path", str(Path(cli.trainer.log_dir) / "checkpoints/last.ckpt"))
    more = (*data, *checkpoint, "--model.steps", "1", "--model.solver", "euler")
    model = LitArcadeCLI(arguments("predict", "flow/tiny.yaml", tmp_path, *more)).model
    assert (model.steps, model.solver, model.times.shift_by) == (1, "euler", 2)


def test_any_torch_optimizer_serves_by_name(tmp_path: Path) -> None:
    args = arguments("fit", "streaming_ae/atari.yaml", tmp_path, "--model.optimizer", "SGD")
    cli = LitArcadeCLI([*args, "--model.optimizer.lr", "0.1", "--trainer.max_steps", "3"])
    assert isinstance(cli.trainer.optimizers[0], torch.optim.SGD)


def test_unknown_game_names_close_matches(tmp_path: Path, capsys) -> None:
    args = arguments("fit", "streaming_ae/atari.yaml", tmp_path, "--data.games", "Brekout")
    line = error_line(capsys, args)
    assert "Brekout" in line
    assert "Breakout" in line


def test_frame_size_that_does_not_fit_names_value_and_remedy(tmp_path: Path, capsys) -> None:
    args = arguments("fit", "streaming_ae/atari.yaml", tmp_path, "--model.size", "[57,56]")
    line = error_line(capsys, args)
    assert "57" in line
    assert "data.size" in line


def test_sizes_of_data_and_model_that_differ_are_named(tmp_path: Path, capsys) -> None:
    args = arguments("fit", "streaming_ae/atari.yaml", tmp_path, "--model.size", "[64,56]")
    line = error_line(capsys, args)
    assert "(56, 56)" in line
    assert "(64, 56)" in line


def test_checkpoint_of_another_class_is_refused(tmp_path: Path, capsys) -> None:
    other = {"class_name": "LitFlowVideo", "hyper_parameters": {}, "state_dict": {}}
    torch.save(other, tmp_path / "other.ckpt")
    line = error_line(
        capsys,
        arguments(
            "fit", "streaming_ae/atari.yaml", tmp_path, "--ckpt_path", str(tmp_path / "other.ckpt")
        ),
    )
    assert "LitFlowVideo" in line
    assert "LitStreamingAutoencoder" in line


def test_truncated_checkpoint_is_refused_by_name(tmp_path: Path, capsys) -> None:
    whole = tmp_path / "whole.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, whole)
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(whole.read_bytes()[:2000])
    args = arguments("fit", "streaming_ae/atari.yaml", tmp_path, "--ckpt_path", str(cut))
    assert "cut.ckpt is not a readable checkpoint" in error_line(capsys, args)


def test_missing_checkpoint_is_named(tmp_path: Path, capsys) -> None:
    path = str(tmp_path / "none.ckpt")
    args = arguments("fit", "streaming_ae/atari.yaml", tmp_path, "--ckpt_path", path)
    assert path in error_line(capsys, args)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("in the way")
    line = error_line(capsys, arguments("fit", "streaming_ae/atari.yaml", tmp_path / "file"))
    assert "file" in line
    assert "save_dir" in line
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_where_there_is_none_names_the_remedy(tmp_path: Path, capsys) -> None:
    args = arguments("fit", "streaming_ae/atari.yaml", tmp_path, "--trainer.accelerator", "gpu")
    assert "--trainer.accelerator cpu" in error_line(capsys, args)


@pytest.mark.parametrize(
    "key", ["model.init_args.widht", "data.init_args.gmaes", "trainer.maxsteps"]
)
def test_typo_in_a_yaml_key_is_named(key: str, tmp_path: Path, capsys) -> None:
    config: dict[str, object] = {}
    level = config
    *parents, last = key.split(".")
    for parent in parents:
        level = level.setdefault(parent, {})
    level[last] = 3
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump(config))
    args = arguments("fit", "streaming_ae/atari.yaml", tmp_path, "-c", str(tmp_path / "typo.yaml"))
    assert last in error_line(capsys, args)
