"""Shared by every test: threads that do not spin, as in `train.py`."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

torch.set_num_threads(min(2, torch.get_num_threads()))
