"""Streams under a Lightning trainer: epochs, validation and what is refused."""

from __future__ import annotations

import multiprocessing
from typing import Any

import lightning as L
import pytest
import torch

from datamodules import AleStreamDataModule, IterableDataModule


class Watcher(L.LightningModule):
    """Learns nothing and remembers what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.seen: dict[str, list[Any]] = {"train": [], "val": []}

    def training_step(self, batch, batch_idx):
        self.seen["train"].append(batch)

    def validation_step(self, batch, batch_idx):
        self.seen["val"].append(batch)

    def configure_optimizers(self):
        return None


def fit(data: L.LightningDataModule, **options: Any) -> Watcher:
    watcher = Watcher()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "num_sanity_val_steps": 0}
    L.Trainer(**quiet, **({"limit_val_batches": 0} | options)).fit(watcher, datamodule=data)
    return watcher


@pytest.mark.parametrize("workers", [0, 2])
def test_next_epoch_goes_on_after_the_last_batch_consumed(workers, five_games, equal):
    epochs = fit(five_games(chunk=4, num_workers=workers), max_epochs=3, limit_train_batches=7)
    whole = fit(five_games(chunk=4), max_epochs=1, limit_train_batches=21)
    assert equal(epochs.seen["train"], whole.seen["train"])


def test_no_worker_outlives_the_run(five_games):
    before = multiprocessing.active_children()
    fit(five_games(num_workers=2), max_epochs=1, limit_train_batches=3, limit_val_batches=2)
    assert set(multiprocessing.active_children()) <= set(before)


def test_a_second_fit_begins_where_the_first_began(five_games, equal):
    data = five_games()
    one, two = (fit(data, max_epochs=1, limit_train_batches=5) for _ in range(2))
    assert equal(one.seen["train"], two.seen["train"])


def test_validation_shows_the_same_held_out_play_each_time(five_games, equal):
    watcher = fit(five_games(), max_epochs=2, limit_train_batches=5, limit_val_batches=4)
    validated, trained = watcher.seen["val"], watcher.seen["train"]
    assert equal(validated[:4], validated[4:])
    assert not equal(validated[:4], trained[:4])
    whole = fit(five_games(), max_epochs=1, limit_train_batches=10)
    assert equal(trained, whole.seen["train"])


def test_global_random_numbers_are_left_alone(five_games, read):
    states = []
    for workers in (0, 1):
        torch.manual_seed(0)
        read(five_games(num_workers=workers), 2)
        states.append(torch.rand(1).item())
    torch.manual_seed(0)
    assert states == [torch.rand(1).item()] * 2


def test_endless_validation_is_refused(five_games):
    with pytest.raises(ValueError, match=r"set trainer.limit_val_batches to a number"):
        fit(five_games(), max_epochs=1, limit_train_batches=1, limit_val_batches=1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("streams", 0),
        ("num_workers", -1),
        ("seed", -1),
        ("chunk", 0),
        ("frame_skip", 0),
        ("switch_every", 0),
        ("sticky", 1.0),
        ("size", (0, 5)),
        ("games", []),
    ],
)
def test_bad_setting_is_named_with_its_remedy(name, value):
    with pytest.raises(ValueError, match=f"set data.{name}"):
        AleStreamDataModule(**{name: value})


def test_workers_beyond_the_streams_are_not_started(read, caplog):
    read(AleStreamDataModule("Breakout", num_workers=9, size=(8, 8)), 2)
    assert "1 stream(s) keep 1 worker(s) busy" in caplog.text


def test_every_stream_keeps_one_contract():
    from datamodules import AviStreamDataModule

    assert issubclass(AleStreamDataModule, IterableDataModule)
    assert issubclass(AviStreamDataModule, IterableDataModule)
