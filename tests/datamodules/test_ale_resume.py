"""A stream of play is a function of (seed, stream index), wherever it is cut and whoever plays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import datamodules.streams.environments
from datamodules import AleStreamDataModule
from datamodules.streams.chunks import StreamError

CHUNK = 16


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_equals_uninterrupted_for_all_five_games(
    workers, monkeypatch, five_games, read, equal, stored
):
    # Short episodes, so that every game ends and begins some within the test.
    monkeypatch.setattr(datamodules.streams.environments, "MAX_EPISODE_FRAMES", 120)
    whole = read(five_games(chunk=CHUNK), 150)
    starts = sum(batch["episode_start"].int() for batch in whole)
    assert (starts >= 3).all()
    cuts = [1, CHUNK - 1, CHUNK, CHUNK + 1, *np.random.default_rng(workers).integers(2, 130, 3)]
    for cut in cuts:
        resumed = five_games(chunk=CHUNK, num_workers=workers)
        resumed.resume_from(stored(whole[cut - 1]["position"]))
        assert equal(read(resumed, 20), whole[cut : cut + 20]), cut


def test_resume_of_a_resumed_run_is_exact_with_another_number_of_workers(
    five_games, read, equal, stored
):
    whole = read(five_games(chunk=CHUNK), 60)
    position = None
    for begin, end, workers in ((0, 7, 2), (7, 30, 0), (30, 33, 1), (33, 60, 2)):
        part = five_games(chunk=CHUNK, num_workers=workers)
        part.resume_from(position)
        played = read(part, end - begin)
        assert equal(played, whole[begin:end]), begin
        position = stored(played[-1]["position"])


@pytest.mark.parametrize("game", ["Tetris", "Qbert", "YarsRevenge"])
def test_games_that_a_fresh_emulator_resumes_wrongly_resume_exactly(game, read, equal, stored):
    options = {"games": game, "size": (210, 160), "frame_skip": 1, "chunk": CHUNK}
    whole = read(AleStreamDataModule(**options), 150)
    for cut in (33, 61, 100):
        resumed = AleStreamDataModule(**options)
        resumed.resume_from(stored(whole[cut - 1]["position"]))
        assert equal(read(resumed, 40), whole[cut : cut + 40]), cut


def test_resume_through_games_ended_by_play(read, equal, stored):
    whole = read(AleStreamDataModule("Breakout", size=(42, 36), frame_skip=8), 400)
    ends = [i for i, batch in enumerate(whole) if batch["episode_start"] and i > 0]
    assert ends
    for cut in (ends[0] - 1, ends[0], ends[0] + 1):
        resumed = AleStreamDataModule("Breakout", size=(42, 36), frame_skip=8)
        resumed.resume_from(stored(whole[cut - 1]["position"]))
        assert equal(read(resumed, 30), whole[cut : cut + 30])


def eager(frame, actions, rng):
    """A policy that depends on what it sees."""
    return int(frame.astype(np.int64).sum() + rng.integers(2)) % actions


@pytest.mark.parametrize("game", ["Breakout", "Walker-v0", "FreeWalker-v0"])
@pytest.mark.parametrize("policy", [None, eager])
def test_resume_is_exact_for_any_policy_and_environment(game, policy, read, equal, stored):
    options = {"games": game, "policy": policy, "size": (42, 36), "chunk": 8, "frame_skip": 2}
    whole = read(AleStreamDataModule(**options), 40)
    for cut in (3, 8, 21):
        resumed = AleStreamDataModule(**options)
        resumed.resume_from(stored(whole[cut - 1]["position"]))
        assert equal(read(resumed, 15), whole[cut : cut + 15]), cut


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_content_does_not_depend_on_the_workers(workers, five_games, read, equal):
    alone = read(five_games(chunk=CHUNK), 40)
    assert equal(read(five_games(chunk=CHUNK, num_workers=workers), 40), alone)


def test_content_does_not_depend_on_the_chunk(five_games, read, equal):
    assert equal(read(five_games(chunk=7), 30), read(five_games(chunk=64), 30))


def test_two_ranks_show_what_one_rank_of_twice_the_streams_shows(read):
    one_rank = read(AleStreamDataModule("random", streams=4, size=(42, 36), chunk=8), 20)
    for rank in range(2):
        data = AleStreamDataModule("random", streams=2, size=(42, 36), chunk=8)
        data.trainer = SimpleNamespace(global_rank=rank, training=True)
        for batch, whole in zip(read(data, 20), one_rank, strict=True):
            assert batch["frame"].equal(whole["frame"][2 * rank : 2 * rank + 2])


def test_streams_of_one_game_and_other_seeds_play_differently(read):
    def actions(seed):
        played = read(AleStreamDataModule("Breakout", streams=2, size=(8, 8), seed=seed), 50)
        return [tuple(int(batch["action"][i]) for batch in played) for i in range(2)]

    assert len({*actions(0), *actions(1)}) == 4
    assert actions(0) == actions(0)


def test_position_is_small(read, stored):
    position = stored(read(AleStreamDataModule("Breakout", size=(8, 8)), 100)[-1]["position"])
    assert position["streams"][0]["state"].untyped_storage().nbytes() < 20_000


def test_raw_batches_stay_as_they_were_while_workers_go_on():
    data = AleStreamDataModule("Breakout", num_workers=1, chunk=4)
    stream = iter(data.train_dataloader())
    batches = [next(stream) for _ in range(40)]
    copies = [batch["frame"].clone() for batch in batches]
    for _ in range(40):
        next(stream)
    assert all(batch["frame"].equal(c) for batch, c in zip(batches, copies, strict=True))
    assert len({copy.sum().item() for copy in copies}) > 3


@pytest.mark.parametrize("workers", [0, 1])
def test_position_of_other_data_is_refused_in_one_line(workers, read):
    position = read(AleStreamDataModule("Breakout", size=(8, 8), chunk=4), 9)[-1]["position"]
    for options, reason in (
        ({"games": "Assault"}, "was at Breakout and data.games gives Assault"),
        ({"games": "Breakout", "streams": 2}, "not of stream 1"),
    ):
        data = AleStreamDataModule(**options, size=(8, 8), num_workers=workers)
        data.resume_from(position)
        with pytest.raises(StreamError, match=reason) as caught:
            read(data, 1)
        assert "\n" not in str(caught.value)
