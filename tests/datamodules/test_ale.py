"""What a stream of play shows, and that it goes on when a game or a process dies."""

from __future__ import annotations

import logging
import multiprocessing
import time

import numpy as np
import pytest
import torch
from ale_py import ALEInterface, LoggerMode, roms

from datamodules import AleStreamDataModule
from datamodules.streams.chunks import StreamError
from datamodules.streams.environments import AtariGame
from datamodules.streams.games import DEFAULT_GAMES, EMULATOR, ale_games, find_game, generator


def atari() -> AtariGame:
    return AtariGame("breakout", 0, 4, 0.25, np.zeros((256, 4), np.uint8))


@pytest.mark.parametrize("game", DEFAULT_GAMES)
def test_frame_is_the_emulators_own_picture(game, read):
    """Oracle: another emulator with the same seed, driven by the actions that were handed out."""
    seed = int(generator(5, EMULATOR, 0, 0, 0).integers(2**31))
    ALEInterface.setLoggerMode(LoggerMode.Error)
    ale = ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(str(roms.get_rom_path(ale_games()[game])))
    size = ale.getScreenDims()
    for batch in read(AleStreamDataModule(game, size=size, seed=5, sticky=0.0), 60):
        if batch["episode_start"]:
            ale.reset_game()
            begun = ale.getEpisodeFrameNumber()  # some games play a few frames to begin with
        else:
            for _ in range(4):
                ale.act(ale.getMinimalActionSet()[batch["action"].item()])
        assert np.array_equal(batch["frame"][0].permute(1, 2, 0), ale.getScreenRGB())
        assert batch["seconds"].item() == (ale.getEpisodeFrameNumber() - begun) / 60


def test_batch_keeps_the_contract(read):
    batch = read(AleStreamDataModule("Pacman", streams=3, size=(40, 56)), 2)[1]
    assert batch["frame"].shape == (3, 3, 40, 56)
    assert batch["frame"].is_contiguous()
    types = {name: batch[name].dtype for name in batch if name != "position"}
    assert types == {
        "frame": torch.uint8,
        "action": torch.int64,
        "episode_start": torch.bool,
        "source": torch.int64,
        "frame_index": torch.int64,
        "seconds": torch.float64,
    }
    assert batch["frame_index"].tolist() == [1, 1, 1]
    assert torch.allclose(batch["seconds"], torch.tensor(4 / 60, dtype=torch.float64))


def test_a_quarter_of_emulated_frames_repeats_the_action_before():
    game = atari()
    rng = generator(0, 1)
    game.reset(rng)
    executed, chosen, play = [], [], game._play
    game._play = lambda action: (executed.append(action), play(action))
    for step in range(1000):  # an action that is never the one executed before, unless it sticks
        chosen += [game._action_set[2 + step % 2]] * 4
        if game.step(2 + step % 2, rng):
            game.reset(rng)
            executed.pop()
            del chosen[len(executed) :]
    previous = [0, *executed[:-1]]
    could = [i for i in range(len(chosen)) if chosen[i] != previous[i]]
    sticks = [executed[i] == previous[i] for i in could]
    assert all(executed[i] in (previous[i], chosen[i]) for i in range(len(chosen)))
    assert np.mean(sticks) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / len(sticks)) ** 0.5)


def test_random_play_chooses_each_action_alike(read):
    batches = read(AleStreamDataModule("Breakout", streams=4, size=(8, 8)), 500)
    played = torch.cat([b["action"][~b["episode_start"]] for b in batches])
    assert torch.allclose(torch.bincount(played) / len(played), torch.tensor(0.25), atol=0.04)


def test_stream_moves_on_to_the_next_game_and_back(read, equal, stored):
    options = {"games": ["Breakout", "Pacman"], "switch_every": 10, "streams": 2, "size": (30, 30)}
    whole = read(AleStreamDataModule(**options, chunk=7), 35)
    starts = [i for i, batch in enumerate(whole) if batch["episode_start"].all()]
    assert starts == [0, 10, 20, 30]
    colours = [[int(b["frame"][i].float().mean()) for b in whole[2:30:10]] for i in range(2)]
    assert colours[0][0] == colours[0][2] == colours[1][1]  # Breakout begins alike each time
    assert colours[1][0] == colours[1][2] == colours[0][1]  # and so does Pacman
    assert colours[0][0] != colours[0][1]
    for cut in (9, 10, 11, 17):
        resumed = AleStreamDataModule(**options, chunk=7, num_workers=2)
        resumed.resume_from(stored(whole[cut - 1]["position"]))
        assert equal(read(resumed, 35 - cut), whole[cut:]), cut


def test_each_game_shows_its_own_colours_around_a_switch(read):
    options = {"games": ["Breakout", "Pacman"], "switch_every": 10, "size": (50, 40)}
    mixed = read(AleStreamDataModule(**options, chunk=64), 20)
    single = read(AleStreamDataModule("Breakout", size=(50, 40), chunk=64), 10)
    assert all(m["frame"].equal(s["frame"]) for m, s in zip(mixed, single, strict=False))


def test_games_are_dealt_to_streams_in_turn_or_drawn_by_the_seed():
    dealt = AleStreamDataModule(["Breakout", "ALE/Pacman-v5"], streams=3)
    assert dealt.game_names == ["Breakout", "Pacman", "Breakout"]
    drawn = [AleStreamDataModule("random", streams=40, seed=s).game_names for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == set(DEFAULT_GAMES)


@pytest.mark.parametrize(
    "name", ["SpaceInvaders", "ALE/SpaceInvaders-v5", "space_invaders", "SpaceInvaders-v4"]
)
def test_a_game_has_several_names(name):
    assert find_game(name) == ("SpaceInvaders", "space_invaders")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Brekout", "did you mean Breakout"),
        ("ALE/SpaceInvader-v5", "SpaceInvaders"),
        ("CartPole-v9x", "CartPole"),
        ("Combat", "cannot play Combat"),  # a game for two, whose ROM ends the process
        ("zzz", "such as Breakout"),
    ],
)
def test_unknown_game_is_one_line_with_close_matches(name, hint):
    with pytest.raises(ValueError, match=hint) as caught:
        AleStreamDataModule(name)
    assert name.split("-")[0].removeprefix("ALE/") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_any_environment_that_renders_is_a_stream(read):
    batches = read(AleStreamDataModule("Walker-v0", frame_skip=1, size=(24, 32)), 25)
    assert [i for i, b in enumerate(batches) if b["episode_start"]] == [0, 10, 20]
    assert {int(b["frame"].max()) for b in batches} == {255}
    assert batches[13]["seconds"].item() == 3 / 20
    assert batches[13]["frame_index"].item() == 3
    assert batches[13]["source"].item() == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_environment_that_dies_is_replaced_then_given_up(workers, read, caplog):
    options = {"frame_skip": 1, "size": (8, 8), "num_workers": workers, "chunk": 1}
    with caplog.at_level(logging.WARNING):
        batches = read(AleStreamDataModule("Mortal-v0", **options), 7)
    assert [b["frame_index"].item() for b in batches] == [0, 1, 2, 0, 1, 2, 0]
    assert sum("died by RuntimeError: the game crashed" in line for line in caplog.messages) == 2
    with pytest.raises(StreamError, match="Mortal-v0 of stream 0 died 3 times") as caught:
        read(AleStreamDataModule("Mortal-v0", **options, max_restarts=2), 20)
    assert "\n" not in str(caught.value)


def test_worker_that_is_killed_costs_no_frame(five_games, read, equal, caplog):
    whole = read(five_games(chunk=4), 40)
    data = five_games(chunk=4, num_workers=2)
    others = multiprocessing.active_children()
    stream = iter(data.train_dataloader())
    batches = [next(stream) for _ in range(10)]
    next(child for child in multiprocessing.active_children() if child not in others).kill()
    time.sleep(0.3)  # in the middle of a training step nothing must be raised
    batches += [next(stream) for _ in range(30)]
    assert equal([data.on_after_batch_transfer(b, 0) for b in batches], whole)
    assert sum("a worker process died" in line for line in caplog.messages) == 1


def test_workers_that_die_again_and_again_are_an_error(five_games):
    data = five_games(chunk=4, num_workers=1, max_restarts=0)
    others = multiprocessing.active_children()
    stream = iter(data.train_dataloader())
    next(stream)
    next(child for child in multiprocessing.active_children() if child not in others).kill()
    with pytest.raises(StreamError, match=r"died 1 times.*lower data.chunk"):
        for _ in range(100):
            next(stream)


def test_emulator_says_nothing(capfd):
    atari().reset(generator(0, 1))
    assert capfd.readouterr() == ("", "")
