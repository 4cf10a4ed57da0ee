"""Trains a generator on two processes with everything that watches it: FOLDER."""

import json
import sys
from pathlib import Path

import torch
from conftest import Run
from lightning.pytorch.callbacks import EMAWeightAveraging
from noise import ClipData, ClipGenerator

from callbacks import GifSamples, GracefulStop, LossCurve, RunSummary, StreamPosition

torch.set_num_threads(1)
folder = Path(sys.argv[1])
averaging = EMAWeightAveraging(decay=0.5, use_buffers=False)
own = [averaging, StreamPosition(), GifSamples(num=2), LossCurve(), RunSummary(), GracefulStop()]
torch.manual_seed(0)
trainer, module = Run(folder).fit(
    own,
    module=ClipGenerator(),
    data=ClipData(),
    steps=3,
    max_epochs=2,
    save_every=4,
    strategy="ddp",
    devices=2,
)
told = {
    "sampled": len(module.sampled),
    "weights": {name: value.tolist() for name, value in module.state_dict().items()},
}
(folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(told))
