"""Runs that go on from any checkpoint have been validated as often as those that never stopped."""

from callbacks import DueValidation, LossCurve


def fit(run, generator, clip_data, **options):
    curve = LossCurve()
    trainer, _ = run.fit(
        *([DueValidation(), curve],), module=generator(), data=clip_data(clips=40), save_every=1,
        steps=4, max_epochs=3, val_check_interval=2, **options,
    )  # fmt: skip
    return trainer, curve


def at(curve):
    return [step for step, _ in curve._validated]


def test_resumed_from_any_checkpoint_the_run_has_every_validation(run, generator, clip_data):
    _, whole = fit(run, generator, clip_data)
    assert at(whole) == [2, 4, 6, 8, 10, 12]
    saved = [next(run.folder.rglob(f"step={step}.ckpt")) for step in range(1, 12)]
    for checkpoint in saved:
        trainer, resumed = fit(run, generator, clip_data, ckpt_path=str(checkpoint))
        assert trainer.global_step == 12
        assert at(resumed) == at(whole), checkpoint
