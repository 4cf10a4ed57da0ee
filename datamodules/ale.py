"""Games played live: Atari by its emulator, any other gymnasium environment that renders."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.base import IterableDataModule
from datamodules.streams.chunks import Frame, Snapshot, Source, StreamError, StreamSet
from datamodules.streams.environments import Environment, Policy, open_game, random_policy
from datamodules.streams.games import EMULATOR, PLAY, Playlist, generator, playlist, rng_state


class Rules(NamedTuple):
    """How streams are played; see `AleStreamDataModule`."""

    games: Playlist
    frame_skip: int = 4
    sticky: float = 0.25
    switch_every: int | None = None
    policy: Policy = random_policy
    max_restarts: int = 5


class Counters(NamedTuple):
    """Where a stream of play stands between two frames, besides its environment and RNG."""

    turn: int = 0
    turn_frames: int = 0
    restarts: int = 0
    episode: int = -1
    frame_index: int = 0
    over: bool = True


class Play(Source):
    """One stream: episode after episode, game after game, past environments that die.

    Args:
        index: global index of the stream.
        seed: seed of the play.
        rules: how it is played.
        snapshot: where to go on; None or an empty one begins.
    """

    def __init__(self, index: int, seed: int, rules: Rules, snapshot: Snapshot | None) -> None:
        super().__init__()
        self.index, self.seed, self.rules = index, seed, rules
        self.at = Counters()
        self.rng = generator(seed, PLAY, index)
        self.env: Environment | None = None
        self._colours: dict[str, NDArray[np.uint8]] = {}
        if snapshot:
            self._go_to(snapshot)

    def _go_to(self, snapshot: Snapshot) -> None:
        self.at = Counters(**snapshot.get("counters", {}))
        game = self.rules.games.game(self.index, self.at.turn).name
        if snapshot.get("game") != game:
            raise StreamError(
                f"stream {self.index} was at {snapshot.get('game')} and data.games gives {game}; "
                "resume with the data that the run was saved with"
            )
        self.rng.bit_generator.state = snapshot["policy_rng"]
        try:
            self._open().restore(snapshot, self.rules.policy)
        except Exception as error:
            self._restart(error)

    @property
    def palette(self) -> NDArray[np.int32] | None:
        """Colours of the game in play."""
        return self.env.palette if self.env else None

    @property
    def uniform(self) -> int | None:
        """Frames until the game changes, and with it perhaps size and palette."""
        every = self.rules.switch_every
        return every and (every - self.at.turn_frames or every)

    def next(self, remember: bool = False) -> Frame:
        """Plays one frame; an environment that raises is replaced and begins an episode.

        Raises:
            StreamError: if environments died more often than the rules allow.
        """
        if self.at.turn_frames == self.rules.switch_every:
            self.close()
            self.at = self.at._replace(turn=self.at.turn + 1, turn_frames=0, over=True)
        while True:
            start, action, over = self.at.over, 0, False
            if not start and self.env is not None:
                action = self.rules.policy(self.env.screen, self.env.actions, self.rng)
            try:
                env = self.env or self._open()
                if start:
                    env.reset(self.rng, remember)
                else:
                    over = env.step(action, self.rng, remember)
                break
            except Exception as error:
                self._restart(error)
        self.at = self.at._replace(
            turn_frames=self.at.turn_frames + 1,
            episode=self.at.episode + start,
            frame_index=0 if start else self.at.frame_index + 1,
            over=over,
        )
        return Frame(env.screen, action, start, self.at.episode, self.at.frame_index, env.seconds)

    def _open(self) -> Environment:
        rules, turn, restarts = self.rules, self.at.turn, self.at.restarts
        seed = generator(self.seed, EMULATOR, self.index, turn, restarts).integers(2**31)
        game = rules.games.game(self.index, turn)
        # One table a game: frames that were played before an environment died need its colours.
        colours = self._colours.setdefault(game.name, np.zeros((256, 4), np.uint8))
        self.env = open_game(game, int(seed), rules.frame_skip, rules.sticky, colours)
        return self.env

    def _restart(self, error: Exception) -> None:
        self.close()
        self.at = self.at._replace(restarts=self.at.restarts + 1, over=True)
        game = self.rules.games.game(self.index, self.at.turn).name
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if self.at.restarts > self.rules.max_restarts:
            raise StreamError(
                f"{game} of stream {self.index} died {self.at.restarts} times, last by {reason}; "
                "mend the environment or raise data.max_restarts"
            ) from error
        self.notes.append(
            f"{game} of stream {self.index} died by {reason}; it begins a new episode "
            f"(restart {self.at.restarts} of {self.rules.max_restarts})"
        )

    def snapshot(self) -> Snapshot:
        """Everything the next frame depends on; empty before the first."""
        if self.env is None:
            return {}
        game = self.rules.games.game(self.index, self.at.turn).name
        own = {"game": game, "counters": self.at._asdict(), "policy_rng": rng_state(self.rng)}
        return {**own, **self.env.snapshot()}

    def close(self) -> None:
        """Closes the environment, whatever state it is in."""
        env, self.env = self.env, None
        if env is not None:
            with suppress(Exception):  # one that has died may well fail at this too
                env.close()


class AleStream(StreamSet):
    """Streams of play with these global indices.

    Args:
        indices: global index of each stream.
        seed: seed of the play.
        rules: how they are played.
        chunk: frames of a stream an item.
        position: where to go on; None begins.
    """

    def __init__(
        self,
        indices: Sequence[int],
        seed: int,
        rules: Rules,
        chunk: int = 64,
        position: Any = None,
    ) -> None:
        super().__init__(indices, chunk, position)
        self.seed, self.rules = seed, rules

    def open(self, index: int, snapshot: Snapshot | None) -> Play:
        """Begins or goes on with one stream."""
        return Play(index, self.seed, self.rules, snapshot)


class AleStreamDataModule(IterableDataModule):
    """Games played live by a policy, one frame of each stream a batch; see `IterableDataModule`.

    Atari games come with ale-py and play by the rules of gymnasium's v5 ids (minimal action set,
    sticky actions, no max-pooling). `action` is the index that the policy chose for the frame,
    sticky or not, 0 at the start of an episode; `seconds` counts emulated frames at 60 a second.
    Any other gymnasium id that renders `rgb_array` works alike, without sticky actions; a space
    that is not discrete is sampled, and `action` is then the seed of the sample.

    Args:
        games: a name (`Breakout`, `ALE/Breakout-v5`, `CartPole-v1`), a list of names of which
            stream i begins with the i-th, or `random`: each stream draws one of five.
        size: height and width of the frames.
        streams: parallel streams a process, which is the batch size.
        num_workers: worker processes that play the streams; 0 plays them in the training process.
        frame_skip: emulated frames a frame, at least 1.
        seed: seed of the play, at least 0.
        switch_every: frames after which a stream moves on to its next game; null stays.
        sticky: probability that an emulated frame repeats the previous action, in [0, 1).
        policy: function of (native frame, number of actions, `numpy.random.Generator`) to the
            index of an action; it must depend on nothing else. null plays at random.
        chunk: frames of a stream that a worker hands over at once.
        max_restarts: how often an environment or the worker processes may die.
    """

    def __init__(
        self,
        games: str | list[str] = "Breakout",
        size: tuple[int, int] = (224, 224),
        streams: int = 1,
        num_workers: int = 0,
        frame_skip: int = 4,
        seed: int = 0,
        switch_every: int | None = None,
        sticky: float = 0.25,
        policy: Policy | None = None,
        chunk: int = 64,
        max_restarts: int = 5,
    ) -> None:
        super().__init__(size, streams, num_workers, seed, chunk, max_restarts)
        for name, frames in (("frame_skip", frame_skip), ("switch_every", switch_every)):
            if frames is not None and frames < 1:
                raise ValueError(f"{name} {frames} is too small; set data.{name} to 1 or more")
        if not 0 <= sticky < 1:
            raise ValueError(f"sticky {sticky} is no probability below 1; set data.sticky to 0.25")
        self.games = playlist(games, seed)
        self.rules = Rules(
            self.games, frame_skip, sticky, switch_every, policy or random_policy, max_restarts
        )

    @property
    def game_names(self) -> list[str]:
        """The first game of each of this rank's streams."""
        return [self.games.game(index, turn=0).name for index in self.indices]

    def stream_set(self, indices: Sequence[int], seed: int, position: Any) -> AleStream:
        """Play of these streams."""
        return AleStream(indices, seed, self.rules, self.chunk, position)
