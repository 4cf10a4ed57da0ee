"""The last checkpoint of a run, however it ended, is one to go on from."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint

from callbacks import GracefulStop, LossCurve, StreamPosition


class Interrupt(Callback):
    """Ctrl+C in the step after the given one."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            stops = [c for c in trainer.callbacks if isinstance(c, GracefulStop)]
            stops[0]._request(2, None)


@pytest.mark.parametrize("save_every", [1000, 4])
@pytest.mark.parametrize(
    ("limits", "more", "steps"),
    [
        ({"max_epochs": 2}, [], 12),
        ({"max_epochs": -1, "max_steps": 12}, [], 12),
        ({"max_epochs": -1, "max_steps": 8}, [], 8),
        ({"max_epochs": 3}, [Interrupt(8)], 9),
        ({"max_epochs": 3}, [Interrupt(11)], 12),
    ],
)
def test_run_that_ended_goes_on_as_if_it_had_not(
    run, generator, noise_data, limits, more, steps, save_every, monkeypatch
):
    monkeypatch.setattr(LossCurve, "_draw", lambda self: b"")  # its history matters here

    class StreamGenerator(generator):
        def loss(self, batch):
            return super().loss({"video": batch["frame"][:, :, None]})

    def fit(*more, ckpt_path=None, **limits):
        torch.manual_seed(0)
        module, curve = StreamGenerator(), LossCurve()
        saver = ModelCheckpoint(
            every_n_train_steps=save_every, save_last=True, enable_version_counter=False
        )
        averaging = EMAWeightAveraging(decay=0.5, use_buffers=False)
        trainer, _ = run.fit(
            [saver, averaging, curve, StreamPosition(), GracefulStop(), *more],
            steps=6,
            module=module,
            data=noise_data(),
            ckpt_path=ckpt_path,
            enable_checkpointing=True,
            **limits,
        )
        return trainer, module, curve

    longer = {"max_epochs": -1, "max_steps": 18} if "max_steps" in limits else {"max_epochs": 3}
    _, whole, _ = fit(**longer)
    trainer, first, _ = fit(*more, **limits)
    last = f"{trainer.checkpoint_callback.dirpath}/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == steps
    _, second, curve = fit(ckpt_path=last, **longer)
    assert first.losses + second.losses == whole.losses
    assert curve._training.points == pytest.approx(whole.losses)
    for name, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
