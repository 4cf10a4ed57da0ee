"""The module around the tokenizer: additive over batches, exact on resume, used as it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from made_motion import paddles
from small_run import WindowData, Windows, make, trainer
from torch.utils.data import DataLoader

from callbacks import CodebookUsage
from lit_modules import LitMotionTokenizer
from lit_modules.checkpoints import load_module
from lit_modules.latent_action.usage import count_codes, usage


def test_loss_of_a_batch_is_the_mean_of_its_halves() -> None:
    module = make().eval()  # by the moments that are known; in training those of all ranks
    whole = next(iter(DataLoader(Windows(8), batch_size=8)))
    halves = list(DataLoader(Windows(8), batch_size=4))
    parts = torch.cat([module.step(half)["loss"] for half in halves])
    torch.testing.assert_close(module.step(whole)["loss"], parts)


@pytest.mark.slow
def test_two_ranks_learn_and_count_what_one_rank_with_twice_the_batch_does(tmp_path: Path) -> None:
    told = []
    for devices in (1, 2):
        script, folder = Path(__file__).with_name("small_run.py"), tmp_path / str(devices)
        path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
        subprocess.run(
            [sys.executable, str(script), str(folder), str(devices)],
            env=os.environ | {"PYTHONPATH": path},
            timeout=600,
            check=True,
            capture_output=True,
        )
        told += [
            torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(devices)
        ]
    alone, *both = told
    for name, weight in alone["weights"].items():
        assert torch.equal(both[0]["weights"][name], both[1]["weights"][name]), name
        torch.testing.assert_close(both[0]["weights"][name], weight, rtol=1e-4, atol=1e-6)
    codebook = {name: value for name, value in alone["logged"].items() if "codebook" in name}
    assert codebook.keys() >= {"codebook/perplexity", "codebook/unique_step", "val/codebook_unique"}
    for rank in both:
        assert {name: rank["logged"][name] for name in codebook} == pytest.approx(codebook)


def test_stopped_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = make()
    trainer(tmp_path, 4).fit(whole, WindowData())
    first = make()
    run = trainer(tmp_path, 2)
    run.fit(first, WindowData())
    run.save_checkpoint(tmp_path / "half.ckpt")
    torch.load(tmp_path / "half.ckpt", weights_only=True)
    second = make()
    path = str(tmp_path / "half.ckpt")
    trainer(tmp_path, 4).fit(second, WindowData(), ckpt_path=path, weights_only=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_checkpoint_brings_back_module_and_tokens(tmp_path: Path) -> None:
    module = make()
    run = trainer(tmp_path, 1)
    run.fit(module, WindowData())
    run.save_checkpoint(tmp_path / "tokenizer.ckpt")
    loaded = load_module(tmp_path / "tokenizer.ckpt")
    assert isinstance(loaded, LitMotionTokenizer)
    velocity, _ = paddles(3, side=5)
    ours, theirs = (m.net.eval().encode(velocity) for m in (module, loaded))
    assert torch.equal(ours.indices, theirs.indices)
    assert torch.equal(ours.prequant, theirs.prequant)


class KeepCodes(L.Callback):
    """All codes that an epoch's steps returned."""

    def __init__(self) -> None:
        self.codes: list[torch.Tensor] = []
        self.moving: list[torch.Tensor] = []

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        outputs = args[2]
        self.codes.append(outputs["codes"])
        self.moving.append(outputs["moving"])

    on_validation_batch_end = on_train_batch_end


def test_use_of_the_codebook_is_logged_for_each_step_and_for_the_epoch(tmp_path: Path) -> None:
    module, kept = make(), KeepCodes()
    run = trainer(tmp_path, 1, kept)
    run.fit(module, WindowData())
    logged = run.callback_metrics
    codes, moving = kept.codes, kept.moving
    assert len(codes) == 6  # three of training, three of the validation
    for name, parts in (
        ("codebook/{}_step", (codes[2], moving[2])),
        ("codebook/{}", (torch.cat(codes[:3]), torch.cat(moving[:3]))),
        ("val/codebook_{}", (torch.cat(codes[3:]), torch.cat(moving[3:]))),
    ):
        counts = count_codes(*parts, module.codes)
        for prefix, row in (("", counts[0]), ("moving_", counts[1])):
            for figure, value in usage(row).items():
                assert float(logged[name.format(prefix + figure)]) == pytest.approx(float(value))
    scores = run.test(module, WindowData(), verbose=False)[0]
    assert {"test/loss", "test/recon", "test/recon_of_rest", "test/codebook_perplexity"} <= {
        *scores
    }


def test_prediction_gives_tokens_and_the_motion_made_from_them(tmp_path: Path) -> None:
    module = make().eval()
    made = trainer(tmp_path, 1).predict(module, WindowData())
    velocity, _ = paddles(12, side=5)
    whole = module.net(velocity)
    assert torch.equal(torch.cat([part["indices"] for part in made]), whole.codebook_indices)
    torch.testing.assert_close(torch.cat([part["x_recon"] for part in made]), whole.x_recon)


def test_usage_of_a_module_without_codes_names_the_remedy() -> None:
    callback = CodebookUsage()
    with pytest.raises(TypeError, match=r"trainer\.callbacks"):
        callback.on_train_batch_end(None, L.LightningModule(), {"loss": 1}, None, 0)  # type: ignore[arg-type]


def test_windows_that_are_no_numbers_have_a_loss_that_is_none_and_codes_that_are():
    module = LitMotionTokenizer(points=9, hidden_dim=16, heads=2).train()
    batch = {
        "velocity": torch.full((2, 16, 9, 2), torch.nan),
        "visible": torch.ones(2, 16, 9, dtype=torch.bool),
    }
    out = module.step(batch)
    assert out["loss"].isnan().all()
    assert ((out["codes"] >= 0) & (out["codes"] < module.codes)).all()
