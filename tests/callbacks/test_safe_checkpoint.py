"""A disk that is full costs checkpoints, not the run, and never the last good one."""

import re
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks import SafeCheckpoint, StreamPosition
from callbacks.graceful_stop import exit_status
from lit_modules import sealed_file
from lit_modules.sealed_file import check_seal


def saver(keep):
    return ModelCheckpoint(
        every_n_train_steps=1,
        filename="{step}",
        save_last=True,
        enable_version_counter=False,
        save_top_k=keep,
    )


def names(trainer):
    return sorted(x.name for x in Path(trainer.checkpoint_callback.dirpath).iterdir())


def fit(run, steps, keep=1, **more):
    plugin = SafeCheckpoint()
    options = {"enable_checkpointing": True, "plugins": [plugin]} | more
    trainer, module = run.fit([saver(keep), StreamPosition()], steps=steps, **options)
    return trainer, module, plugin


@pytest.mark.parametrize(("full", "left", "status"), [((3, 4), 6, 0), ((3, 4, 5, 6), 2, 1)])
def test_full_disk_is_said_and_the_last_good_checkpoint_stays(run, monkeypatch, full, left, status):
    save = torch.save

    def failing(content, file):
        file.write(b"some of it")
        if content["global_step"] in full:
            raise OSError(28, "No space left on device")
        file.seek(0)
        save(content, file)

    monkeypatch.setattr(sealed_file.torch, "save", failing)
    with pytest.warns(UserWarning) as said:
        trainer, _, plugin = fit(run, 6)
    pattern = r"was not written at step (\d) \(No space left on device\); training goes on"
    steps = [re.search(pattern, str(x.message)) for x in said]
    assert {int(match[1]) for match in steps if match} == set(full)
    assert trainer.global_step == 6
    assert names(trainer) == ["last.ckpt", f"step={left}.ckpt"]
    for name in names(trainer):
        path = Path(trainer.checkpoint_callback.dirpath) / name
        check_seal(path)
        assert torch.load(path, weights_only=True)["global_step"] == left
    assert exit_status(trainer) == status
    assert plugin.failed == bool(status)


def test_resume_goes_on_from_the_newest_whole_one(run):
    trainer, whole, _ = fit(run, 6, keep=-1)
    folder = Path(trainer.checkpoint_callback.dirpath)
    for name in ("last", "step=6", "step=5", "step=4"):
        path = folder / f"{name}.ckpt"
        path.write_bytes(path.read_bytes()[:5000])
    last = str(folder / "last.ckpt")
    with pytest.warns(UserWarning, match=r"last\.ckpt is not a readable.*going on from .*step=3"):
        _, resumed, _ = fit(run, 6, ckpt_path=last)
    assert resumed.errors == whole.errors[3:]
