"""LitMaskedAutoencoder: what it learns from, what it restores, what its optimizer decays."""

from typing import Any

import pytest
import torch

from lit_modules import LitMaskedAutoencoder

SMALL = {
    "dims": (16, 24, 32, 40),
    "depths": (1, 1, 1, 1),
    "decoder_dim": 32,
    "decoder_depth": 1,
    "patch": 2,
    "size": (48, 32),
    "clip_length": 4,
    "state_dim": 3,
}


def make(progress: float = 0.5, act: bool = True, **more: Any) -> LitMaskedAutoencoder:
    """A small module; where it is to act, all its layers have weights from the start."""
    torch.manual_seed(0)
    module = type("Halfway", (LitMaskedAutoencoder,), {"progress": progress})(**(SMALL | more))
    for name, parameter in module.named_parameters():
        if act and parameter.ndim > 1 and "share" not in name:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    module.log = module.log_dict = lambda *args, **kwargs: None
    return module.eval()


def batch_of(samples: list[int]) -> dict[str, torch.Tensor]:
    """Clips that follow from their numbers."""
    generators = [torch.Generator().manual_seed(k) for k in samples]
    video = [torch.randint(0, 256, (3, 4, 48, 32), generator=g) for g in generators]
    return {
        "video": torch.stack(video).to(torch.uint8),
        "state": torch.stack([torch.randn(4, 3, generator=g) for g in generators]),
        "state_mask": torch.ones(len(samples), 4, dtype=torch.bool),
        "sample": torch.tensor(samples),
    }


@pytest.mark.parametrize("progress", [0.1, 0.5, 0.9])
def test_loss_of_a_batch_is_the_mean_of_its_halves(progress: float) -> None:
    module = make(progress, state_dropout=0.5, mask_ratio=0.5)
    whole = module.training_step(batch_of([0, 1, 2, 3]), 0)["loss"]
    halves = [module.training_step(batch_of(part), 0)["loss"] for part in ([0, 1], [2, 3])]
    torch.testing.assert_close(whole, sum(halves) / 2)
    assert halves[0] != halves[1]


def test_loss_is_the_weighted_sum_of_what_is_logged() -> None:
    module, logged = make(mask_ratio=0.5, loss_weights={"spatial": 0.7}), {}
    module.log_dict = lambda values, **kwargs: logged.update(values)
    loss = module.training_step(batch_of([0, 1]), 0)["loss"]
    weights = {"reconstruction": 1.0, "spatial": 0.7, "temporal": 0.2, "state": 0.1}
    assert set(logged) == {f"train/{name}" for name in weights}
    expected = sum(weight * logged[f"train/{name}"] for name, weight in weights.items())
    torch.testing.assert_close(loss, expected)


def test_hidden_pixels_reach_no_restoration_and_no_figure_of_it() -> None:
    module, batch = make(mask_ratio=0.5), batch_of([0, 1])
    video = module.scale(batch["video"])
    hidden, pixels = module.masked(batch, video, "tube", 0.5)
    changed = torch.where(pixels[:, None], -video, video)
    for one, other in zip(
        module.restorations(batch, video, hidden).values(),
        module.restorations(batch, changed, hidden).values(),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_a_clip_without_its_state_is_one_whose_state_is_dropped() -> None:
    module, batch = make(mask_ratio=0.5), batch_of([0])
    video = module.scale(batch["video"])
    hidden = module.masks(batch["sample"], video, "tube", 0.5)
    unknown = torch.zeros(1, 4, dtype=torch.bool)
    plain = module.restore(video, hidden)
    assert torch.equal(plain, module.restore(video, hidden, batch["state"], unknown))
    assert not torch.equal(plain, module.restore(video, hidden, batch["state"]))


def test_clips_of_any_size_are_restored_and_what_is_visible_stays() -> None:
    module = make()
    video = torch.rand(2, 3, 7, 50, 37) * 2 - 1
    hidden = torch.zeros(2, *module.unit_grid(video), dtype=torch.bool)
    assert hidden.shape == (2, 4, 4, 3)
    hidden[0, :, 1:3, 2] = True
    hidden[1, 2] = True  # another number than in the first clip
    state = torch.randn(2, 7, 3)
    restored = module.restore(video, hidden, state)
    assert restored.shape == video.shape
    assert torch.equal(restored[0, :, :, :, :32], video[0, :, :, :, :32])
    assert torch.equal(restored[1, :, [0, 1, 2, 3, 6]], video[1, :, [0, 1, 2, 3, 6]])
    assert not torch.equal(restored[1, :, 4], video[1, :, 4])
    alone = module.restore(video[1:], hidden[1:], state[1:])
    torch.testing.assert_close(restored[1:], alone)


def test_masks_of_held_out_clips_follow_from_seed_and_number() -> None:
    module, video = make(), torch.zeros(3, 3, 4, 48, 32)
    masks = module.masks([5, 6, 7], video, "tube", 0.5)
    assert torch.equal(masks[1:], module.masks([6, 7], video[1:], "tube", 0.5))
    assert not torch.equal(masks, make(seed=1).masks([5, 6, 7], video, "tube", 0.5))


def test_biases_normalisations_and_embeddings_are_not_decayed() -> None:
    module = make()
    decayed, kept = module.parameter_groups()
    assert kept["weight_decay"] == 0 and "weight_decay" not in decayed
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    assert {*map(id, decayed["params"])} | {*map(id, kept["params"])} == set(names)
    for parameter in decayed["params"]:
        assert names[id(parameter)].endswith(".weight") and parameter.ndim == 2
    last = {names[id(parameter)].rpartition(".")[2] for parameter in kept["params"]}
    assert last == {
        *("weight", "bias", "in_unit", "place", "time", "missing", "hidden_cube", "of_region"),
        "nearness",
    }


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_clip_is_learned_by_heart(checkpointing: bool) -> None:
    module = make(act=False, mask_ratio=0.5, checkpointing=checkpointing, curriculum="fixed")
    module.train()
    batch, optimizer = batch_of([0]), torch.optim.Adam(module.parameters(), lr=3e-3)
    batch["video"] = batch["video"] // 128 * 255
    errors = []
    module.log_dict = lambda losses, **kwargs: errors.append(losses["train/reconstruction"].item())
    for _ in range(150):
        optimizer.zero_grad()
        module.training_step(batch, 0)["loss"].backward()
        optimizer.step()
    assert errors[-1] < 0.1 * errors[0]


def test_unknown_loss_is_named() -> None:
    with pytest.raises(ValueError, match=r"loss_weights name colour; there are reconstruction"):
        make(loss_weights={"colour": 1.0})


def test_masks_that_do_not_ask_what_happens_read_no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("read")

    monkeypatch.setattr("lit_modules.mae.module.unit_information", refuse)
    make(curriculum="fixed", mask_ratio=0.5).training_step(batch_of([0]), 0)
    with pytest.raises(AssertionError, match="read"):
        make(progress=0.9, mask_ratio=0.5).training_step(batch_of([0]), 0)
