"""Two processes, one of which sees little, come to what one process comes to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from judge_restored_two_ranks import judge


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_uneven_ranks_judge_as_one(tmp_path: Path) -> None:
    here = Path(__file__)
    path = os.pathsep.join([str(here.parents[3]), os.environ.get("PYTHONPATH", "")])
    script = str(here.with_name("judge_restored_two_ranks.py"))
    ranks = [
        subprocess.Popen(
            [sys.executable, script, str(tmp_path), str(rank)],
            env=os.environ | {"PYTHONPATH": path},
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=240) for process in ranks] == [0, 0]
    finally:
        for process in ranks:
            process.kill()
    alone = judge(slice(None), all_cells=True)
    for rank in range(2):
        assert torch.load(tmp_path / f"rank{rank}.pt") == pytest.approx(alone, rel=1e-5)
