"""What a generator is told: unknown is unknown, known frames come first."""

import torch

from lit_modules.flow.conditioning import UNKNOWN, Conditioning, Given


def clip_of(b: int = 2, t: int = 4, state_dim: int = 3) -> tuple[dict, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    batch = {
        "action": torch.randint(0, 256, (b, t), generator=g),
        "state": torch.randn(b, t, state_dim, generator=g),
        "state_mask": torch.ones(b, t, dtype=torch.bool),
    }
    return batch, torch.randn(b, 3, t, 8, 8, generator=g)


def test_dropped_condition_equals_one_that_was_never_given() -> None:
    batch, video = clip_of()
    embed = Conditioning(16, actions=True, state_dim=3)
    dropped = Given.of(batch, video, 3).without_condition(torch.tensor([True, False]))
    never, always = Given.of({}, video, 3), Given.of(batch, video, 3)
    assert torch.equal(embed(dropped)[0], embed(never)[0])
    assert torch.equal(embed(dropped)[1], embed(always)[1])


def test_every_action_has_an_embedding_of_its_own() -> None:
    torch.manual_seed(0)
    _, video = clip_of(1, 257)
    actions = torch.arange(UNKNOWN, 256)[None]
    embedded = Conditioning(16, True, 0)(Given.of({"action": actions}, video, 0))[0]
    assert len(embedded.unique(dim=0)) == 257


def test_first_frames_are_known_and_the_others_hidden() -> None:
    _, video = clip_of()
    given = Given.of({}, video, 0).with_first_frames(video, torch.tensor([0, 3]))
    assert given.mask.tolist() == [[False] * 4, [True, True, True, False]]
    assert not given.frames[0].any()
    assert torch.equal(given.frames[1, :, :3], video[1, :, :3])
    assert not given.frames[1, :, 3].any()
