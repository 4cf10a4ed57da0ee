"""The command line over damaged files, foreign classes and losses that are no numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from test_train import arguments, error_line

from lit_modules.checkpoints import FORMAT
from lit_modules.sealed_file import check_seal
from train import LitArcadeCLI, main

SMALL = ("--trainer.max_steps", "6", "--trainer.callbacks+", "ModelCheckpoint")
SMALL += ("--trainer.callbacks.every_n_train_steps", "2", "--trainer.callbacks.filename", "{step}")
PRESET = "streaming_ae/atari.yaml"


def test_last_goes_on_from_the_newest_whole_checkpoint_of_the_newest_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = ("--ckpt_path", "last")
    first = LitArcadeCLI(arguments("fit", PRESET, tmp_path, *SMALL, *last))
    folder = Path(first.trainer.log_dir) / "checkpoints"
    assert sorted(x.name for x in folder.iterdir()) == ["last.ckpt", "step=6.ckpt"]
    for path in folder.iterdir():
        check_seal(path)
        checkpoint = torch.load(path, weights_only=True)
        assert (checkpoint["global_step"], checkpoint["litarcade_format"]) == (6, FORMAT)
    damaged = folder / "last.ckpt"
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    with pytest.warns(UserWarning, match=r"last\.ckpt is damaged; going on from .*step=6\.ckpt"):
        second = LitArcadeCLI(arguments("fit", PRESET, tmp_path, "--trainer.max_steps", "8", *last))
    assert second.trainer.global_step == 8
    assert second.trainer.ckpt_path == str(folder / "step=6.ckpt")
    test = arguments("test", PRESET, tmp_path, "--ckpt_path", str(damaged))
    assert "step=6.ckpt" in error_line(capsys, test)


def test_foreign_class_path_is_refused_before_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    code = f"from pathlib import Path\nPath({str(trace)!r}).touch()\n"
    code += "from lightning.pytorch.callbacks import Callback\nclass Planted(Callback): pass\n"
    (tmp_path / "planted_package.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planted.yaml").write_text(
        "trainer:\n  callbacks+:\n    - class_path: planted_package.Planted\n"
    )
    by_file = ("-c", str(tmp_path / "planted.yaml"))
    for more in (
        by_file,
        ("--trainer.callbacks+", "planted_package.Planted"),
        ("--model.optimizer", "planted_package.Planted"),
        ("--data", "planted_package.Planted"),
    ):
        line = error_line(capsys, arguments("fit", PRESET, tmp_path, *more))
        assert "planted_package.Planted" in line
        assert "LITARCADE_ALLOW" in line
    assert not trace.exists()
    assert "planted_package" not in sys.modules
    monkeypatch.setenv("LITARCADE_ALLOW", "planted_package")
    with pytest.raises(SystemExit) as stop:
        main(arguments("fit", PRESET, tmp_path, *by_file, "--print_config"))
    assert stop.value.code == 0
    assert trace.exists()


@pytest.mark.parametrize("loader", ["torch.hub.load", "torch.load"])
def test_loaders_of_torch_are_refused(
    loader: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = error_line(
        capsys,
        arguments("fit", PRESET, tmp_path, f'--model.optimizer={{"class_path": "{loader}"}}'),
    )
    assert f"{loader} is no class" in line


def test_loss_that_is_no_number_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rate = ("--model.optimizer", "SGD", "--model.optimizer.lr", "1e30")
    line = error_line(capsys, arguments("fit", PRESET, tmp_path, *rate, *SMALL))
    assert "not finite at step" in line
    assert not list(tmp_path.rglob("*.ckpt"))
