"""Runs over clips: stopped and resumed, judged, tuned; each goes on with the very next sample."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import BatchSizeFinder, ModelCheckpoint
from numbered_clips import clips_of, make, write

from callbacks import StreamPosition
from datamodules import AviClipDataModule


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


class Toy(L.LightningModule):
    """Notes which samples it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[int] = []
        self.judged: list[int] = []
        self.clips: list[tuple[int, int]] = []
        self.epochs: list[int] = []

    def training_step(self, batch, batch_idx):
        assert batch["video"].is_contiguous()
        self.seen += batch["sample"].tolist()
        self.clips += clips_of([batch])
        self.epochs.append(self.current_epoch)
        return self.layer(batch["video"].float().mean().view(1, 1)).square().sum() * 1e-6

    def validation_step(self, batch, batch_idx):
        self.judged += batch["sample"].tolist()

    test_step = predict_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_each_held_out_clip_is_judged_once(verb, folder, tmp_path):
    data = make(folder, "", batch_size=3)
    module = Toy()
    getattr(quiet_trainer(tmp_path), verb)(module, datamodule=data)
    assert module.judged == list(range(len(data.held_out_samples)))


def test_nothing_held_out_trains_but_cannot_be_judged(folder, tmp_path):
    assert fit(tmp_path, make(folder, "", val_fraction=0), max_epochs=1).seen
    with pytest.raises(ValueError, match=r"0 clips .*set data.val_fraction higher"):
        quiet_trainer(tmp_path).test(Toy(), datamodule=make(folder, "", val_fraction=0))


def test_overfitting_repeats_the_same_batches(folder, tmp_path):
    module = fit(tmp_path, make(folder, "", val_fraction=0), overfit_batches=2, max_epochs=3)
    assert module.seen == [0, 1, 2, 3] * 3


def quiet_trainer(path, **options):
    return L.Trainer(
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=path,
        **{"logger": False, "enable_checkpointing": False} | options,
    )


def fit(path, data, ckpt_path=None, save_every=None, callbacks=(), **options):
    saver = ModelCheckpoint(
        dirpath=path, every_n_train_steps=save_every, save_top_k=-1, filename="{step}"
    )
    callbacks = [*callbacks, StreamPosition(), *([saver] if save_every else [])]
    options["enable_checkpointing"] = bool(save_every)
    trainer = quiet_trainer(path, callbacks=callbacks, **options)
    module = Toy()
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return module


LIMITS = [
    {"max_epochs": 3},
    {"max_epochs": 3, "limit_train_batches": 4},
    {"max_epochs": -1, "max_steps": 13, "limit_train_batches": 5},
    {"max_epochs": -1, "max_steps": 13, "limit_val_batches": 0},
    {"max_epochs": 3, "val_check_interval": 2},
]


STOPS = {0: (1, 4, 5, 6, 7, 8, 12), 2: (5, 6)}


@pytest.mark.parametrize(
    ("workers", "keep_workers", "limits"),
    [(0, True, limits) for limits in LIMITS]
    + [(2, True, LIMITS[0]), (2, False, LIMITS[1]), (2, True, LIMITS[2])],
)
def test_resume_goes_on_with_the_very_next_sample(
    workers, keep_workers, limits, tmp_path, monkeypatch
):
    monkeypatch.setattr(AviClipDataModule, "keep_workers", keep_workers)
    folder = write(tmp_path, {"a": 16, "b": 17})

    def data(workers=0):
        return make(folder, "", batch_size=2, stride=1, num_workers=workers)

    whole = fit(tmp_path, data(), save_every=1, **limits)
    steps = len(whole.seen) // 2
    assert whole.seen == list(range(2 * steps))
    assert steps > 10
    for stop in STOPS[workers]:
        checkpoint = tmp_path / f"step={stop}.ckpt"
        resumed = fit(tmp_path, data(workers), ckpt_path=checkpoint, **limits)
        assert resumed.seen == whole.seen[2 * stop :], stop
        assert resumed.clips == whole.clips[2 * stop :], stop
        assert resumed.epochs == whole.epochs[stop:], stop
        assert torch.equal(resumed.layer.weight, whole.layer.weight), stop


def test_epochs_cut_short_show_every_clip(folder, tmp_path):
    module = fit(tmp_path, make(folder, ""), max_epochs=10, limit_train_batches=3)
    data = make(folder)
    assert len(data.train_samples) < 10 * 3 * 2
    assert set(module.clips) == {
        (data.train_samples.sections[section].source, int(start))
        for section, start in zip(
            data.train_samples.section, data.train_samples.starts, strict=True
        )
    }


def test_tuner_finds_a_batch_size_and_the_run_still_begins_at_the_beginning(tmp_path):
    data = make(write(tmp_path, {"a": 12, "b": 12}), "")
    finder = BatchSizeFinder(steps_per_trial=1, init_val=2)
    module = fit(tmp_path, data, callbacks=[finder], max_epochs=2)
    assert data.batch_size == len(data.train_samples)
    last = module.seen[-2 * data.batch_size :]
    assert last == list(range(2 * data.batch_size))
