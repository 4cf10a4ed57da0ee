"""Shared by every test: threads that do not spin, as in `train.py`; recordings to train on."""

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch
from made_recordings import write_recordings

torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three lossless recordings of 40 frames with labels."""
    return write_recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="session", autouse=True)
def home_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded recordings go to a cache of the tests, not to the user's."""
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
