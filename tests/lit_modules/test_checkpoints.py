"""Weights in and out: exact round trips, and refusals that name what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from lit_modules import LitStreamingAutoencoder
from lit_modules.checkpoints import export, load_module, load_weights, read_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of a small module, as Lightning writes one."""
    torch.manual_seed(0)
    module = small()
    saved = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "global_step": 7,
    }
    module.on_save_checkpoint(saved)
    torch.save(saved, tmp_path / "small.ckpt")
    return tmp_path / "small.ckpt"


def small(width: int = 8) -> LitStreamingAutoencoder:
    return LitStreamingAutoencoder(size=(16, 24), width=width, latent_channels=2)


def test_module_loads_with_its_architecture_and_weights(checkpoint: Path) -> None:
    module = load_module(checkpoint)
    assert isinstance(module, LitStreamingAutoencoder)
    assert module.net.size == (16, 24)
    for name, weight in read_checkpoint(checkpoint)["state_dict"].items():
        assert torch.equal(module.state_dict()[name], weight)
    assert not module.training


def test_exported_weights_come_back_by_init_from(checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())["model"]
    assert config["class_path"] == "LitStreamingAutoencoder"
    torch.manual_seed(1)
    module = LitStreamingAutoencoder(
        **config["init_args"], init_from=str(tmp_path / "model.safetensors")
    )
    module.configure_model()
    for name, weight in read_checkpoint(checkpoint)["state_dict"].items():
        assert torch.equal(module.state_dict()[name], weight)
    assert "16" in (tmp_path / "README.md").read_text()


def test_weights_of_another_shape_are_refused_by_name(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"weight net\.\S+ has shape .* where the model needs"):
        load_weights(small(width=4), checkpoint)


def test_damaged_checkpoint_is_refused(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-500])
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        read_checkpoint(checkpoint)


def test_class_that_this_version_lacks_is_named(checkpoint: Path) -> None:
    saved = torch.load(checkpoint, weights_only=True)
    torch.save(saved | {"class_name": "LitTomorrow"}, checkpoint)
    with pytest.raises(ValueError, match="LitTomorrow"):
        load_module(checkpoint)
