"""Windows of tracks: which steps, in which order, on which side, of which folder."""

from __future__ import annotations

from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from moving_pictures import POINTS, value, write_tracks
from test_track_extraction import write_scroll

from callbacks import StreamPosition
from datamodules import TracksDataModule
from datamodules.tracking.store import part_path

LENGTHS = {"1-1_a": 20, "1-1_b": 17, "2-1_a": 23, "play_3-2_win": 16, "free": 12}


@pytest.fixture
def folder(tmp_path):
    return write_tracks(tmp_path, LENGTHS)


def make(folder, stage="fit", **options):
    given = {"horizon": 4, "stride": 2, "val_fraction": 0.3, "batch_size": 2}
    given["cache_dir"] = str(folder / "cache") if hasattr(folder, "joinpath") else None
    data = TracksDataModule(str(folder), **(given | options))
    if stage:
        data.setup(stage)
    return data


def windows(batches):
    """(source, first step) of each window in order."""
    return [
        (int(source), round(float(seconds[0]) * 20))
        for batch in batches
        for source, seconds in zip(batch["source"], batch["seconds"], strict=True)
    ]


def test_window_holds_the_steps_that_its_batch_names(folder):
    data = make(folder)
    batches = [*data.train_dataloader(), *data.val_dataloader()]
    assert len(batches) > 10
    for batch in batches:
        b = len(batch["sample"])
        assert batch["velocity"].shape == (b, 4, POINTS, 2)
        assert batch["velocity"].dtype == torch.float32
        assert batch["visible"].shape == (b, 4, POINTS)
        assert batch["seconds"].dtype == torch.float64
        step = np.round(batch["seconds"].numpy() * 20).astype(int)
        assert (np.diff(step) == 1).all()
        stored = value(batch["source"].numpy()[:, None], step).astype(np.float16)
        assert np.array_equal(batch["velocity"][..., 4, 1], stored.astype(np.float32))
        seen = (step[..., None] + np.arange(POINTS)) % 3 > 0
        assert np.array_equal(batch["visible"], seen)
        assert np.array_equal(batch["action"], step % 7)
        assert not batch["view"].any()
        assert "image" not in batch


def test_windows_start_a_stride_apart_and_none_crosses_a_gap(tmp_path):
    data = make(write_tracks(tmp_path, {"a": 20, "b": 9}, gap=7), stride=3, val_fraction=0)
    found = sorted(windows(data.train_dataloader()))
    expected = [(0, s) for s in (0, 3, 7, 10, 13, 16)] + [(1, 0), (1, 3)]
    assert found == expected
    assert data.game_names == ["a.avi", "b.avi"]


def as_rank(data, rank, ranks):
    """Tells the datamodule that it is one of several processes."""
    data.trainer = SimpleNamespace(
        world_size=ranks,
        global_rank=rank,
        training=False,
        fit_loop=SimpleNamespace(total_batch_idx=0),
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
    return data


@pytest.mark.parametrize("side", ["train_dataloader", "val_dataloader"])
@pytest.mark.parametrize("weights", [None, [0.5]])
def test_two_ranks_see_what_one_rank_with_twice_the_batch_sees(side, weights, folder):
    whole = list(getattr(make(folder, batch_size=4, val_fraction=0.4, weights=weights), side)())
    parts = [
        list(getattr(as_rank(make(folder, val_fraction=0.4, weights=weights), r, 2), side)())
        for r in range(2)
    ]
    assert len(parts[0]) == len(parts[1]) > 1
    for one, two, both in zip(*parts, whole, strict=False):
        for name in ("velocity", "visible", "sample", "source", "seconds"):
            assert torch.equal(torch.cat([one[name], two[name]]), both[name][: 2 * len(one[name])])


def test_order_follows_from_the_seed_and_not_from_the_workers(folder):
    one = windows(make(folder).train_dataloader())
    assert one == windows(make(folder, num_workers=1).train_dataloader())
    assert one != windows(make(folder, seed=1, val_levels=["1-1"]).train_dataloader())
    assert one != sorted(one)


def test_a_level_is_on_one_side(folder):
    for seed in range(6):
        data = make(folder, seed=seed)
        sides = [
            {data.game_names[part.source] for part in samples.parts}
            for samples in (data.train_samples, data.held_out_samples)
        ]
        assert set.union(*sides) == {f"{name}.avi" for name in LENGTHS}
        levels = [{name[:3] if name[1] == "-" else name for name in side} for side in sides]
        assert levels[0]
        assert levels[1]
        assert not levels[0] & levels[1]
    data = make(folder, val_levels="3-2")
    assert {data.game_names[p.source] for p in data.held_out_samples.parts} == {"play_3-2_win.avi"}


def test_one_video_is_split_in_time_without_a_shared_step(tmp_path):
    data = make(write_tracks(tmp_path, {"a": 60}), stride=1, batch_size=1)
    sides = [
        {start + k for _, start in windows(loader) for k in range(4)}
        for loader in (data.train_dataloader(), data.val_dataloader())
    ]
    assert max(sides[0]) < min(sides[1])
    assert sides[0] | sides[1] == set(range(60))
    assert 0.2 < len(sides[1]) / 60 < 0.4


def test_folders_have_their_shares_and_every_window_has_its_turn(tmp_path):
    folders = [tmp_path / "few", tmp_path / "many"]
    write_tracks(folders[0], {"a": 12})
    write_tracks(folders[1], {"b": 40})

    def passes(weights, count):
        data = TracksDataModule(
            [str(f) for f in folders], weights, 4, 1, 1, val_fraction=0, cache_dir=str(tmp_path)
        )
        data.setup("fit")
        found = []
        for _ in range(count):
            batches = list(data.train_dataloader())
            data.resume_from(batches[-1]["position"])
            found.append(windows(batches))
        return found

    (plain,) = passes(None, 1)
    assert len(plain) == len(set(plain)) == 9 + 37
    drawn = passes([3, 1], 4)
    for one in drawn:
        assert len(one) == 46
        assert sum(source == 0 for source, _ in one) == 34  # 46 * 3 / 4
    late = {window for one in drawn for window in one if window[0] == 1}
    assert late == {(1, start) for start in range(37)}


def test_weights_must_fit_the_folders(tmp_path):
    with pytest.raises(ValueError, match=r"weights \[1.0, 2.0\] do not fit 1 folder"):
        TracksDataModule("a", [1.0, 2.0])


def test_bad_and_short_files_are_left_out_by_name(folder):
    path = part_path(folder / "2-1_a", 0)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.warns(UserWarning) as caught:
        make(folder, horizon=16, batch_size=1)
    told = " ".join(str(warning.message) for warning in caught)
    assert "2-1_a.tracks.safetensors is left out: it cannot be read" in told
    assert "shorter than a window of 16 steps (0.8 s) and left out: free.avi" in told
    with pytest.raises(ValueError, match=r"mend or remove it, or set data.strict to false"):
        make(folder, strict=True)
    with pytest.raises(ValueError, match=r"no readable video.*litarcade-record"):
        make(folder / "cache")
    with pytest.raises(ValueError, match=r"as long as a window of 99 steps"):
        make(folder, horizon=99)


def test_pictures_go_with_their_windows(tmp_path):
    data = make(write_tracks(tmp_path, {"a": 30}, images=True), images=True, stride=4)
    for batch in data.train_dataloader():
        assert batch["image"].shape == (2, 3, 64, 64)
        assert batch["image"].dtype == torch.uint8
        step = (batch["seconds"][:, 0] * 20).round()
        assert torch.equal(batch["image"][:, 0, 0, 0], step.byte())


def test_videos_are_tracked_once_into_the_cache(tmp_path, monkeypatch):
    for seed, name in enumerate(("a", "b")):
        write_scroll(tmp_path / f"{name}.avi", frames=20, seed=seed)
    (tmp_path / "empty.avi").write_bytes(b"")
    given = {"grid": 6, "processes": 1, "images": True, "val_fraction": 0.5}
    with pytest.warns(UserWarning, match=r"empty.avi is left out: it is empty"):
        (batch, *_) = make(tmp_path, **given).train_dataloader()
    assert batch["velocity"].shape == (2, 4, 36, 2)
    assert batch["image"].shape == (2, 3, 64, 64)
    assert (batch["action"] >= 0).all()
    moving = batch["velocity"][batch["visible"]]
    assert (moving[:, 0].median() + 1.5 * 1.5 / 84).abs() < 0.2 / 84
    monkeypatch.setattr("datamodules.tracking.collection.extract_all", None)
    with pytest.warns(UserWarning, match=r"empty.avi is left out"):
        (again, *_) = make(tmp_path, **given).train_dataloader()
    assert torch.equal(again["velocity"], batch["velocity"])


class Toy(L.LightningModule):
    """Notes which samples it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[tuple[int, int, int]] = []

    def training_step(self, batch, batch_idx):
        found = zip(batch["sample"].tolist(), windows([batch]), strict=True)
        self.seen += [(sample, *window) for sample, window in found]
        return self.layer(batch["velocity"].mean().view(1, 1)).square().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def fit(path, data, ckpt_path=None, save=False):
    saver = ModelCheckpoint(path, "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=3,
        limit_train_batches=5,
        limit_val_batches=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=save,
        callbacks=[StreamPosition(), *([saver] if save else [])],
    )
    trainer.fit(module := Toy(), datamodule=data, ckpt_path=ckpt_path)
    return module


@pytest.mark.parametrize("workers", [0, 1])
def test_resume_goes_on_with_the_very_next_window(workers, folder):
    given = {"stage": "", "weights": [2.0], "num_workers": workers}
    whole = fit(folder, make(folder, **(given | {"num_workers": 0})), save=True)
    assert [sample for sample, _, _ in whole.seen] == list(range(30))
    for stop in (1, 5, 7) if workers == 0 else (6,):
        resumed = fit(folder, make(folder, **given), folder / f"step={stop}.ckpt")
        assert resumed.seen == whole.seen[2 * stop :]
        assert torch.equal(resumed.layer.weight, whole.layer.weight)
