"""Trains like `train.py` and keeps each rank's weights and last frame: FOLDER, its arguments."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from train import LitArcadeCLI

folder = Path(sys.argv[1])
cli = LitArcadeCLI(sys.argv[2:])
streams = getattr(cli.model, "streams", None)
torch.save(
    {"weights": cli.model.state_dict(), "frame": streams.previous if streams else None},
    folder / f"rank{cli.trainer.global_rank}.pt",
)
