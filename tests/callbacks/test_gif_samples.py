"""GIFs of a run: the right frames, side by side, and never at the price of the run."""

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import GifSamples
from callbacks.gif_samples import side_by_side


def test_gifs_appear_during_and_at_the_end(run):
    run.fit([GifSamples(every_n_steps=3, frames=4, height=8)], steps=7)
    samples = run.folder / "run" / "version_0" / "samples"
    assert {"step_0000003.gif", "final.gif"} <= {path.name for path in samples.iterdir()}
    assert imageio.imread(samples / "step_0000003.gif").shape == (3, 8, 24, 3)
    assert imageio.imread(samples / "final.gif").shape == (4, 16, 48, 3)


def test_final_gif_shows_the_newest_frames_beside_their_reconstructions(run, learner):
    class Flat(learner):
        """Frames of one colour a step, so that a GIF's palette is exact."""

        def training_step(self, batch, batch_idx):
            batch["frame"] = torch.full_like(batch["frame"], 10 * batch_idx)
            outputs = super().training_step(batch, batch_idx)
            return outputs | {"reconstruction": torch.full_like(outputs["frame"], batch_idx / 255)}

    run.fit([GifSamples(every_n_steps=0, frames=3)], steps=7, module=Flat())
    gif = imageio.imread(run.folder / "run" / "version_0" / "samples" / "final.gif")
    assert gif[:, 0, 0, 0].tolist() == [40, 50, 60]
    assert gif[:, 0, -1, 0].tolist() == [4, 5, 6]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_run_leaves_its_last_gif(run, learner, error):
    class Interrupted(learner):
        def on_train_batch_start(self, batch, batch_idx):
            if batch_idx == 5:
                raise error

    with pytest.raises((SystemExit, RuntimeError)):
        run.fit([GifSamples(every_n_steps=0)], module=Interrupted())
    gif = imageio.imread(run.folder / "run" / "version_0" / "samples" / "final.gif")
    assert len(gif) == 5


def test_blocked_folder_is_a_warning(run):
    blocker = run.folder / "run" / "version_0" / "samples"
    blocker.parent.mkdir(parents=True)
    blocker.write_text("a file where the folder should be")
    logger = TensorBoardLogger(str(run.folder), name="run", version=0)
    with pytest.warns(UserWarning, match=r"final\.gif was not written"):
        trainer, _ = run.fit([GifSamples()], logger=logger)
    assert trainer.global_step == 6


def test_tensorboard_gets_the_moving_gif(run):
    trainer, _ = run.fit([GifSamples(every_n_steps=0)])
    written = EventAccumulator(trainer.log_dir).Reload()
    (event,) = written.Images("samples/source_and_reconstruction")
    final = run.folder / "run" / "version_0" / "samples" / "final.gif"
    assert event.encoded_image_string == final.read_bytes()
    assert (event.height, event.width) == (16, 48)


def test_side_by_side_shrinks_and_clips():
    frame = torch.full((3, 32, 20), 200, dtype=torch.uint8)
    (image,) = side_by_side([(frame, torch.full((3, 32, 20), 1.5))], height=16)
    assert image.shape == (16, 20, 3) and image.dtype == np.uint8
    assert (image[:, :10] == 200).all() and (image[:, 10:] == 255).all()
    (whole,) = side_by_side([(frame, frame)], height=64)
    assert np.array_equal(whole, cv2.hconcat([whole[:, :20]] * 2))


def test_one_of_many_streams_does_not_keep_the_others(run, noise_data):
    samples = GifSamples(every_n_steps=0)
    kept = []
    samples.on_train_end = lambda *_: kept.extend(samples._recent)
    run.fit([samples], data=noise_data(streams=4))
    assert {t.untyped_storage().nbytes() // t.element_size() for pair in kept for t in pair} == {
        3 * 16 * 24
    }
