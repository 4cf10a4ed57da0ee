"""The generator: what it learns, what it is told, how it samples."""

from typing import Any

import pytest
import torch

from lit_modules import LitFlowVideo
from lit_modules.base import unit
from lit_modules.flow.module import error

SMALL = {"size": (8, 8), "clip_length": 6, "widths": [16, 32], "depths": [1, 1], "time_dim": 16}


def make(**more: Any) -> LitFlowVideo:
    """A small module whose zero-initialised layers have weights, so that everything acts."""
    torch.manual_seed(0)
    module = LitFlowVideo(**{**SMALL, "known_frames": 2, "steps": 3, **more}).eval()
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    return module


def batch_of(samples: list[int]) -> dict[str, torch.Tensor]:
    """Clips that follow from their numbers."""
    generators = [torch.Generator().manual_seed(k) for k in samples]
    video = [torch.randint(0, 256, (3, 6, 8, 8), generator=g) for g in generators]
    action = [torch.randint(0, 256, (6,), generator=g) for g in generators]
    return {
        "video": torch.stack(video).to(torch.uint8),
        "action": torch.stack(action),
        "sample": torch.tensor(samples),
    }


def test_loss_of_a_batch_is_the_mean_of_its_halves() -> None:
    module = make(actions=True)
    whole = module.training_step(batch_of([0, 1, 2, 3]), 0)["loss"]
    halves = [module.training_step(batch_of(part), 0)["loss"] for part in ([0, 1], [2, 3])]
    torch.testing.assert_close(whole, sum(halves) / 2)
    assert halves[0] != halves[1]


def test_error_counts_unknown_frames_alone() -> None:
    prediction, target = torch.zeros(1, 3, 2, 4, 4), torch.ones(1, 3, 2, 4, 4)
    target[:, :, 0] = 9
    assert error(prediction, target, torch.tensor([[True, False]])).item() == 1
    assert error(prediction, target, torch.tensor([[False, False]])).item() == 41


def test_first_frames_and_conditions_are_drawn_at_the_shares_asked_for() -> None:
    module = make(actions=True, known_share=0.5, condition_dropout=0.25, known_frames=2)
    batch = {"action": torch.full((400, 6), 4)}
    video = torch.zeros(400, 3, 6, 8, 8)
    given = module.draw_given(batch, video, module.noise.generators(range(400)))
    counts = given.mask.sum(1).bincount(minlength=3) / 400
    assert counts.tolist() == pytest.approx([0.5, 0.25, 0.25], abs=0.08)
    assert (given.action == -1).all(1).float().mean().item() == pytest.approx(0.25, abs=0.08)


def test_network_that_predicts_the_clip_has_no_error() -> None:
    module = make(known_frames=0)
    video = torch.randn(2, 3, 6, 8, 8)
    t, noise = torch.tensor([0.3, 0.9]), torch.randn_like(video)
    x_t, velocity = module.path.sample(video, t, noise)
    module.net.forward = lambda *_: video  # type: ignore[method-assign]
    given = module.draw_given({}, video, module.noise.generators([0, 1]))
    torch.testing.assert_close(module.velocity(x_t, t, given), velocity, atol=1e-5, rtol=1e-5)


def test_same_seed_gives_the_same_bytes() -> None:
    module = make()
    one, same = (module.sample(2, seed=3).video for _ in range(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, module.sample(2, seed=4).video)


def test_clip_depends_on_its_number_and_not_on_its_neighbours() -> None:
    module = make()
    together = module.sample(3, seed=3, frames=14).video
    torch.testing.assert_close(module.sample(1, 3, first=2, frames=14).video, together[2:])


def test_longer_videos_go_on_from_their_last_frames() -> None:
    module, beginning = make(), torch.rand(1, 3, 2, 8, 8)
    video = module.sample(1, frames=21, first_frames=beginning).video
    assert video.shape == (1, 3, 21, 8, 8)
    assert torch.equal(video[:, :, :2], beginning)
    shorter = module.sample(1, frames=10, first_frames=beginning).video
    assert torch.equal(video[:, :, :10], shorter)


@pytest.mark.parametrize(
    ("frames", "known", "pieces"), [(6, 0, 1), (7, 0, 2), (14, 0, 3), (6, 2, 1), (10, 2, 2)]
)
def test_pieces_are_foreseen(frames: int, known: int, pieces: int) -> None:
    module, calls = make(), []
    first = torch.zeros(1, 3, known, 8, 8) if known else None
    samples = module.sample(1, frames=frames, first_frames=first, progress=lambda: calls.append(1))
    assert len(calls) == module.pieces(frames, first) == pieces
    assert samples.evaluations == pieces * 3 * 2


def test_actions_change_what_is_generated_and_guidance_how_much() -> None:
    module = make(actions=True)
    held = torch.full((1, 6), 4)
    unknown, followed, pushed = (
        module.sample(1, actions=actions, guidance=guidance).video
        for actions, guidance in ((None, 1.0), (held, 1.0), (held, 3.0))
    )
    assert (followed - unknown).abs().mean() < (pushed - unknown).abs().mean()
    assert not torch.equal(followed, unknown)
    assert torch.equal(module.sample(1, actions=held, guidance=0.0).video, unknown)


def test_state_changes_what_is_generated() -> None:
    module = make(state_dim=2)
    known = module.sample(1, state=torch.ones(1, 6, 2)).video
    assert not torch.equal(known, module.sample(1).video)


def test_model_that_knows_no_first_frames_says_so() -> None:
    with pytest.raises(ValueError, match=r"model\.known_frames"):
        make(known_frames=0).sample(1, frames=7)


def test_unit_inverts_scale() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    torch.testing.assert_close(unit(make().scale(pixels)) * 255, pixels.float())
