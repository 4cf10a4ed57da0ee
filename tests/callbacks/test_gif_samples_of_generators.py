"""A generator's samples show its progress and leave its training as it is."""

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import GifSamples, GracefulStop
from callbacks.generated_clips import grid_frames


def averaging():
    return EMAWeightAveraging(decay=0.5, use_buffers=False)


def names(run, version=0):
    folder = run.folder / "run" / f"version_{version}" / "samples"
    return sorted(path.name for path in folder.iterdir())


def read(run, name, version=0):
    return (run.folder / "run" / f"version_{version}" / "samples" / name).read_bytes()


def test_each_epoch_leaves_a_clip_and_a_grid(run, generator, clip_data):
    run.fit([GifSamples(num=3)], module=generator(), data=clip_data(), max_epochs=2)
    assert names(run) == [
        "final.gif",
        *("grid_epoch1.gif", "grid_epoch2.gif", "sample_epoch1.gif", "sample_epoch2.gif"),
    ]
    folder = run.folder / "run" / "version_0" / "samples"
    assert imageio.imread(folder / "sample_epoch1.gif").shape == (4, 8, 12, 3)
    assert imageio.imread(folder / "grid_epoch1.gif").shape == (4, 8 + 2 + 8, 12 + 2 + 12, 3)
    assert Image.open(folder / "sample_epoch1.gif").info["duration"] == 1000 / clip_data.fps
    assert read(run, "final.gif") == read(run, "grid_epoch2.gif")


def test_what_differs_between_epochs_is_the_weights_alone(run, generator, clip_data):
    class Still(generator):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1 if self.current_epoch else 0)

    run.fit([GifSamples()], module=Still(), data=clip_data(), max_epochs=2)
    assert read(run, "grid_epoch1.gif") == read(run, "grid_epoch2.gif")
    run.fit([GifSamples()], module=generator(), data=clip_data(), max_epochs=2)
    assert read(run, "grid_epoch1.gif", 1) != read(run, "grid_epoch2.gif", 1)


@pytest.mark.parametrize("callbacks", [list, lambda: [averaging()]])
def test_samples_leave_weights_and_random_numbers_alone(run, generator, clip_data, callbacks):
    def fit(*more):
        torch.manual_seed(0)
        module = generator()
        run.fit([*callbacks(), *more], module=module, data=clip_data(), max_epochs=3)
        return module

    without, sampled = fit(), fit(GifSamples())
    assert sampled.losses == without.losses
    for name, value in without.state_dict().items():
        assert torch.equal(sampled.state_dict()[name], value), name


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("validation", [0, 2])
def test_averaged_weights_are_shown(run, generator, clip_data, validation, order):
    averages = []

    class Recording(generator):
        """Keeps the average over the steps as it should be."""

        def on_train_batch_end(self, outputs, batch, batch_idx):
            bias = self.net.bias.detach().clone()
            averages.append(bias if not averages else 0.5 * averages[-1] + 0.5 * bias)

    callbacks = [averaging(), GifSamples()][::order]
    _, module = run.fit(
        callbacks, module=Recording(), data=clip_data(), max_epochs=2, limit_val_batches=validation
    )
    assert [sample["training"] for sample in module.sampled] == [False, False]
    for sample, average in zip(module.sampled, (averages[5], averages[11]), strict=True):
        torch.testing.assert_close(sample["bias"], average)


def test_epoch_that_is_cut_short_leaves_the_last_grid_alone(run, generator, clip_data):
    run.fit([GifSamples()], module=generator(), data=clip_data(), max_steps=8, max_epochs=-1)
    assert names(run) == ["final.gif", "grid_epoch1.gif", "sample_epoch1.gif"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_run_leaves_its_last_grid(run, generator, clip_data, error):
    class Interrupted(generator):
        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 4:
                raise error

    with pytest.raises((SystemExit, RuntimeError)):
        run.fit([GifSamples(num=2)], module=Interrupted(), data=clip_data())
    assert names(run) == ["final.gif"]


def test_second_interrupt_does_not_wait_for_samples(run, generator, clip_data):
    stop = GracefulStop()

    class Impatient(generator):
        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 4:
                stop._request(2, None)
                stop._since -= 2  # two seconds later
                stop._request(2, None)

    module = Impatient()
    with pytest.raises(SystemExit):
        run.fit([GifSamples(), stop], module=module, data=clip_data(), save_every=6)
    assert module.sampled == []


def test_sampling_that_fails_is_a_warning(run, generator, clip_data):
    class Failing(generator):
        def sample(self, num, seed):
            raise RuntimeError("CUDA out of memory")

    with pytest.warns(UserWarning, match=r"nothing was sampled at step 6 \(CUDA out of memory\)"):
        trainer, module = run.fit(
            [GifSamples(), averaging()], module=Failing(), data=clip_data(), max_epochs=2
        )
    assert trainer.global_step == 12
    assert module.training


def test_epochs_are_counted_on_after_a_resume(run, generator, clip_data):
    def fit(**options):
        return run.fit(
            [GifSamples(), averaging()],
            module=generator(),
            data=clip_data(),
            save_every=6,
            **options,
        )

    trainer, _ = fit(max_epochs=2)
    first = f"{trainer.checkpoint_callback.dirpath}/step=6.ckpt"
    fit(max_epochs=2, ckpt_path=first)
    assert names(run, 1) == ["final.gif", "grid_epoch2.gif", "sample_epoch2.gif"]


def test_tensorboard_gets_clip_and_grid_of_each_epoch(run, generator, clip_data):
    trainer, _ = run.fit([GifSamples()], module=generator(), data=clip_data(), max_epochs=2)
    written = EventAccumulator(trainer.log_dir).Reload()
    assert [event.step for event in written.Images("samples/grid")] == [6, 12]
    last = written.Images("samples/clip")[-1]
    assert last.encoded_image_string == read(run, "sample_epoch2.gif")
    assert (last.height, last.width) == (8, 12)


def test_grid_places_clips_in_rows():
    clips = torch.arange(5, dtype=torch.uint8).add(1).view(5, 1, 1, 1, 1).expand(5, 3, 2, 4, 6)
    frames = list(grid_frames(clips))
    assert len(frames) == 2
    picture = frames[1][..., 0]
    assert picture.shape == (4 + 2 + 4, 6 + 2 + 6 + 2 + 6)
    assert picture[::6, ::8].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert (picture[4:6] == 0).all()
    assert np.array_equal(next(grid_frames(clips[:1])), clips[0, :, 0].permute(1, 2, 0).numpy())
