"""Judges the same clips on two processes, half of them on each: FOLDER RANK."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from scrolling import scrolling

from lit_modules.metrics import GenerationQuality, NearestTraining

torch.set_num_threads(1)
folder, rank = Path(sys.argv[1]), int(sys.argv[2])
store = dist.FileStore(str(folder / "store"), 2)
dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
# Pairs in turn, so that each clip has the part that it has on one process.
own = [i for i in range(24) if i // 2 % 2 == rank]
real, generated = scrolling(24, seed=0)[own], scrolling(10, seed=1)[rank::2]
quality, nearest = GenerationQuality(), NearestTraining()
quality.update(real=real, generated=generated)
nearest.update_queries(generated=generated, held_out=scrolling(3, seed=2)[rank::2])
nearest.update(real)
scores = {name: float(x) for name, x in (quality.compute() | nearest.compute()).items()}
(folder / f"rank{rank}.json").write_text(json.dumps(scores))
dist.destroy_process_group()
