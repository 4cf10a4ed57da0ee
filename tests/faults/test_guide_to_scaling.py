"""The scripts of the guide run, with two processes of this machine for two nodes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from laboratory import Laboratory, last, step_of
from processes import PATIENCE, ROOT

GUIDE = (ROOT / "docs/scaling.md").read_text()
SCRIPTS = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
SRUN = """#!/bin/bash
for task in 0 1; do
    SLURM_PROCID=$task SLURM_NODEID=$task SLURM_LOCALID=0 "$@" &
    tasks="$tasks $!"
done
status=0
for task in $tasks; do wait $task || status=$?; done
exit $status
"""
"""Two tasks, one a node, as SLURM would start them."""
STEPS = 6


def small(script: str, laboratory: Laboratory, folder: Path) -> str:
    """The script with one process a node, and of the preset its small version."""
    script = re.sub(r"(--nproc-per-node|--trainer.devices) 8", r"\1 1", script)
    script = re.sub(r"(--ntasks-per-node)=8", r"\1=1", script)
    name = re.search(r"-c configs/(\S+)", script)
    assert name is not None
    more = f"-c tests/conf/{name[1]} --trainer.max_steps {STEPS} --trainer.max_epochs -1"
    more += f" --data.data_dir {laboratory.data('flow')} --trainer.logger.save_dir {folder}"
    return script.replace(name[0], f"{name[0]} {more}")


def run(scripts: list[list[str]], environment: dict[str, str]) -> None:
    """Runs commands beside each other to their good ends."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    started = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in scripts
    ]
    try:
        for process in started:
            said, _ = process.communicate(timeout=2 * PATIENCE)
            assert process.returncode == 0, said[-3000:]
    finally:
        for process in started:
            process.kill()


@pytest.mark.skipif(not SCRIPTS, reason="there is no guide")
def test_torchrun_joins_two_nodes(
    laboratory: Laboratory, tried: Callable[..., None], tmp_path: Path
) -> None:
    script = small(SCRIPTS[0], laboratory, tmp_path / "runs")
    script = script.replace("29400", "29417")
    run([["bash", "-c", script]] * 2, {"HEAD": "localhost"})
    assert step_of(last(tmp_path)) == STEPS
    tried("the guide's script for torchrun, two processes for nodes")


def test_slurm_starts_two_nodes(
    laboratory: Laboratory, tried: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    srun = tmp_path / "bin/srun"
    srun.write_text(SRUN)
    srun.chmod(0o755)
    path = tmp_path / "job.sh"
    path.write_text(small(SCRIPTS[1], laboratory, tmp_path / "runs"))
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "mario", "SLURM_NODELIST": "localhost"}
    slurm |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2"}
    slurm |= {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    slurm |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29418"}
    run([["bash", str(path)]], slurm)
    assert step_of(last(tmp_path)) == STEPS
    tried("the guide's script for SLURM, two processes for nodes")
