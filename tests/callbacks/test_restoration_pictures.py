"""Pictures of restorations show a run's progress and leave the run as it is."""

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import RestorationPictures
from datamodules import SmbFrameDataModule
from lit_modules import LitMaskedAutoencoder

SIDE, FRAMES = 32, 4
PANELS = 4 * SIDE + 3 * 2
TINY = {"dims": (4, 8, 8, 8), "depths": (1, 1, 1, 1), "decoder_dim": 8, "decoder_depth": 1}


class Watched(LitMaskedAutoencoder):
    """Keeps the losses and the weights that it is validated and shown with."""

    def __init__(self, **more):
        super().__init__(**TINY, patch=2, size=(SIDE, SIDE), clip_length=FRAMES, **more)
        self.losses_seen, self.weights_used, self.kinds = [], [], []

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.losses_seen.append(float(outputs["loss"]))

    def restore(self, *args):
        self.weights_used.append(self.net.encoder.embed.weight.detach().clone())
        return super().restore(*args)

    def masks(self, samples, video, mask, ratio):
        self.kinds.append((mask, ratio))
        return super().masks(samples, video, mask, ratio)


@pytest.fixture
def data(recordings):
    return lambda: SmbFrameDataModule(
        str(recordings),
        clip_length=FRAMES,
        size=(SIDE, SIDE),
        batch_size=2,
        val_levels="1-2",
        cache_dir=None,
    )


def fit(run, data, *callbacks, module=None, **options):
    options = {
        "steps": 2,
        "max_epochs": 2,
        "limit_val_batches": 2,
        "num_sanity_val_steps": 1,
    } | options
    return run.fit(list(callbacks), module=module or Watched(), data=data(), **options)


def gif(trainer, name):
    return Path(trainer.log_dir) / "samples" / name


def shown(**more):
    return RestorationPictures(**{"num": 3, "mask_ratio": 0.5, **more})


def test_each_validation_leaves_clips_in_rows_of_four_panels(run, data):
    trainer, _ = fit(run, data, shown())
    folder = gif(trainer, "")
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_001.gif", "epoch_002.gif"]
    frames = imageio.imread(folder / "epoch_002.gif")
    assert frames.shape == (FRAMES, 3 * SIDE + 2 * 2, PANELS, 3)
    true, masked, restored, error = (
        frames[:, :SIDE, i * (SIDE + 2) :][:, :, :SIDE].astype(int) for i in range(4)
    )
    hidden = (masked == 128).all(3)
    assert 0.4 < hidden.mean() < 0.6
    assert np.array_equal(masked[~hidden], true[~hidden])
    assert np.abs(restored - true)[~hidden].max() < 20  # a palette of 256 colours
    assert np.abs(np.abs(restored - true) - error).max() < 40
    assert error[hidden].mean() > 10 * max(error[~hidden].mean(), 0.1)


def test_tensorboard_gets_the_same_moving_and_a_still(run, data):
    trainer, _ = fit(run, data, shown())
    written = EventAccumulator(trainer.log_dir).Reload()
    moving = written.Images("samples/restoration")
    assert [event.step for event in moving] == [2, 4]
    assert moving[-1].encoded_image_string == gif(trainer, "epoch_002.gif").read_bytes()
    still = written.Images("samples/restoration_still")[-1]
    assert (still.height, still.width) == (3 * SIDE + 2 * 2, PANELS)


def test_masks_are_the_same_in_each_epoch(run, data):
    class Still(Watched):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0)

    trainer, _ = fit(run, data, shown(), module=Still())
    one, two = (gif(trainer, f"epoch_00{epoch}.gif").read_bytes() for epoch in (1, 2))
    assert one == two


def test_run_with_pictures_equals_one_without(run, data):
    results = []
    for callbacks in ([], [shown()]):
        torch.manual_seed(0)
        _, module = fit(run, data, *callbacks, module=Watched())
        results.append((module.losses_seen, module.state_dict()))
    (losses, weights), (same_losses, same_weights) = results
    assert losses == same_losses
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)


@pytest.mark.parametrize("order", [1, -1])
def test_weights_shown_are_those_validated(run, data, order):
    averaging = EMAWeightAveraging(decay=0.5, use_buffers=False)
    _, module = fit(
        run, data, *[averaging, shown(mask_ratio=0.25)][::order], num_sanity_val_steps=0
    )
    used = {tuple(weight.flatten().tolist()) for weight in module.weights_used}
    assert len(used) == 2  # one set of weights an epoch
    assert ("tube", 0.25) in module.kinds


def test_epochs_between_are_left_out(run, data):
    trainer, _ = fit(run, data, shown(every_n_epochs=2), max_epochs=3)
    assert [path.name for path in gif(trainer, "").iterdir()] == ["epoch_002.gif"]


def test_validation_alone_leaves_its_own(run, data):
    trainer, module = fit(run, data, shown())
    trainer.validate(module, datamodule=data(), verbose=False)
    assert gif(trainer, "validate.gif").exists()


def test_restoring_that_fails_is_a_warning(run, data):
    class Failing(Watched):
        def masks(self, samples, video, mask, ratio):
            if ratio == 0.5:
                raise RuntimeError("CUDA out of memory")
            return super().masks(samples, video, mask, ratio)

    with pytest.warns(UserWarning, match=r"nothing was restored .* \(CUDA out of memory\)"):
        trainer, _ = fit(run, data, shown(), module=Failing())
    assert trainer.global_step == 4


@pytest.mark.parametrize("wrong", [{"num": 0}, {"every_n_epochs": 0}, {"mask_ratio": 1.0}])
def test_wrong_values_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        RestorationPictures(**wrong)
