"""Judges restored clips and probes features on two processes, unevenly: FOLDER RANK."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from test_evaluation import TWO, clips, worse
from test_latent_probe import blobs

from lit_modules.mae.evaluation import RestorationTest
from lit_modules.mae.probe import LinearProbe


def judge(own: slice, all_cells: bool) -> dict[str, float]:
    """Figures of some of four clips; the second cell and the probe are fed by one rank alone."""
    true, hidden = (x[own] for x in clips(4))
    judged, probe = RestorationTest(cells=TWO), LinearProbe()
    judged.update("tube", 0.9, False, worse(true, hidden, 0.1), true, hidden)
    judged.update_baselines(true, hidden)
    if all_cells:
        judged.update("random", 0.75, True, *(x[:1] for x in (true * 0.9, true, hidden)))
        probe.update(*blobs(apart=1.5))
    return {name: float(figure) for name, figure in (judged.compute() | probe.compute()).items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    figures = judge((slice(0, 3), slice(3, 4))[rank], all_cells=rank == 0)
    torch.save(figures, folder / f"rank{rank}.pt")
    dist.destroy_process_group()
