"""A run that does not fit ends in one line that says what to lower."""

import numpy as np
import pytest
import torch

from callbacks.clear_errors import one_line_errors

CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.77 GiB of "
    "which 1.02 GiB is free.\nIf reserved but unallocated memory is large try setting "
    "PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)
CPU = (
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 400000000000 bytes. Error code 12 (Cannot allocate memory)"
)


def line_of(error, capsys, program="train.py"):
    with pytest.raises(SystemExit) as stop, one_line_errors(program):
        raise error
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (torch.OutOfMemoryError(CUDA), "20.00 GiB"),
        (RuntimeError(CPU), "400000000000 bytes"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out of memory;"),
        (MemoryError("Unable to allocate 3.5 TiB for an array with shape (7,)"), "3.5 TiB"),
    ],
)
def test_out_of_memory_names_what_to_lower(error, asked, capsys):
    line = line_of(error, capsys)
    assert line.startswith("train.py: error: out of memory")
    assert asked in line
    for setting in ("data.batch_size", "data.clip_length", "data.size", "model.widths"):
        assert setting in line
    assert "PYTORCH_ALLOC_CONF" not in line


def test_generating_names_its_own_flags(capsys):
    line = line_of(torch.OutOfMemoryError(CUDA), capsys, "generate.py")
    assert "--num" in line
    assert "data." not in line


def test_memory_that_torch_and_numpy_cannot_get_is_recognised(capsys):
    for attempt in (lambda: torch.empty(1 << 59), lambda: np.empty(1 << 59)):
        with pytest.raises((RuntimeError, MemoryError)) as refused:
            attempt()
        assert "out of memory (" in line_of(refused.value, capsys)


def test_a_mistake_of_ours_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="shapes"), one_line_errors("train.py"):
        raise RuntimeError("shapes do not match")
