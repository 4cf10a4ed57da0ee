"""Training runs in processes of their own, which start at once and to which harm is done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent.parent
# Forked from a server that has imported everything: a run starts in a second instead of ten.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["train", "datamodules.ale"])
os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"  # which the server looks through
os.environ.setdefault("OMP_NUM_THREADS", "1")

PATIENCE = float(os.environ.get("FAULTS_PATIENCE", "240"))
"""Seconds after which a run that has not ended hangs."""


def command(system: str, preset: str, folder: Path, *more: str, verb: str = "fit") -> list[str]:
    """The command line of a preset's small version, whose files go to `folder`."""
    name = f"{system}/{preset}.yaml"
    return [
        *(verb, "-c", f"configs/{name}", "-c", f"tests/conf/{name}"),
        *("--trainer.logger.save_dir", str(folder), *more),
    ]


class Run:
    """`train.py` in a process of its own, which ends at the latest with this one.

    Args:
        arguments: of `train.py`.
        log: file for what it prints, which goes through a pipe: a disk that is full for the run is
            not so for what it says.
        harm: called in the process before it trains.
        environment: variables of it alone.
        main: what runs, `train.main` if unset.
    """

    def __init__(
        self,
        arguments: list[str],
        log: Path,
        harm: Callable[[], None] | None = None,
        environment: Mapping[str, str] | None = None,
        main: Callable[[list[str]], Any] | None = None,
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        out, into = FORKS.Pipe(duplex=False)
        given = (arguments, into, harm, dict(environment or {}), main)
        self.process = FORKS.Process(target=_run, args=given, daemon=False)
        self.process.start()
        into.close()
        self._reader = threading.Thread(target=_keep, args=(out, log), daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def alive(self) -> bool:
        """Whether it is still running."""
        return self.process.exitcode is None

    def send(self, signum: int) -> None:
        """Sends a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signum)

    def kill(self) -> bool:
        """`kill -9`; whether it was still running."""
        self.process.kill()
        self.process.join(PATIENCE)
        return self.process.exitcode == -signal.SIGKILL

    def end(self, seconds: float = PATIENCE) -> int:
        """Exit status of a run that is let go on.

        Raises:
            TimeoutError: it has not ended; it is killed.
        """
        self.process.join(seconds)
        if self.alive:
            self.process.kill()
            self.process.join()
            raise TimeoutError(f"hangs after {seconds} s: {self.output[-3000:]}")
        assert self.process.exitcode is not None
        self._reader.join(5)
        return self.process.exitcode

    def finish(self) -> str:
        """Lets it come to its end, which must be a good one; returns what it printed."""
        status = self.end()
        assert status == 0, f"exit status {status}: {self.output[-3000:]}"
        return self.output

    def wait_for(self, there: Callable[[], bool], every: float = 0.002) -> None:
        """Waits until something is there, or the run has ended; looks `every` so many seconds."""
        deadline = time.monotonic() + PATIENCE
        while self.alive and not there():
            if time.monotonic() > deadline:
                self.process.kill()
                raise TimeoutError(f"nothing after {PATIENCE} s: {self.output[-3000:]}")
            time.sleep(every)


def _keep(out: Connection, log: Path) -> None:
    """Writes down what comes out of a pipe until nobody holds its other end."""
    with log.open("wb", buffering=0) as file:
        while said := os.read(out.fileno(), 1 << 16):
            file.write(said)


def _run(
    arguments: list[str],
    into: Connection,
    harm: Callable[[], None] | None,
    environment: dict[str, str],
    main: Callable[[list[str]], Any] | None,
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.chdir(ROOT)
    os.dup2(into.fileno(), 1)
    os.dup2(into.fileno(), 2)
    into.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
    os.environ.update(environment)
    tempfile.tempdir = None  # which the server may have asked for before
    torch.set_num_threads(1)
    if harm is not None:
        harm()
    if main is None:
        from train import main
    main(arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def ranks(count: int) -> list[dict[str, str]]:
    """The variables by which torchrun tells each process who it is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "harm"}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "GROUP_RANK": "0"}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a run and of those that went on from it, the newest first."""
    times = []
    for path in folder.rglob("*.ckpt"):
        try:
            times.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:  # just replaced by a newer one
            continue
    return [path for _, path in sorted(times, reverse=True)]


def read(path: Path) -> dict[str, Any]:
    """A checkpoint as anybody reads it."""
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint
