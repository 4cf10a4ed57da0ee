"""Runs over clips are watched by the same callbacks as runs over streams."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import EMAWeightAveraging, LearningRateMonitor

from callbacks import (
    GifSamples,
    GracefulStop,
    LossCurve,
    RunSummary,
    StepProgressBar,
    StreamPosition,
)

FILES = {
    *("samples/sample_epoch1.gif", "samples/grid_epoch1.gif"),
    *("samples/sample_epoch2.gif", "samples/grid_epoch2.gif"),
    *("samples/final.gif", "loss_curve.png", "summary.json", "checkpoints/last.ckpt"),
}


def written(folder):
    version = folder / "run" / "version_0"
    assert {path.relative_to(version).as_posix() for path in version.rglob("*.*")} >= FILES
    return json.loads((version / "summary.json").read_text())


def test_run_leaves_samples_curve_checkpoint_and_summary(run, generator, clip_data, capsys):
    callbacks = [
        *(StepProgressBar(), LearningRateMonitor(), StreamPosition(), GifSamples(), LossCurve()),
        *(EMAWeightAveraging(decay=0.5, use_buffers=False), RunSummary(), GracefulStop()),
    ]
    trainer, _ = run.fit(
        callbacks,
        module=generator(),
        data=clip_data(batch_size=2, clip_length=3),
        max_epochs=2,
        save_every=5,
        enable_progress_bar=True,
    )
    summary = written(run.folder)
    assert (summary["steps"], summary["frames"]) == (12, 12 * 2 * 3)
    assert summary["frames_per_second"] > 0
    for name in ("train/loss", "val/loss"):
        assert summary["metrics"][name] == float(trainer.callback_metrics[name])
    table = capsys.readouterr().out
    assert "Run of 12 steps" in table
    assert "Epoch 1/1" in table


def test_resumed_summary_counts_all_frames(run, generator, clip_data):
    def fit(**more):
        return run.fit(
            [RunSummary()], module=generator(), data=clip_data(), max_epochs=2, save_every=6, **more
        )

    trainer, _ = fit()
    fit(ckpt_path=f"{trainer.checkpoint_callback.dirpath}/step=6.ckpt")
    whole, resumed = (
        json.loads((run.folder / f"run/version_{v}/summary.json").read_text()) for v in (0, 1)
    )
    assert resumed["frames"] == whole["frames"] == 72


@pytest.mark.slow
def test_two_ranks_are_sampled_on_one_and_neither_hangs(tmp_path):
    script = Path(__file__).with_name("sample_two_ranks.py")
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        check=True,
        timeout=600,
        capture_output=True,
        env=environment,
    )
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert [rank["sampled"] for rank in ranks] == [2, 0]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    summary = written(tmp_path)
    assert (summary["steps"], summary["frames"]) == (6, 6 * 2 * 2 * 3)
