"""A real TensorBoard reads what the monitor wrote; the monitor neither waits nor kills."""

import io
import warnings

import cv2
import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils._python_dispatch import TorchDispatchMode

from callbacks import StreamMonitor
from callbacks.event_files import histogram
from callbacks.stream_monitor import tiles


def events(trainer):
    accumulator = EventAccumulator(
        trainer.log_dir, size_guidance={"scalars": 0, "images": 0, "histograms": 0}
    )
    return accumulator.Reload()


def test_tensorboard_reads_every_tag(run):
    monitor = StreamMonitor(ssim_every=3, pictures_every=5, histograms_every=4)
    trainer, module = run.fit([monitor])
    tags = events(trainer).Tags()
    assert {
        "train/loss", "online/mse", "online/psnr", "online/ssim", "online/previous_frame_mse",
        "online/running_mean_mse", "speed/frames_per_second", "speed/step_milliseconds",
    } <= set(tags["scalars"])  # fmt: skip
    assert set(tags["images"]) == {
        "pictures/input", "pictures/reconstruction", "pictures/error", "pictures/change_mask",
        "pictures/strip", "features/encoder/small", "features/decoder/small",
    }  # fmt: skip
    names = dict(module.named_parameters())
    assert set(tags["histograms"]) == {f"parameters/{n}" for n in names} | {
        f"gradients/{n}" for n in names
    }
    assert [event.step for event in events(trainer).Images("pictures/input")] == [1, 5]
    assert [event.step for event in events(trainer).Scalars("online/ssim")] == [1, 3, 6]


def test_scalars_are_those_of_their_step(run):
    trainer, module = run.fit([StreamMonitor(flush_every=4)])
    written = events(trainer).Scalars("online/mse")
    assert [event.step for event in written] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in written] == pytest.approx(module.errors)


def test_pictures_are_those_of_the_step(run, learner):
    class Keeper(learner):
        def training_step(self, batch, batch_idx):
            self.outputs = super().training_step(batch, batch_idx)
            self.frame = batch["frame"][0]
            return self.outputs

    trainer, module = run.fit([StreamMonitor(pictures_every=6)], module=Keeper())

    def decoded(tag):
        encoded = np.frombuffer(events(trainer).Images(tag)[-1].encoded_image_string, np.uint8)
        return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    source = module.frame.permute(1, 2, 0).numpy()
    assert np.array_equal(decoded("pictures/input"), source)
    reconstruction = module.outputs["reconstruction"][0].permute(1, 2, 0).numpy()
    assert np.abs(decoded("pictures/reconstruction") - 255 * reconstruction).max() <= 0.51
    error = np.sqrt(np.abs(source / 255 - reconstruction).mean(-1))
    assert np.abs(decoded("pictures/error")[..., 0] - 255 * error).max() <= 0.51
    assert decoded("pictures/strip").shape == (16, 4 * 24, 3)


def test_histograms_count_every_parameter(run):
    trainer, module = run.fit([StreamMonitor(histograms_every=6)])
    last = events(trainer).Histograms("parameters/net.weight")[-1].histogram_value
    weight = module.net.weight.detach()
    assert last.num == weight.numel() == sum(last.bucket)
    assert (last.min, last.max) == pytest.approx((weight.min().item(), weight.max().item()))


@pytest.mark.parametrize(
    "values",
    [[0.0], [1.0, np.nextafter(np.float32(1), np.float32(2))], [1e-44, 0.0], [np.nan, 2.0, np.inf]],
)
def test_histogram_takes_any_numbers(values):
    values = np.array(values, np.float32)
    (summary,) = histogram("weights", values)
    assert summary.histo.num == sum(summary.histo.bucket) == np.isfinite(values).sum()
    assert histogram("weights", np.full(3, np.nan, np.float32)) == []


class ScalarReads(TorchDispatchMode):
    """Counts what makes the host wait for the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_only_a_flush_reads_from_the_device(run, learner, monkeypatch):
    class Blind(learner):
        def remember(self, batch, mse):
            pass

    module = Blind()
    monitor = StreamMonitor(flush_every=5, flush_seconds=1e9)
    reads, transfers = [], []
    on_train_batch_end = StreamMonitor.on_train_batch_end
    to_list = torch.Tensor.tolist

    def counted(self, *args):
        with ScalarReads() as mode:
            on_train_batch_end(self, *args)
        reads.append(mode.count)

    def counted_to_list(tensor):
        transfers.append(len(reads) + 1)
        return to_list(tensor)

    monkeypatch.setattr(StreamMonitor, "on_train_batch_end", counted)
    monkeypatch.setattr(torch.Tensor, "tolist", counted_to_list)
    run.fit([monitor], steps=10, module=module)
    assert reads == [0] * 10
    assert transfers == [5, 10]


def test_page_is_live_while_the_run_goes_on(run):
    class Reader(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 5:
                self.points = len(events(trainer).Scalars("online/mse"))

    reader = Reader()
    run.fit([StreamMonitor(flush_every=2, flush_seconds=1e9), reader])
    assert reader.points == 4
    run.fit([StreamMonitor(flush_every=100, flush_seconds=0), reader])
    assert reader.points == 5


def test_progress_bar_shows_speed_loss_and_psnr(run):
    trainer, module = run.fit([StreamMonitor()])
    shown = trainer.progress_bar_metrics
    assert set(shown) == {"fps", "loss", "psnr"}
    assert float(shown["loss"]) == pytest.approx(module.errors[-1], rel=0.01)


def test_other_loggers_get_the_chosen_steps(run, tmp_path):
    logger = CSVLogger(str(tmp_path / "csv"))
    run.fit([StreamMonitor()], logger=logger, log_every_n_steps=3)
    lines = (tmp_path / "csv" / "lightning_logs" / "version_0" / "metrics.csv").read_text()
    assert len(lines.splitlines()) == 1 + 2


def test_full_disk_ends_the_log_and_not_the_run(run):
    class FullDisk(Callback):
        """Every write to the event file fails from step 2 on."""

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            pl_module.log("also/by_lightning", 1.0)
            if batch_idx == 1:
                writer = trainer.logger.experiment.file_writer.event_writer

                class Full(io.RawIOBase):
                    def write(self, data):
                        raise OSError(28, "No space left on device")

                writer._async_writer._writer._writer._file = Full()

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer, _ = run.fit([FullDisk(), StreamMonitor(flush_every=1)])
    assert trainer.global_step == 6
    ours = [str(w.message) for w in said if "training goes on without it" in str(w.message)]
    assert len(ours) == 1 and "No space left on device" in ours[0]
    assert not any("Exception in thread" in str(w.message) for w in said)


def test_nothing_is_written_without_a_logger(run):
    trainer, _ = run.fit([StreamMonitor(pictures_every=1)], logger=False)
    assert trainer.global_step == 6
    assert list(run.folder.rglob("events*")) == []


def test_tiles_frame_each_channel():
    channels = torch.arange(5 * 3 * 4).reshape(5, 3, 4)
    grid = tiles(channels)
    assert grid.shape == (2 * 5, 3 * 6)  # five channels on 2 x 3 tiles of (3 + 2, 4 + 2)
    assert grid[1:4, 1:5].flatten().tolist() == grid[6:9, 7:11].flatten().tolist()
    assert (grid[1, 1], grid[3, 4], grid[0].max(), grid[5:, 12:].max()) == (0, 255, 0, 0)


def test_second_logger_gets_the_same_points(run, tmp_path):
    loggers = [TensorBoardLogger(str(tmp_path / name)) for name in "ab"]
    run.fit([StreamMonitor()], logger=loggers)
    read = [EventAccumulator(x.log_dir).Reload().Scalars("online/mse") for x in loggers]
    assert [e.value for e in read[0]] == [e.value for e in read[1]] and len(read[0]) == 6


def test_only_the_first_rank_writes(run, monkeypatch):
    monkeypatch.setattr(L.Trainer, "is_global_zero", property(lambda self: False))
    trainer, _ = run.fit([StreamMonitor(pictures_every=1)])
    assert "train/loss" not in events(trainer).Tags()["scalars"]
