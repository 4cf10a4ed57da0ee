"""The tuner finds what fits, and the training after it is one that never searched."""

from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

import callbacks
from callbacks import FindBatchSize, GifSamples, GracefulStop, LossCurve, RunSummary, StreamPosition


@pytest.fixture
def fit(run, generator, clip_data, monkeypatch):
    monkeypatch.setattr(LossCurve, "_draw", lambda self: b"")

    def fit(*finder, most=8, batch_size=2, clips=40, **options):
        class Large(generator):
            """Fits into memory up to `most` clips."""

            def training_step(self, batch, batch_idx):
                if len(batch["video"]) > most:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
                return super().training_step(batch, batch_idx)

            def on_train_start(self):
                if any(isinstance(c, GracefulStop) for c in self.trainer.callbacks):
                    self.losses.clear()
                    self.weights_at_start = self.net.weight.detach().clone()

        torch.manual_seed(0)
        module, data, curve = Large(), clip_data(batch_size, clips=clips), LossCurve()
        saver = ModelCheckpoint(
            every_n_train_steps=1000, save_last=True, enable_version_counter=False
        )
        averaging = EMAWeightAveraging(decay=0.5, use_buffers=False)
        own = [saver, averaging, StreamPosition(), GifSamples(), curve, RunSummary()]
        trainer, _ = run.fit(
            [*own, GracefulStop(), *finder],
            steps=5,
            module=module,
            data=data,
            enable_checkpointing=True,
            max_epochs=2,
            default_root_dir=str(run.folder / "trials"),
            **options,
        )
        return trainer, module, data, curve

    return fit


def test_largest_batch_that_fits_is_found_and_training_is_as_without_the_search(run, fit, capsys):
    _, plain, _, _ = fit(batch_size=8)
    trainer, found, data, curve = fit(FindBatchSize())
    assert data.batch_size == 8
    assert torch.equal(found.weights_at_start, plain.weights_at_start)
    assert found.losses == plain.losses
    assert curve._training.points == pytest.approx(found.losses)
    assert trainer.global_step == len(found.losses) == 10
    for name, value in plain.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    assert list((run.folder / "trials").iterdir()) == []
    last = torch.load(f"{trainer.checkpoint_callback.dirpath}/last.ckpt", weights_only=True)
    assert last["global_step"] == 10


def test_clips_that_run_out_end_the_search(fit):
    _, _, data, _ = fit(FindBatchSize(), most=1000, clips=16)
    assert data.batch_size == 16


def test_search_ends_at_its_limit(fit):
    _, _, data, _ = fit(FindBatchSize(max_val=4), most=1000)
    assert data.batch_size == 4


def test_one_clip_that_does_not_fit_names_what_to_lower(fit):
    with pytest.raises(
        ValueError, match=r"out of memory with a batch of one clip; lower .*data\.size"
    ):
        fit(FindBatchSize(), most=0)


def test_resumed_run_is_not_searched(run, fit):
    trainer, *_ = fit()
    last = f"{trainer.checkpoint_callback.dirpath}/last.ckpt"
    with pytest.raises(ValueError, match=r"last\.ckpt keeps its batch size"):
        fit(FindBatchSize(), ckpt_path=last)


def test_overlay_names_the_callback():
    overlay = Path(callbacks.__file__).parents[1] / "configs" / "find_batch_size.yaml"
    (entry,) = yaml.safe_load(overlay.read_text())["trainer"]["callbacks+"]
    assert getattr(callbacks, entry["class_path"]) is FindBatchSize
