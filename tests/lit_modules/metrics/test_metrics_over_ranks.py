"""Two processes with half of the clips each come to what one process comes to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scrolling import scrolling

from lit_modules.metrics import GenerationQuality, NearestTraining


@pytest.mark.slow
def test_two_ranks_judge_as_one(tmp_path):
    here = Path(__file__)
    path = os.pathsep.join([str(here.parents[3]), os.environ.get("PYTHONPATH", "")])
    ranks = [
        subprocess.Popen(
            [sys.executable, str(here.with_name("judge_two_ranks.py")), str(tmp_path), str(rank)],
            env=os.environ | {"PYTHONPATH": path},
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=240) for process in ranks] == [0, 0]
    finally:
        for process in ranks:
            process.kill()
    quality, nearest = GenerationQuality(), NearestTraining()
    quality.update(real=scrolling(24, seed=0), generated=scrolling(10, seed=1))
    nearest.update_queries(generated=scrolling(10, seed=1), held_out=scrolling(3, seed=2))
    nearest.update(scrolling(24, seed=0))
    alone = {name: float(x) for name, x in (quality.compute() | nearest.compute()).items()}
    for rank in range(2):
        told = json.loads((tmp_path / f"rank{rank}.json").read_text())
        assert told == pytest.approx(alone, rel=1e-3, abs=1e-3)
