"""A checkpoint is whole or says that it is not, and what is not ours does not run."""

from __future__ import annotations

import hashlib
import random
import resource
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from lit_modules.checkpoints import (
    FORMAT,
    DamagedCheckpointError,
    load_module,
    load_weights,
    read_checkpoint,
    read_file,
    read_or_newest,
)
from lit_modules.sealed_file import check_seal, survey, write_sealed


def write(path: Path, step: int = 1, values: int = 40) -> Path:
    weights = torch.randn(values, generator=torch.Generator().manual_seed(step))
    content = {"global_step": step, "state_dict": {"a": weights}, "hyper_parameters": {}}
    write_sealed(content | {"class_name": "LitFlowVideo", "litarcade_format": FORMAT}, path)
    return path


def test_every_single_bit_flip_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt")
    whole = path.read_bytes()
    seal = 8 * (len(whole) - 120)  # and every bit of the end, where the digest itself lies
    flips = {random.Random(0).randrange(8 * len(whole)) for _ in range(100)}
    for bit in sorted(flips | set(range(seal, 8 * len(whole), 5))):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError):
            check_seal(path)
    path.write_bytes(whole)
    check_seal(path)


def test_every_shorter_file_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt")
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 197), *range(len(whole) - 100, len(whole), 7)]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedCheckpointError, match=r"a\.ckpt is not a readable checkpoint"):
            read_file(path)


def test_sealed_file_is_a_zip_and_a_torch_file_with_the_digest_of_what_precedes(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.ckpt", step=7)
    comment = zipfile.ZipFile(path).comment.decode()
    body = path.read_bytes()[: -len(comment) - 2]
    assert comment.split() == ["litarcade", "sha256", hashlib.sha256(body).hexdigest()]
    assert torch.load(path, weights_only=True)["global_step"] == 7
    assert zipfile.ZipFile(path).testzip() is None


def test_damaged_file_gives_way_to_the_newest_whole_one(tmp_path: Path) -> None:
    names = {3: "b.ckpt", 9: "last.ckpt", 6: "c.ckpt"}
    paths = {step: write(tmp_path / name, step) for step, name in names.items()}
    paths[9].write_bytes(paths[9].read_bytes()[:-200])
    assert survey(tmp_path) == (paths[6], [paths[9]])
    with pytest.warns(UserWarning, match=r"last\.ckpt is not a readable.*going on from .*c\.ckpt"):
        path, checkpoint = read_or_newest(paths[9])
    assert (path, checkpoint["global_step"]) == (paths[6], 6)
    with pytest.raises(ValueError, match=r"last\.ckpt is not a readable.*take .*c\.ckpt"):
        read_checkpoint(paths[9])
    for step in (3, 6):
        paths[step].write_bytes(b"")
    with pytest.raises(ValueError, match="no other of its folder is whole"):
        read_or_newest(paths[9])


def test_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", step=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(path, step=2, values=4000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_file(path)["global_step"] == 1
    assert [x.name for x in tmp_path.iterdir()] == ["a.ckpt"]


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_malicious_pickle_does_not_run(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "bad.ckpt"
    good = {"class_name": "LitFlowVideo", "hyper_parameters": {}, "state_dict": {}}
    torch.save(good | {"global_step": Malicious(trace)}, path)
    torch.load(path, weights_only=False)
    assert trace.exists()  # it does what it says where it may
    trace.unlink()
    module = torch.nn.Linear(1, 1)
    for read in (read_file, read_or_newest, load_module, lambda p: load_weights(module, p)):
        with pytest.raises(ValueError, match="not a readable checkpoint"):
            read(path)
    assert survey(tmp_path) == (None, [path])
    assert not trace.exists()


def test_file_of_format_1_comes_back_as_one_of_today(tmp_path: Path) -> None:
    path = tmp_path / "old.ckpt"
    hparams = {"_class_path": "lit_modules.LitFlowVideo", "base": 8}
    torch.save({"global_step": 5, "state_dict": {}, "hyper_parameters": hparams}, path)
    checkpoint = read_checkpoint(path)
    assert (checkpoint["class_name"], checkpoint["litarcade_format"]) == ("LitFlowVideo", FORMAT)
    assert checkpoint["hyper_parameters"] == hparams


def test_file_of_a_newer_version_says_what_to_do(tmp_path: Path) -> None:
    write_sealed({"litarcade_format": FORMAT + 1, "global_step": 1}, tmp_path / "new.ckpt")
    shutil.copy(write(tmp_path / "b.ckpt"), tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match=rf"new\.ckpt has format {FORMAT + 1}.*or a newer one"):
        read_or_newest(tmp_path / "new.ckpt")
