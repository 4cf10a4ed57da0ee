"""The benchmarks of HST-MAE run, and what they count is right, on a network made small."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from benchmarks import mae, mae_gpu

SMALL = {
    **{"dims": (8, 8, 64, 8), "depths": (1, 1, 1, 1), "decoder_dim": 64, "decoder_depth": 1},
    **{"patch": 2, "size": (48, 32), "clip_length": 4},
}


@pytest.fixture(autouse=True)
def small_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mae, mae_gpu):
        monkeypatch.setattr(module, "arguments_of", lambda name: dict(SMALL))


def test_attention_is_counted_with_the_rest() -> None:
    layer, x = nn.Linear(16, 16, bias=False), torch.randn(1, 1, 10, 16)
    count = mae.giga_operations(lambda: scaled_dot_product_attention(layer(x), x, x))
    assert count * 1e9 == pytest.approx(2 * 10 * 16 * 16 + 2 * (2 * 10 * 10 * 16))


def test_half_the_decoder_is_less_work() -> None:
    net = mae.preset("tiny").net
    given = mae.clips(net, 1, 0.9)
    half, whole = (
        mae.giga_operations(mae.prepare("training", mae.build(name, net), given))
        for name in (mae.OURS, mae.WHOLE)
    )
    assert half < 0.8 * whole


def test_every_contender_trains_and_restores(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr(mae, "in_new_process", lambda *_: 1.0)  # it would not see the small preset
    figures = mae.main(["--rounds", "1", "--batch_size", "2"])
    names = {mae.OURS, *mae.PEERS}
    assert set(figures["inference"]["clips_per_cpu_second"]) == names
    assert set(figures["training"]["clips_per_cpu_second"]) == {*names, mae.WHOLE}
    assert figures["parameters"].keys() == names


def test_the_gpu_benchmark_runs_on_a_cpu() -> None:
    options = ["--device", "cpu", "--rounds", "1", "--batch_sizes", "2", "--restored", "1"]
    figures: dict[str, Any] = mae_gpu.main(
        [*options, "--modes", "eager", "--presets", "tiny", "--peak_tflops", "1"]
    )["tiny"]
    assert figures["training_tflop_half_decoder"] < figures["training_tflop_whole_decoder"]
    step = figures["training_eager_half_decoder_batch_2"]
    assert step["mfu"] == pytest.approx(
        figures["training_tflop_half_decoder"] * step["clips_per_second"]
    )
    assert figures["inference_eager_batch_1"]["clips_per_second"] > 0
