"""Fits on two processes and keeps what each rank saw: FOLDER, SAVE_EVERY, then a checkpoint."""

import json
import sys
from pathlib import Path

import torch
from conftest import Run

from callbacks import GifSamples, RunSummary, StreamMonitor, StreamPosition

torch.set_num_threads(1)
folder, save_every, *checkpoint = sys.argv[1:]
callbacks = [StreamMonitor(), GifSamples(), RunSummary(), StreamPosition()]
trainer, module = Run(Path(folder)).fit(
    callbacks,
    steps=8,
    ckpt_path=checkpoint[0] if checkpoint else None,
    save_every=int(save_every),
    strategy="ddp",
    devices=2,
)
weights = {name: value.tolist() for name, value in module.state_dict().items()}
told = {"seen": module.seen, "errors": module.errors, "weights": weights}
Path(folder, f"rank{trainer.global_rank}.json").write_text(json.dumps(told))
