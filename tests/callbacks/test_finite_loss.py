"""A loss that is no number is never saved; the run stops, or goes back and on."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from noise import NoiseStream
from torch import nn

from callbacks import FiniteLoss, SafeCheckpoint, StreamPosition
from callbacks.finite_loss import NonFiniteLossError


def ruined(base, at, what):
    """A learner whose loss, or whose weights behind a finite loss, are NaN at one frame."""

    class Ruined(base):
        def __init__(self):
            super().__init__()
            self.register_buffer("codes", torch.full((2,), torch.inf))

        def training_step(self, batch, batch_idx):
            if int(batch["frame_index"][0]) != at:
                return super().training_step(batch, batch_idx)
            if what == "loss":
                batch = batch | {"frame": batch["frame"].float() * torch.nan}
            outputs = super().training_step(batch, batch_idx)
            if what != "loss":
                with torch.no_grad():
                    {"weights": self.net.weight, "codes": self.codes}[what].view(-1)[0] = torch.nan
            return outputs

    return Ruined()


def fit(run, module, guard, save_every=2, more=(), **limits):
    saver = ModelCheckpoint(
        every_n_train_steps=save_every, save_top_k=-1, filename="{step}", save_last=True
    )
    callbacks = [saver, *more, StreamPosition(), guard]
    options = {"enable_checkpointing": True, "plugins": [SafeCheckpoint()]} | limits
    return run.fit(callbacks, module=module, **options)


def saved(run):
    return {path.name: torch.load(path, weights_only=True) for path in run.folder.rglob("*.ckpt")}


def finite(checkpoint):
    return not any(value.isnan().any() for value in checkpoint["state_dict"].values())


@pytest.mark.parametrize("what", ["loss", "weights", "codes"])
@pytest.mark.parametrize(("at", "good"), [(4, 4), (5, 4), (9, 8)])
@pytest.mark.parametrize("every", [1, 50])
def test_ruined_run_stops_and_saves_nothing_of_it(run, learner, what, at, good, every):
    guard = FiniteLoss("stop", check_every_n_steps=every)
    with pytest.raises(NonFiniteLossError, match=r"not finite at step .*last\.ckpt"):
        fit(run, ruined(learner, at, what), guard, steps=10)
    checkpoints = saved(run)
    assert max(c["global_step"] for c in checkpoints.values()) == good
    assert all(map(finite, checkpoints.values()))


@pytest.mark.parametrize("what", ["loss", "weights"])
@pytest.mark.parametrize("every", [1, 50])
def test_rollback_goes_on_from_the_checkpoint_with_the_frames_that_follow(
    run, learner, what, every
):
    module = ruined(learner, 5, what)
    with pytest.warns(UserWarning, match=r"going back to .*last\.ckpt.*rollback 1 of at most 3"):
        trainer, _ = fit(run, module, FiniteLoss("rollback", every), steps=10)
    assert trainer.global_step == 10
    assert module.seen == list(range(10))  # data and steps go on
    after = torch.load(next(run.folder.rglob("step=8.ckpt")), weights_only=True)
    assert finite(after)
    assert all(map(finite, saved(run).values()))
    before = torch.load(next(run.folder.rglob("step=4.ckpt")), weights_only=True)
    net = nn.Conv2d(3, 3, 3, padding=1)
    net.load_state_dict({n: before["state_dict"][f"net.{n}"] for n in ("weight", "bias")})
    frame = next(iter(NoiseStream(6, 1)))["frame"].float() / 255
    assert module.errors[6] == pytest.approx(float((net(frame) - frame).square().mean()))


def test_rollback_restores_averages_weights_and_optimizer(run, generator, clip_data):
    class Ruined(generator):
        def loss(self, batch):
            loss = super().loss(batch)
            return loss * (torch.nan if self.trainer.global_step == 5 else 1)

        def on_train_batch_start(self, batch, batch_idx):
            if self.trainer.global_step == 6:
                states = self.optimizers().optimizer.state_dict()["state"]
                self.kept = {
                    "net": [x.detach().clone() for x in self.parameters()],
                    "momentum": [s["momentum_buffer"].clone() for s in states.values()],
                    "average": [x.clone() for x in self.averaging._average_model.parameters()],
                }

    module = Ruined()
    module.averaging = EMAWeightAveraging(decay=0.5, use_buffers=False)
    more, guard = [module.averaging], FiniteLoss("rollback", 1)
    with pytest.warns(UserWarning, match="rollback 1"):
        fit(run, module, guard, more=more, data=clip_data(clips=40), steps=8, max_epochs=1)
    good = torch.load(next(run.folder.rglob("step=4.ckpt")), weights_only=True)
    states = good["optimizer_states"][0]["state"]
    expected = {
        "net": list(good["current_model_state"].values()),
        "momentum": [state["momentum_buffer"] for state in states.values()],
        "average": list(good["state_dict"].values()),
    }
    for name, values in expected.items():
        for one, other in zip(module.kept[name], values, strict=True):
            assert torch.equal(one, other), name


def test_rollbacks_are_counted(run, learner):
    class Hopeless(learner):
        def training_step(self, batch, batch_idx):
            outputs = super().training_step(batch, batch_idx)
            return outputs | {"loss": outputs["loss"] * (torch.nan if batch_idx > 3 else 1)}

    with (
        pytest.warns(UserWarning, match="rollback 2 of at most 2"),
        pytest.raises(NonFiniteLossError, match="lower the learning rate"),
    ):
        fit(run, Hopeless(), FiniteLoss("rollback", 1, max_rollbacks=2), steps=20)


def test_guard_changes_nothing_in_a_run_that_is_well(run):
    _, with_guard = fit(run, None, FiniteLoss("rollback", 2), steps=6)
    _, without = run.fit([StreamPosition()], steps=6)
    assert with_guard.errors == without.errors


def test_ruined_run_without_a_checkpoint_says_so(run, learner):
    with pytest.raises(NonFiniteLossError, match="lower the learning rate"):
        run.fit([FiniteLoss("rollback")], module=ruined(learner, 3, "loss"))


def test_loss_of_any_rank_counts_for_all(run, learner):
    class Tell(Callback):
        def on_train_end(self, trainer, pl_module):
            told = {"steps": trainer.global_step, "weights": pl_module.state_dict()}
            torch.save(told, run.folder / f"rank{trainer.global_rank}.pt")

    class Ruined(learner):
        def training_step(self, batch, batch_idx):
            outputs = super().training_step(batch, batch_idx)
            bad = batch_idx == 4 and self.trainer.global_rank == 1
            return outputs | {"loss": outputs["loss"] * (torch.nan if bad else 1)}

        def on_train_batch_end(self, outputs, batch, batch_idx):
            if batch_idx == 4:
                with torch.no_grad():
                    self.net.weight.fill_(
                        1000
                    )  # what was learned since the checkpoint is forgotten

    ranks = {"strategy": "ddp_fork", "devices": 2}
    fit(run, Ruined(), FiniteLoss("rollback", 1), more=[Tell()], steps=7, **ranks)
    first, second = (torch.load(run.folder / f"rank{rank}.pt") for rank in range(2))
    assert first["steps"] == second["steps"] == 7
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name
        assert value.abs().max() < 100
