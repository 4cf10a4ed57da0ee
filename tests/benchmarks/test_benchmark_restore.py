"""The peer learns from the run's clips for its time, goes on where it stopped, and is judged."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from made_recordings import write_recordings

from benchmarks import restore
from benchmarks.videomae import VideoMAE
from benchmarks.videomae_training import Recipe, VideoMAETraining
from datamodules import SmbFrameDataModule
from lit_modules.mae import MaskedAutoencoder
from lit_modules.mae.baselines import BASELINES, ORACLES
from train import LitArcadeCLI

pytest.importorskip("transformers")
ROOT = Path(__file__).parents[2]
SIZE = (32, 48)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    return write_recordings(tmp_path / "recordings", frames=24, size=SIZE)


def training(recordings: Path, path: Path, rate: float = 1e-3) -> VideoMAETraining:
    torch.manual_seed(0)
    net = MaskedAutoencoder((8, 8, 64, 8), (1, 1, 1, 1), 64, 1, 2, 4, SIZE)
    data = SmbFrameDataModule(str(recordings), 4, size=SIZE, batch_size=2, stride=1, state="none")
    data.setup("fit")
    return VideoMAETraining(VideoMAE(net, "ours"), data, Recipe(60, rate=rate), path)


def test_a_training_that_was_killed_goes_on_from_where_it_was_saved(
    recordings: Path, tmp_path: Path
) -> None:
    path = tmp_path / "peer.pt"
    first = training(recordings, path)
    batches = first.batches()
    for batch in islice(batches, 3):
        first.step(batch)
        first.seconds += 1
    first.save()

    second = training(recordings, path)
    assert (second.steps, second.seconds, second.loss) == (3, 3.0, first.loss)
    expected, found = next(batches), next(second.batches())
    assert torch.equal(found["sample"], expected["sample"])
    assert torch.equal(found["video"], expected["video"])
    for run, batch in ((first, expected), (second, found)):
        run.step(batch)
    for a, b in zip(first.mean.parameters(), second.mean.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="set --folder"):
        training(recordings, path, rate=2e-3)


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    recipe = Recipe(1.0)
    shares = [recipe.share(progress) for progress in (0.0, 0.025, 0.05, 0.525, 1.0)]
    assert shares == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_a_run_is_judged_beside_the_peer_and_the_baselines(
    recordings: Path, tmp_path: Path
) -> None:
    LitArcadeCLI(
        [
            *("fit", "-c", str(ROOT / "configs/mae/tiny.yaml")),
            *("-c", str(ROOT / "tests/conf/mae/tiny.yaml")),
            *("--data.data_dir", str(recordings), "--trainer.logger.save_dir", str(tmp_path)),
            *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"),
        ]
    )
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    options = ["--ckpt_path", str(checkpoint), "--threads", "1", "--clips", "4"]
    options += ["--cpu_minutes", "0.01", "--trial_minutes", "0.002"]
    figures = restore.main([*options, "--folder", str(tmp_path / "peer")])
    quality = figures["quality"]
    assert quality.keys() == {restore.OURS, restore.PLAIN, restore.PEER, *BASELINES, *ORACLES}
    assert all(0 < row["psnr_masked"] < 60 for row in quality.values())
    history = figures["training"][restore.PEER]
    assert history["cpu_minutes"] == pytest.approx(0.01, rel=0.5)
    # Asked again, nothing is trained, and the same is found.
    again = restore.main([*options, "--folder", str(tmp_path / "peer")])
    assert again == figures
