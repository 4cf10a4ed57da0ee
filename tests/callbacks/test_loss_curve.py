"""The curve holds every loss, in bounded space, and goes on where it was."""

import math

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from callbacks import LossCurve
from callbacks.loss_curve import smoothed
from callbacks.loss_history import LossHistory


def history_of(values, limit=8, fetch_every=3):
    history = LossHistory(limit)
    for i, value in enumerate(values):
        history.append(torch.tensor(float(value)))
        if i % fetch_every == 0:
            history.fetch()
    history.fetch()
    return history


def test_curve_is_a_picture_of_all_losses(run, generator, clip_data):
    curve = LossCurve()
    trainer, module = run.fit([curve], module=generator(), data=clip_data(), max_epochs=3)
    assert curve._training.points == pytest.approx(module.losses)
    assert curve._training.steps() == list(range(1, 19))
    assert [step for step, _ in curve._validated] == [6, 12, 18]
    assert curve._validated[-1][1] == pytest.approx(float(trainer.callback_metrics["val/loss"]))
    picture = imageio.imread(f"{trainer.log_dir}/loss_curve.png")
    assert picture.shape[:2] == (600, 960)
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 10


def test_curve_is_there_after_each_epoch_and_after_an_error(run, generator, clip_data):
    seen = []

    class Failing(generator):
        def on_train_epoch_start(self):
            path = run.folder / "run" / "version_0" / "loss_curve.png"
            seen.append(path.read_bytes() if path.exists() else None)

        def on_train_batch_start(self, batch, batch_idx):
            if len(seen) == 3 and batch_idx == 2:
                raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        run.fit([LossCurve()], module=Failing(), data=clip_data(), max_epochs=5)
    last = (run.folder / "run" / "version_0" / "loss_curve.png").read_bytes()
    assert seen[0] is None
    assert len({*seen, last}) == 4


def test_resumed_history_equals_uninterrupted(run, generator, clip_data):
    def fit(**options):
        curve = LossCurve()
        torch.manual_seed(0)
        trainer, _ = run.fit(
            [curve], module=generator(), data=clip_data(), save_every=6, max_epochs=3, **options
        )
        return trainer, curve

    trainer, whole = fit()
    checkpoint = f"{trainer.checkpoint_callback.dirpath}/step=12.ckpt"
    _, resumed = fit(ckpt_path=checkpoint)
    stored = torch.load(checkpoint, weights_only=True)["loss_curve"]
    assert stored["points"].tolist() == whole._training.points[:12]
    assert resumed._training.points[:12] == whole._training.points[:12]
    assert resumed._training.steps() == whole._training.steps()
    assert [step for step, _ in resumed._validated][-1] == 18


def test_losses_of_accumulated_batches_are_whole(run, generator, clip_data):
    curve = LossCurve()
    options = {"module": generator(), "data": clip_data(), "accumulate_grad_batches": 2}
    _, module = run.fit([curve], **options)
    assert curve._training.points == pytest.approx(module.losses)


def test_unwritable_curve_is_a_warning(run, generator, clip_data):
    (run.folder / "run" / "version_0" / "loss_curve.png").mkdir(parents=True)
    logger = TensorBoardLogger(str(run.folder), name="run", version=0)
    with pytest.warns(UserWarning, match=r"loss_curve\.png was not written"):
        trainer, _ = run.fit([LossCurve()], module=generator(), data=clip_data(), logger=logger)
    assert trainer.global_step == 6


@pytest.mark.parametrize("losses", [[], [math.nan, 1.0, math.inf], [-1.0, 0.0, 1.0]])
def test_no_loss_spoils_the_picture(losses):
    curve = LossCurve()
    for loss in losses:
        curve._training.append(torch.tensor(loss))
    curve._training.fetch()
    assert curve._draw().startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 37, 1000])
def test_history_keeps_means_of_runs_of_losses(count):
    values = np.random.default_rng(0).uniform(size=count).astype(np.float32)
    history = history_of(values)
    assert len(history) == count
    assert len(history.points) < 8
    whole = len(history.points) * history.stride
    expected = values[:whole].astype(float).reshape(-1, history.stride).mean(1)
    assert history.points == pytest.approx(expected)
    assert count - whole == len(history.rest) < history.stride
    middles = np.arange(1, whole + 1).reshape(-1, history.stride).mean(1)
    assert history.steps() == middles.tolist()


@pytest.mark.parametrize("cut", [1, 8, 50])
def test_history_goes_on_bit_for_bit(cut):
    values = np.random.default_rng(0).uniform(size=70)
    whole, first, second = history_of(values), history_of(values[:cut]), LossHistory(8)
    second.load_state_dict(first.state_dict())
    for value in values[cut:]:
        second.append(torch.tensor(float(value)))
    second.fetch()
    assert (second.points, second.rest, second.stride) == (whole.points, whole.rest, whole.stride)


def test_smooth_line_takes_the_mean_of_the_finite_neighbours():
    line = smoothed(np.array([0.0, 3.0, math.nan, 6.0, 3.0]), 3)
    assert line.tolist() == [1.5, 1.5, 4.5, 4.5, 4.5]
    assert np.isnan(smoothed(np.array([math.nan]), 1)).all()
