"""Clips: which frames, in which order, on which side, with which labels."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numbered_clips import LENGTHS, SIZE, brightness, clips_of, make, ready, write

from datamodules.labels import read_labels, state_of
from datamodules.ram_map import mario_state
from datamodules.smb_format import WIN, Episode, SmbFrame, write_frame
from datamodules.video.cache import open_recordings
from datamodules.video_io import write_video


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def test_clip_shows_the_frames_that_its_batch_names(folder):
    data = make(folder)
    batches = ready(data, data.train_dataloader()) + ready(data, data.val_dataloader())
    assert len(batches) > 10
    for batch in batches:
        assert batch["video"].shape == (len(batch["sample"]), 3, 4, *SIZE)
        assert batch["video"].dtype == torch.uint8
        source = batch["source"][:, None]
        shown = batch["video"].flatten(3).float()
        assert torch.equal(shown.amin(3), shown.amax(3))
        expected = brightness(source, batch["frame_index"]).float()
        assert torch.equal(shown[..., 0], expected[:, None].expand(-1, 3, -1))
        torch.testing.assert_close(batch["seconds"], batch["frame_index"].double() / 30)
        assert (batch["frame_index"].diff(dim=1) == 1).all()
        assert (batch["action"] == -1).all()


def test_neighbouring_clips_start_a_stride_apart_and_none_leaves_its_file(folder):
    data = make(folder, val_fraction=0, stride=3, batch_size=1)
    found = sorted(clips_of(ready(data, data.train_dataloader())))
    lengths = [LENGTHS[name] for name in sorted(LENGTHS)]
    assert found == [(f, i) for f, n in enumerate(lengths) for i in range(0, n - 3, 3)]
    assert data.game_names == [f"{name}.avi" for name in sorted(LENGTHS)]


@pytest.mark.parametrize(
    ("file_fps", "fps", "expected"),
    [
        (60, 30, [0, 2, 4, 6]),
        (30, 60, [0, 0, 1, 1]),
        (60.0988, 30, [0, 2, 4, 6]),
        (25, 30, [0, 1, 2, 2]),
        (29.97, 30, [0, 1, 2, 3]),
    ],
)
def test_fps_takes_the_frame_nearest_in_time(file_fps, fps, expected, tmp_path):
    write(tmp_path, {"a": 40}, fps=file_fps)
    data = make(tmp_path, fps=fps, batch_size=1, stride=1, val_fraction=0)
    batches = ready(data, data.train_dataloader())
    first = next(batch for batch in batches if batch["frame_index"][0, 0] == 0)
    assert first["frame_index"][0].tolist() == expected
    rate = 1 / first["seconds"].diff()[first["seconds"].diff() > 0].mean()
    assert rate <= max(fps, file_fps) + 0.1
    last = max(int(batch["frame_index"].max()) for batch in batches)
    assert last >= 40 - 1 - max(1, file_fps // fps)


def test_order_follows_from_seed_and_pass_alone(folder):
    def passes(**options):
        data = make(folder, batch_size=1, **options)
        loader = data.train_dataloader()
        one = ready(data, loader)
        data.resume_from(one[-1]["position"])
        return one, ready(data, loader)

    one, two = passes()
    again, _ = passes(num_workers=2)
    other, _ = passes(seed=1, val_levels=["1-1"])
    assert clips_of(one) == clips_of(again)
    assert clips_of(one) != clips_of(two)
    assert sorted(clips_of(one)) == sorted(clips_of(two))
    assert clips_of(one) != sorted(clips_of(one))
    assert [int(batch["sample"]) for batch in one + two] == list(range(2 * len(one)))
    assert clips_of(other) != clips_of(make_order(folder, seed=0, val_levels=["1-1"]))


def make_order(folder, **options):
    data = make(folder, batch_size=1, **options)
    return ready(data, data.train_dataloader())


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
def test_two_ranks_see_what_one_rank_with_twice_the_batch_sees(side, folder):
    alone = make(folder, batch_size=4, val_fraction=0.4)
    whole = ready(alone, getattr(alone, side)())
    ranks = [as_rank(make(folder, batch_size=2, val_fraction=0.4), r, 2) for r in range(2)]
    parts = [ready(data, getattr(data, side)()) for data in ranks]
    assert len(parts[0]) == len(parts[1]) > 1
    for one, two, both in zip(*parts, whole, strict=False):
        for name in ("video", "sample", "source", "frame_index"):
            assert torch.equal(torch.cat([one[name], two[name]]), both[name][: 2 * len(one[name])])
    assert [len(batch["sample"]) for batch in parts[0]] == [len(b["sample"]) for b in parts[1]]
    drawn = [clip for part in parts for clip in clips_of(part)]
    assert len(drawn) == len(set(drawn))
    clips = alone.train_samples if side == "train_dataloader" else alone.held_out_samples
    if side == "val_dataloader":
        assert len(drawn) == len(clips) // 2 * 2
    else:
        assert len(whole) == len(clips) // 4


def test_held_out_clips_are_always_the_same_and_none_is_trained_on(folder):
    data = make(folder)
    kept = [clips_of(ready(data, loader())) for loader in held_out(data)]
    assert kept[0] == kept[1] == kept[2] == clips_of(ready(data, data.val_dataloader()))
    assert len(set(kept[0])) == len(kept[0]) == len(data.held_out_samples)
    trained = {source for source, _ in clips_of(ready(data, data.train_dataloader()))}
    assert not trained & {source for source, _ in kept[0]}


def held_out(data):
    return data.val_dataloader, data.test_dataloader, data.predict_dataloader


def levels(data, sources):
    names = [data.game_names[source] for source in sources]
    return {"1-1" if name.startswith("1-1") else name for name in names}


@pytest.mark.parametrize("seed", range(6))
def test_one_level_is_never_on_both_sides(seed, folder):
    data = make(folder, seed=seed)
    train = {part.source for part in data.train_samples.sections}
    kept = {part.source for part in data.held_out_samples.sections}
    assert train
    assert kept
    assert train | kept == set(range(5))
    assert not levels(data, train) & levels(data, kept)


def test_named_levels_are_held_out(folder):
    data = make(folder, val_levels=["1-1", "3-2"])
    kept = {data.game_names[part.source] for part in data.held_out_samples.sections}
    assert kept == {"1-1_a.avi", "1-1_b.avi", "play_3-2_win.avi"}


def test_level_that_no_file_shows_is_answered_with_those_that_there_are(folder):
    with pytest.raises(ValueError, match=r"level 8-4.*there are: 1-1, 2-1, 3-2"):
        make(folder, val_levels=["8-4"])
    with pytest.warns(UserWarning, match=r"level 8-4"):
        make(folder, val_levels=["8-4", "2-1"])


def test_one_file_is_split_in_time_without_a_shared_frame(tmp_path):
    data = make(write(tmp_path, {"a": 60}), stride=1)
    sides = [ready(data, data.train_dataloader()), ready(data, data.val_dataloader())]
    train, kept = ({int(i) for b in side for i in b["frame_index"].flatten()} for side in sides)
    assert max(train) < min(kept)
    assert 0.2 < len(kept) / 60 < 0.4
    assert train | kept == set(range(60))


def test_files_shorter_than_a_clip_are_left_out_by_name(folder):
    with pytest.warns(UserWarning, match=r"clip_length 17.*left out: free.avi, play_3-2_win.avi"):
        data = make(folder, clip_length=17, batch_size=1)
    parts = data.train_samples.sections + data.held_out_samples.sections
    assert {part.source for part in parts} == {0, 1, 2}
    with pytest.raises(ValueError, match=r"2-1_a.avi, has 23; set data.clip_length"):
        make(folder, clip_length=24)


def test_batch_larger_than_the_data_is_refused(folder):
    data = make(folder, batch_size=99)
    with pytest.raises(ValueError, match=r"batch_size 99.*set data.batch_size to"):
        data.train_dataloader()


def test_labels_go_with_their_frames(folder):
    rng = np.random.default_rng(0)
    saved = {}
    for name in ("1-1_a", "2-1_a"):
        saved[name] = {
            "action": rng.integers(0, 256, LENGTHS[name]).astype(np.uint8),
            "ram": rng.integers(0, 256, (LENGTHS[name], 2048)).astype(np.uint8),
        }
        np.savez(folder / f"{name}.labels.npz", **saved[name])
    np.savez(folder / "1-1_b.labels.npz", action=np.zeros(3, np.uint8))
    (folder / "free.labels.npz").write_text("no labels")
    with pytest.warns(UserWarning) as caught:
        data = make(folder, val_fraction=0, batch_size=1, state="ram")
    told = " ".join(str(warning.message) for warning in caught)
    assert "1-1_b.avi are left out: they are of 3 frames, the recording has 17" in told
    assert "free.labels.npz cannot be read" in told
    for batch in ready(data, data.train_dataloader()):
        name = data.game_names[batch["source"]].removesuffix(".avi")
        index = batch["frame_index"][0]
        known = name in saved
        assert batch["state_mask"].all() if known else not batch["state_mask"].any()
        action = torch.from_numpy(saved[name]["action"]).long()[index] if known else index * 0 - 1
        assert torch.equal(batch["action"][0], action)
        ram = saved[name]["ram"][index] / np.float32(255) if known else np.zeros((4, 2048))
        np.testing.assert_allclose(batch["state"][0], ram, rtol=1e-6)


def test_frames_before_damage_keep_their_labels(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (30, *SIZE, 3)).astype(np.uint8)
    file = tmp_path / "cut.avi"
    write_video(file, noise, fps=30)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    np.savez(tmp_path / "cut.labels.npz", action=np.arange(30, dtype=np.uint8))
    with pytest.warns(UserWarning, match=r"cut.avi"):
        data = make(tmp_path, val_fraction=0, batch_size=1)
    batches = ready(data, data.train_dataloader())
    assert len(batches) >= 3
    for batch in batches:
        assert torch.equal(batch["action"], batch["frame_index"])
        shown = batch["video"][0].permute(1, 2, 3, 0).numpy()
        assert np.array_equal(shown, noise[batch["frame_index"][0]])


def test_state_of_mario_has_one_width_whatever_is_labelled(folder):
    memory = np.zeros((LENGTHS["2-1_a"], 2048), np.uint8)
    np.savez(folder / "2-1_a.labels.npz", action=memory[:, 0], ram=memory)
    data = make(folder, val_fraction=0, state="mario")
    batches = ready(data, data.train_dataloader())
    assert len({batch["state"].shape for batch in batches}) == 1
    assert batches[0]["state"].dtype == torch.float32
    with pytest.raises(ValueError, match=r"no recording has labels for state mario"):
        (folder / "2-1_a.labels.npz").unlink()
        make(folder, val_fraction=0, state="mario")


def test_states_of_another_width_than_the_first_are_left_out(folder):
    for name, width in {"1-1_a": 128, "2-1_a": 2048, "free": 128}.items():
        memory = np.ones((LENGTHS[name], width), np.uint8)
        np.savez(folder / f"{name}.labels.npz", action=memory[:, 0], ram=memory)
    with pytest.warns(UserWarning, match=r"2-1_a.avi is left out: it has 2048 entries.* 128"):
        data = make(folder, val_fraction=0, state="ram")
    known = {p.source for p in data.train_samples.sections if p.state is not None}
    assert known == {0, 3}
    assert len(ready(data, data.train_dataloader())[0]["state"][0, 0]) == 128


def test_frames_with_game_state_are_their_own_labels(tmp_path):
    rng = np.random.default_rng(0)
    episode = Episode("me", "s1", 1, "1-1", WIN)
    folder = tmp_path / episode.folder
    folder.mkdir()
    memory = rng.integers(0, 256, (12, 2048)).astype(np.uint8)
    palette = np.repeat(5 * np.arange(256)[:, None], 3, 1).astype(np.uint8)
    for number, ram in enumerate(memory, start=1):
        picture = np.full(SIZE, number, np.uint8)
        frame = SmbFrame(picture, palette, ram, 3 * number, WIN)
        write_frame(folder / episode.file(number, 3 * number, datetime(2026, 1, 1)), frame)
    (recording,) = open_recordings(tmp_path)
    labels = read_labels(recording)
    assert np.array_equal(labels.ram, memory)
    assert labels.action.tolist() == [3 * number for number in range(1, 13)]
    assert np.array_equal(state_of(labels, "mario"), mario_state(memory))
    data = make(tmp_path, state="mario", val_fraction=0)
    for batch in ready(data, data.train_dataloader()):
        number = batch["frame_index"] + 1
        assert torch.equal(batch["action"], 3 * number)
        assert torch.equal(batch["video"][:, 0, :, 0, 0], 5 * number.byte())
        assert torch.equal(batch["state"], torch.from_numpy(mario_state(memory))[number - 1])


def test_one_rank_goes_on_where_two_ranks_stopped(folder, stored):
    alone = make(folder, batch_size=4)
    whole = ready(alone, alone.train_dataloader())
    ranks = [as_rank(make(folder, batch_size=2), rank, 2) for rank in range(2)]
    parts = [list(data.train_dataloader())[:2] for data in ranks]
    data = make(folder, batch_size=4)
    data.resume_from(stored([part[-1]["position"] for part in parts]))
    assert clips_of(ready(data, data.train_dataloader()))[: 4 * 2] == clips_of(whole[2:4])


def test_position_of_other_files_begins_a_new_pass(folder):
    data = make(folder, batch_size=1)
    position = next(iter(data.train_dataloader()))["position"]
    (folder / "2-1_a.avi").unlink()
    fewer = make(folder, batch_size=1)
    fewer.resume_from(position)
    with pytest.warns(UserWarning, match=r"a new pass through all of them begins"):
        batches = ready(fewer, fewer.train_dataloader())
    assert int(batches[0]["sample"]) == 1
    assert len(set(clips_of(batches))) == len(fewer.train_samples)


def test_palette_and_rgb_files_share_a_batch(tmp_path):
    write(tmp_path, {"few": 8})
    noise = np.random.default_rng(0).integers(0, 256, (8, *SIZE, 3)).astype(np.uint8)
    write_video(tmp_path / "many.avi", noise, fps=30)
    data = make(tmp_path, batch_size=4, val_fraction=0)
    (batch,) = ready(data, data.train_dataloader())
    assert set(batch["source"].tolist()) == {0, 1}
    for video, source, index in zip(
        batch["video"], batch["source"], batch["frame_index"], strict=True
    ):
        shown = video.permute(1, 2, 3, 0).numpy()
        few = np.broadcast_to(index.numpy()[:, None, None, None], shown.shape)
        assert np.array_equal(shown, noise[index] if source else few)
