"""summary.json says what happened, whatever ended the run."""

import json

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from callbacks import RunSummary, StreamPosition
from callbacks.run_summary import FIRST, LAST


def summary(run, version=0):
    return json.loads((run.folder / "run" / f"version_{version}" / "summary.json").read_text())


def mean(values):
    return sum(values) / len(values)


def test_summary_holds_the_figures_of_the_stream(run):
    steps = FIRST + 30
    _, module = run.fit([RunSummary()], steps=steps)
    told = summary(run)
    last = mean(module.errors[-LAST:])
    assert (told["steps"], told["frames"]) == (steps, steps)
    assert (told["game"], told["seed"], told["code_floats"]) == ("Noise", 7, 5)
    assert told["online_mse_first500"] == pytest.approx(mean(module.errors[:FIRST]), rel=1e-4)
    assert told["online_mse_last100"] == pytest.approx(last, rel=1e-4)
    assert told["previous_frame_mse_last100"] == pytest.approx(2 * last, rel=1e-4)
    assert told["running_mean_mse_last100"] == pytest.approx(3 * last, rel=1e-4)
    assert told["metrics"]["online/mse"] == pytest.approx(last, rel=1e-4)
    assert told["frames_per_second"] > 0


def test_frames_count_every_stream(run, noise_data):
    run.fit([RunSummary()], data=noise_data(streams=3))
    assert summary(run)["frames"] == 18


def test_resumed_summary_equals_uninterrupted(run):
    def callbacks():
        return [RunSummary(), StreamPosition()]

    trainer, _ = run.fit(callbacks(), steps=9, save_every=4)
    checkpoint = f"{trainer.checkpoint_callback.dirpath}/step=4.ckpt"
    assert "run_summary" in torch.load(checkpoint, weights_only=True)
    run.fit(callbacks(), steps=9, save_every=4, ckpt_path=checkpoint)
    whole, resumed = summary(run, 0), summary(run, 1)
    for told in (whole, resumed):
        del told["frames_per_second"]
    assert resumed == whole


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_run_is_summed_up(run, learner, error):
    class Interrupted(learner):
        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 5:
                raise error

    with pytest.raises((SystemExit, RuntimeError)):
        run.fit([RunSummary()], module=Interrupted())
    told = summary(run)
    assert told["steps"] == told["frames"] == 5


def test_other_modules_get_their_logged_metrics_alone(run, learner):
    class Plain(learner):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = True
            self.net = nn.Linear(1, 1)

        def training_step(self, batch, batch_idx):
            loss = self.net(torch.ones(1, 1)).square().mean()
            self.log("train/loss", loss)
            return loss

    trainer, _ = run.fit([RunSummary()], module=Plain())
    told = summary(run)
    assert set(told) == {"steps", "frames", "frames_per_second", "metrics"}
    assert told["metrics"] == {"train/loss": float(trainer.callback_metrics["train/loss"])}


def test_no_figure_is_an_invalid_number(run, learner):
    class Perfect(learner):
        def training_step(self, batch, batch_idx):
            outputs = super().training_step(batch, batch_idx)
            outputs["metrics"]["online/psnr"] = torch.tensor(float("inf"))
            return outputs

    run.fit([RunSummary()], module=Perfect())
    assert summary(run)["metrics"]["online/psnr"] is None


def test_table_names_the_baselines_and_the_files(run, capsys, monkeypatch):
    monkeypatch.chdir(run.folder)
    monkeypatch.setenv("COLUMNS", "120")
    run.fit([RunSummary()], save_every=6)
    told = capsys.readouterr().out
    for text in ("Noise", "online MSE, last 100", "copy of previous frame", "running mean"):
        assert text in told
    assert "run/version_0/checkpoints/last.ckpt" in told
    assert "run/version_0/summary.json" in told
    assert str(run.folder) not in told


def test_unwritable_summary_is_a_warning(run):
    (run.folder / "run" / "version_0" / "summary.json").mkdir(parents=True)
    logger = TensorBoardLogger(str(run.folder), name="run", version=0)
    with pytest.warns(UserWarning, match=r"summary\.json was not written"):
        run.fit([RunSummary()], logger=logger)
