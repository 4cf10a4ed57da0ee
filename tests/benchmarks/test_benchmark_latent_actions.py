"""The table of latent actions: what counts as a boundary, what is held out, what codes tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("ruptures", reason="pip install -e .[peers]")

from benchmarks.latent_actions import facts, judge_baselines, judge_tokenizer, markdown
from benchmarks.latent_games import Play, share_out
from benchmarks.latent_segments import Measured, boundaries_of, code_changes
from lit_modules import LitMotionTokenizer
from lit_modules.latent_action import truth
from lit_modules.latent_action.baselines import recording_of
from lit_modules.latent_action.segmentation import Segment
from lit_modules.latent_action.truth import ACTIONS


def play(seed: int, steps: int = 240) -> Play:
    """A thing that stands, goes right, stands, goes left, each for 0.8 to 1.6 seconds."""
    rng = np.random.default_rng(seed)
    kinds = [ACTIONS.index(name) for name in ("still", "right", "still", "left")]
    actions = np.concatenate([[kinds[i % 4]] * rng.integers(16, 33) for i in range(20)])[:steps]
    edges = np.arange(steps + 1) / 20
    sign = (actions == ACTIONS.index("right")) * 1.0 - (actions == ACTIONS.index("left"))
    velocity = np.zeros((steps, 400, 2), np.float32)
    velocity[:, 200:280, 0] = 0.02 * sign[:, None]
    seen = recording_of(
        edges[:-1],
        np.asarray(np.abs(sign), np.float32),
        velocity,
        truth.boundaries(actions, edges),
    )
    return Play(Path(f"{seed}.avi"), seen, actions, edges, velocity, velocity[..., 0] > -1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained tokenizer whose codes are far enough apart to tell left, right and rest."""
    torch.manual_seed(0)
    module = LitMotionTokenizer(hidden_dim=16, depth=1, heads=2, codebook_size=16, code_length=4)
    module.net.to_code.weight.data *= 30
    saved = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "global_step": 0,
    }
    module.on_save_checkpoint(saved)
    torch.save(saved, path := tmp_path_factory.mktemp("tokenizer") / "model.ckpt")
    return path


@pytest.mark.slow
def test_figures_of_a_game_make_the_tables(checkpoint: Path) -> None:
    train, held_out = [play(0), play(1), play(2)], [play(10), play(11)]
    figures = {part: facts(own) for part, own in (("train", train), ("held_out", held_out))}
    assert figures["held_out"]["seconds"] == 24
    figures["boundaries"] = judge_baselines(train, held_out)
    found = judge_tokenizer(checkpoint, train, held_out)
    figures["seeds"] = {"0": found}
    assert found["segmenter_codes"]["boundary_f1_250ms"] > 0.6
    assert found["segmenter"]["boundary_f1_250ms"] > 0.6
    assert found["segmenter_fine"]["boundary_f1_100ms"] > 0.9  # the middle alone says when
    assert found["clusters"]["actions"] >= 2
    assert -1 <= found["clusters"]["ami"] <= 1
    assert found["probe"]["2"]["classes"] == 3
    assert 0 < found["usage"]["train"]["moving_perplexity_share"] <= 1
    rows = markdown({"Game": figures})
    assert sum(row.startswith(("| Game", "|  |")) for row in rows) == 7 + 3 + 2


def test_times_at_which_segments_meet_count_once_and_ends_of_the_video_do_not() -> None:
    def segment(start: float, end: float) -> Segment:
        return Segment(start, end, range(1), "quiet")

    own = play(0)
    found = boundaries_of([segment(0.0, 1.1), segment(1.1, 2.3), segment(5.0, 12.0)], own)
    assert found.tolist() == [1.1, 2.3, 5.0]


def test_change_of_code_is_where_the_newest_tokens_differ() -> None:
    own = play(0, steps=24)  # three windows of 16 steps, 4 apart
    vectors = np.zeros((3, 16, 2), np.float32)
    vectors[1, 12:] = 1  # steps 16 to 19
    vectors[2] = 1  # steps 20 to 23, and what the windows before have said already
    signal = code_changes(measured(own, vectors))
    assert np.flatnonzero(signal.frame_difference).tolist() == [16]
    assert signal.seconds.tolist() == own.edges[:-1].tolist()


def measured(own: Play, vectors: NDArray[np.float32]) -> Measured:
    shape = vectors.shape[:2]
    return Measured(own, 4, [], {}, np.zeros(shape, np.int64), vectors, np.ones(shape, bool))


def test_levels_are_on_one_side_only(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number, level in enumerate(["1-1", "1-1", "1-2", "1-3", "2-1", "2-2"]):
        for suffix in (".avi", ".labels.npz"):
            (source / f"{number:03d}_{level}_x{suffix}").touch()
    share_out(source, tmp_path / "game")
    parts = [
        {path.name.split("_")[1] for path in (tmp_path / "game" / part).glob("*.avi")}
        for part in ("train", "held_out")
    ]
    assert parts == [{"1-1", "1-3", "2-1"}, {"1-2", "2-2"}]
    with pytest.raises(FileNotFoundError, match="--mario"):
        share_out(tmp_path / "game/held_out", tmp_path / "other")
