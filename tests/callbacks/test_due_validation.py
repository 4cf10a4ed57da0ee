"""Runs that go on from any checkpoint end and validate epochs like those that never stopped."""

import pytest
from lightning.pytorch.callbacks import Callback

from callbacks import DueValidation, LossCurve


class Ends(Callback):
    """Takes down after which step an epoch ended, and which it was."""

    def __init__(self):
        self.seen = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.seen.append((trainer.global_step, trainer.current_epoch))

    def state_dict(self):
        return {"seen": [list(one) for one in self.seen]}

    def load_state_dict(self, state):
        self.seen = [tuple(one) for one in state["seen"]]


def fit(run, generator, clip_data, **options):
    curve, ends = LossCurve(), Ends()
    trainer, _ = run.fit(
        *([DueValidation(), curve, ends],), module=generator(), save_every=1, max_epochs=3,
        data=clip_data(clips=8), **options,
    )  # fmt: skip
    return trainer, [step for step, _ in curve._validated], ends.seen


@pytest.mark.parametrize("steps", [4, 3])  # all batches of an epoch, and a limit below it
@pytest.mark.parametrize("each", [1, 2])  # validations an epoch
def test_resumed_from_any_checkpoint_the_run_misses_nothing(run, generator, clip_data, steps, each):
    options = {"steps": steps, "val_check_interval": max(1, steps // each)}
    _, validated, ends = fit(run, generator, clip_data, **options)
    assert ends == [(steps, 0), (2 * steps, 1), (3 * steps, 2)]
    assert validated[-1] == 3 * steps
    for step in range(1, 3 * steps + 1):
        checkpoint = str(next(run.folder.rglob(f"step={step}.ckpt")))
        trainer, *again = fit(run, generator, clip_data, ckpt_path=checkpoint, **options)
        assert trainer.global_step == 3 * steps
        assert again == [validated, ends], step
