"""Clips of frames with game state: repaired, exact, split by level, varied by sample number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_episodes import LEVELS, SIZE, in_text_mode, make, memory, picture, write_episodes
from numbered_clips import ready
from numbered_clips import write as write_videos
from test_clips import as_rank

from datamodules import SmbFrameDataModule
from datamodules.clip.augmentation import mirrored_buttons, mirrored_state, moved_state
from datamodules.ram_map import STATE_NAMES, mario_state
from datamodules.video_io import write_video

PARTS = ("video", "action", "state", "state_mask", "source", "frame_index", "seconds", "sample")
VARIED = {"flip": 0.5, "colour_jitter": 0.4}


@pytest.fixture
def folder(tmp_path):
    return write_episodes(tmp_path / "episodes")


def batches(data, side="train"):
    return ready(data, getattr(data, f"{side}_dataloader")())


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in PARTS
    )


def test_damaged_frames_give_the_very_batches_of_whole_ones(folder):
    whole = batches(make(folder))
    in_text_mode(folder)
    assert same(batches(make(folder)), whole)
    assert same(batches(make(folder, cache_dir=None)), whole)


def test_clip_shows_the_frames_that_it_names_with_their_state(folder):
    data = make(folder, random_crop=False)
    states = [moved_state(mario_state(memory(level, LEVELS[level])), 4, 4) for level in LEVELS]
    found = batches(data)
    assert len(found) == 7
    for batch in found:
        assert batch["video"].shape == (2, 3, 3, 24, 40)
        assert batch["state"].shape == (2, 3, len(STATE_NAMES))
        for k in range(2):
            index = batch["frame_index"][k].tolist()
            pictures = [palette[indices] for indices, palette in map(picture, index)]
            middle = np.stack(pictures)[:, 4:28, 4:44]
            assert np.array_equal(batch["video"][k].permute(1, 2, 3, 0), middle)
            state = states[int(batch["source"][k])][index]
            assert np.array_equal(batch["state"][k], state)
            assert batch["action"][k].tolist() == [(32, 4, 148)[i % 3] for i in index]
            assert batch["state_mask"][k].all()


@pytest.mark.parametrize(
    ("every", "frame_step", "fps", "expected"),
    [(1, 2, 30, [0, 4, 8]), (2, 2, 30, [0, 2, 4]), (2, 1, 30, [0, 1, 2]), (1, 1, 60, [0, 1, 2])],
)
def test_frame_step_is_two_at_30_and_four_at_60_frames_a_second(
    every, frame_step, fps, expected, tmp_path
):
    folder = write_episodes(tmp_path / "episodes", every)
    found = batches(make(folder, frame_step=frame_step, fps=fps))
    first = [b["frame_index"][k] for b in found for k in range(2) if b["frame_index"][k, 0] == 0]
    assert [index.tolist() for index in first] == [expected] * len(first)
    assert first
    steps = torch.cat([batch["seconds"] for batch in found]).diff()
    torch.testing.assert_close(steps, torch.full_like(steps, frame_step / fps))


@pytest.mark.parametrize("size", [(24, 40), (48, 64), (24, 64)])
def test_colours_are_those_of_the_game_and_black(size, folder):
    found = batches(make(folder, size=size))
    shown = {
        tuple(c) for b in found for c in b["video"].permute(0, 2, 3, 4, 1).reshape(-1, 3).tolist()
    }
    game = {tuple(c) for c in picture(0)[1][:14].tolist()}
    assert shown <= game | ({(0, 0, 0)} if size != (24, 40) else set())


def test_looks_depend_on_the_sample_not_on_ranks_workers_or_resume(folder):
    whole = batches(make(folder, batch_size=4, **VARIED))
    assert same(batches(make(folder, batch_size=4, num_workers=2, **VARIED)), whole)
    ranks = [as_rank(make(folder, batch_size=2, **VARIED), rank, 2) for rank in range(2)]
    for one, two, both in zip(*map(batches, ranks), whole, strict=True):
        for name in PARTS:
            assert torch.equal(torch.cat([one[name], two[name]]), both[name])
    resumed = make(folder, batch_size=4, **VARIED)
    resumed.resume_from(whole[0]["position"])
    assert same(batches(resumed)[: len(whole) - 1], whole[1:])
    assert len(whole) > 2
    assert not same(batches(make(folder, batch_size=4, **VARIED | {"flip": 0})), whole)


def test_mirrored_clips_swap_left_and_right_everywhere(folder):
    plain, turned = (batches(make(folder, random_crop=False, flip=p)) for p in (0, 1))
    for one, other in zip(plain, turned, strict=True):
        assert torch.equal(other["video"], one["video"].flip(4))
        assert np.array_equal(other["action"], mirrored_buttons(one["action"].numpy()))
        for state, expected in zip(other["state"], one["state"], strict=True):
            assert np.array_equal(state, mirrored_state(expected.numpy(), one["video"].shape[4]))
        assert torch.equal(other["frame_index"], one["frame_index"])


def test_held_out_clips_are_the_middle_as_it_is(folder):
    varied = make(folder, val_levels="4-2", **VARIED)
    plain = make(folder, val_levels="4-2", random_crop=False)
    for side in ("val", "test", "predict"):
        assert same(batches(varied, side), batches(plain, side))
    assert len(batches(plain, "val")) == 3


@pytest.mark.parametrize("seed", range(4))
def test_a_level_is_never_on_both_sides(seed, tmp_path):
    folder = write_episodes(tmp_path / "episodes")
    write_episodes(folder / "again")
    data = make(folder, val_fraction=0.3, seed=seed)
    sides = [
        {data.game_names[part.source].split("_")[-2] for part in clips.sections}
        for clips in (data.train_samples, data.held_out_samples)
    ]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == set(LEVELS)


def test_nothing_is_held_out_of_one_level(folder):
    for path in folder.iterdir():
        if "_1-2_" not in path.name:
            path.rename(folder.with_name(path.name))
    with pytest.warns(UserWarning, match=r"show level 1-2: nothing is held out"):
        data = make(folder, val_fraction=0.5)
    assert data.val_dataloader() == []
    assert len(data.train_samples) == LEVELS["1-2"] // 4 - 1


def test_frames_beyond_repair_are_left_out_with_their_reason(folder):
    bad = sorted(folder.rglob("*_1-2_f9_*.png"))[0]
    bad.write_bytes(bad.read_bytes()[:-500])
    with pytest.warns(UserWarning, match=r"29 good frames are used: me.*_f9_.*beyond what text"):
        data = make(folder)
    ((path, reason),) = data.recordings.quarantined
    assert path == bad.parent
    assert bad.name in reason
    for batch in batches(data):
        for source, index in zip(batch["source"], batch["frame_index"], strict=True):
            if "1-2" in data.game_names[source]:
                assert not index[0] <= 8 <= index[-1]
    with pytest.raises(ValueError, match=r"beyond what text mode does"):
        make(folder, strict=True)


def labelled(folder, width):
    """Videos, one of them with a memory of so many bytes a frame."""
    write_videos(folder, {"a": 20, "b": 20})
    ram = np.random.default_rng(0).integers(0, 256, (20, width)).astype(np.uint8)
    np.savez(folder / "a.labels.npz", action=ram[:, 0], ram=ram)
    return ram


@pytest.mark.parametrize(("state", "width"), [("ram", 128), ("mario", 2048)])
def test_state_comes_from_beside_a_video_too(state, width, tmp_path):
    ram = labelled(tmp_path, width)
    data = make(tmp_path, state=state)
    # Videos of 8x16 in a window of 24x40: 8 and 12 pixels of black above and to the left.
    known = ram / np.float32(255) if state == "ram" else moved_state(mario_state(ram), -8, -12)
    for batch in batches(data):
        for k, source in enumerate(batch["source"]):
            expected = known[batch["frame_index"][k]] * np.float32(source == 0)
            assert np.array_equal(batch["state"][k], expected)
            assert (batch["state_mask"][k] == (source == 0)).all()


def test_plain_videos_have_a_state_that_is_masked(tmp_path):
    write_videos(tmp_path, {"a": 20, "b": 20})
    with pytest.warns(UserWarning, match=r"no recording in .* has labels of Super Mario"):
        data = make(tmp_path, flip=1.0)
    for batch in batches(data):
        assert batch["state"].shape == (2, 3, len(STATE_NAMES))
        assert not batch["state"].any()
        assert not batch["state_mask"].any()
        assert (batch["action"] == -1).all()


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"frame_step": 0}, r"frame_step 0 .*set data.frame_step to 1"),
        ({"flip": 1.5}, r"flip 1.5 is not in \[0, 1\]; set data.flip"),
        ({"colour_jitter": -1.0}, r"colour_jitter -1.0 .*set data.colour_jitter"),
        ({"flip": 0.5, "state": "ram"}, r"state ram; set data.flip to 0"),
        ({"size": (0, 4)}, r"size \(0, 4\)"),
    ],
)
def test_wrong_values_are_answered_with_the_remedy(options, remedy):
    with pytest.raises(ValueError, match=remedy):
        SmbFrameDataModule(**options)


def test_a_window_of_the_default_size_and_length_is_given(tmp_path):
    frames = [np.full((*SIZE, 3), i, np.uint8) for i in range(31)]
    write_video(tmp_path / "a.avi", frames, fps=30)
    options = {"cache_dir": None, "batch_size": 1, "state": "none", "val_fraction": 0}
    data = SmbFrameDataModule(str(tmp_path), **options)
    data.setup("fit")
    (batch,) = batches(data)
    assert batch["video"].shape == (1, 3, 16, 224, 224)
    assert batch["frame_index"].tolist() == [list(range(0, 31, 2))]
