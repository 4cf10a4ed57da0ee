"""Files as others might hand them in: good ones with bytes changed, cut, put in and doubled."""

from __future__ import annotations

import faulthandler
import io
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from made_recordings import scroll

HANGS = 30.0
"""Seconds after which an attempt hangs."""
MOST_MEMORY = 3 << 30
"""Bytes of address space that an attempt may add to the process."""
FRAMES = 40


@dataclass(frozen=True)
class Target:
    """A kind of input: good ones to begin with, who reads it, and errors that are an answer."""

    suffix: str
    good: Callable[[Path], list[bytes]]
    read: Callable[[Path], Any]
    answers: tuple[type[BaseException], ...]


def videos(folder: Path) -> list[bytes]:
    from datamodules.video_io import write_video

    pictures, _ = scroll(0, 12, (32, 48))
    for name in ("a.avi", "b.gif", "c.mp4"):
        write_video(folder / name, list(pictures), 30)
    for codec in ("xvid", "mjpg", "ffv1"):
        write_video(folder / f"{codec}.avi", list(pictures), 30, codec)
    return contents(folder)


def read_video(path: Path) -> None:
    from datamodules.video.decoding import read_around_damage

    for _ in islice(read_around_damage(path), FRAMES):
        pass


def pictures(folder: Path) -> list[bytes]:
    from datamodules.smb_format import FAIL, SmbFrame, write_frame

    palette = np.arange(768, dtype=np.uint8).reshape(256, 3)
    for number, fill in enumerate((3, 10, 200)):
        indices = np.full((24, 32), number, np.uint8)
        frame = SmbFrame(indices, palette, np.full(2048, fill, np.uint8), 148, FAIL)
        write_frame(folder / f"{number}.png", frame)
    damaged = (folder / "1.png").read_bytes().replace(b"\n", b"\r\n")
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n" + damaged[9:])
    return contents(folder)


def read_frame(path: Path) -> None:
    from datamodules import smb_format

    smb_format.read_frame(path)


def labels(folder: Path) -> list[bytes]:
    held, seconds = np.arange(30, dtype=np.uint8), np.arange(30) / 30
    np.savez_compressed(folder / "a.npz", action=held, seconds=seconds)
    np.savez(folder / "b.npz", action=held, ram=np.zeros((30, 128), np.uint8), seconds=seconds)
    return contents(folder)


def read_labels(path: Path) -> None:
    from datamodules.labels import from_file

    from_file(path)


def tracks(folder: Path) -> list[bytes]:
    from made_motion_videos import write_moves

    from datamodules.tracking import __main__ as tracking

    write_moves(folder / "videos", "1-1", ".r.l")
    quiet = io.StringIO()
    with redirect_stdout(quiet), redirect_stderr(quiet):
        try:
            out = folder / "out"
            tracking.main(
                [
                    "extract",
                    "--input",
                    str(folder / "videos"),
                    "--out",
                    str(out),
                    "--processes",
                    "1",
                ]
            )
        except SystemExit as stop:
            assert not stop.code, quiet.getvalue()
    return [path.read_bytes() for path in out.rglob("*.safetensors")]


def read_tracks(path: Path) -> None:
    from datamodules.tracking.store import TracksFile, reading

    file = TracksFile(path)
    with reading():
        file.all()
        file.image(0)


def codes(folder: Path) -> list[bytes]:
    rows = [[1, 2, 3, 4], [3, 4, 5, 6]]
    record = {"video": "a", "codes": rows, "stride": 8, "horizon": 16, "windows": [0, 1]}
    return [json.dumps(record).encode(), json.dumps(record | {"codes": []}).encode()]


def read_codes(path: Path) -> None:
    import warnings

    from datamodules.codes import read_segments

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_segments(path.parent)


def reports(folder: Path) -> list[bytes]:
    energies = {"velocity/l2_mean": {"on": 0.5, "off": 0.4, "curve": {"thresholds": [0.1]}}}
    return [json.dumps({"energies": energies, "ema": 0.7, "circular": False}).encode()]


def read_report(path: Path) -> None:
    from lit_modules.latent_action.calibration import read_report

    read_report(str(path), "velocity/l2_mean")


def saved(folder: Path) -> list[bytes]:
    """Checkpoints as torch alone saves them, so that none is refused for its digest."""
    content = {"state_dict": {"a": torch.zeros(3)}, "hyper_parameters": {"size": [1, 2]}}
    content |= {"class_name": "LitFlowVideo", "global_step": 3}
    torch.save(content, folder / "a.ckpt")
    return contents(folder)


def read_saved(path: Path) -> None:
    from lit_modules.checkpoints import read_checkpoint

    read_checkpoint(path)


def weights(folder: Path) -> list[bytes]:
    from safetensors.torch import save_file

    save_file(torch.nn.Linear(3, 4).state_dict(), folder / "a.safetensors")
    return contents(folder)


def read_weights(path: Path) -> None:
    from lit_modules.checkpoints import load_weights

    load_weights(torch.nn.Linear(3, 4), path)


def buttons(folder: Path) -> list[bytes]:
    return [b"right:30,right+jump:10,noop", b"148:3, a+b:12 ,none"]


def read_buttons(path: Path) -> None:
    from datamodules.buttons import parse

    parse(path.read_bytes().decode(errors="replace"))


def compressed(folder: Path) -> list[bytes]:
    from lit_modules.codec import Header, LavWriter

    file, rng = io.BytesIO(), np.random.default_rng(0)
    with LavWriter(file, Header("palette", 48, 64, 30.0, 8, {"quality": "lossless"})) as writer:
        for group in range(3):
            seconds = np.arange(8 * group, 8 * group + 8) / 30
            writer.add_group(seconds, [rng.bytes(30) for _ in range(4)], rng.bytes(20))
    return [file.getvalue()]


def read_compressed(path: Path) -> None:
    from lit_modules.codec import LavReader

    with path.open("rb") as file:
        reader = LavReader(file)
        for _ in islice(reader.groups(), FRAMES):
            pass
        reader.rates()


def presets(folder: Path) -> list[bytes]:
    root = Path(__file__).parent.parent.parent
    return [path.read_bytes() for path in sorted((root / "tests/conf").glob("*/*.yaml"))]


def read_preset(path: Path) -> None:
    """A preset with a damaged overlay; whatever is wrong ends in one line."""
    from train import main

    said = io.StringIO()
    status: Any = 0
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        try:
            main(["fit", "-c", "configs/flow/tiny.yaml", "-c", str(path), "--print_config"])
        except SystemExit as stop:
            status = stop.code
    assert status in (0, None) or said.getvalue().count("error:") == 1, said.getvalue()


def targets() -> dict[str, Target]:
    """All kinds, each with the errors that are its answers."""
    from datamodules.labels import LabelsError
    from datamodules.tracking.store import TracksError
    from datamodules.video.decoding import VideoError
    from lit_modules.codec import BitstreamError

    return {
        "video": Target(".avi", videos, read_video, (VideoError,)),
        "picture": Target(".png", pictures, read_frame, (VideoError,)),
        "labels": Target(".npz", labels, read_labels, (LabelsError,)),
        "tracks": Target(".tracks.safetensors", tracks, read_tracks, (TracksError,)),
        "codes": Target(".codes.json", codes, read_codes, ()),
        "report": Target(".json", reports, read_report, (ValueError,)),
        "checkpoint": Target(".ckpt", saved, read_saved, (ValueError,)),
        "weights": Target(".safetensors", weights, read_weights, (ValueError,)),
        "buttons": Target(".txt", buttons, read_buttons, (ValueError,)),
        "compressed": Target(".lav", compressed, read_compressed, (BitstreamError,)),
        "preset": Target(".yaml", presets, read_preset, ()),
    }


SHARES = {
    **{"video": 0.25, "picture": 0.2, "labels": 0.1, "tracks": 0.05, "codes": 0.08},
    **{"report": 0.05, "checkpoint": 0.05, "weights": 0.05, "buttons": 0.07},
    **{"compressed": 0.095, "preset": 0.005},
}
"""Of all attempts; a preset takes as long as a thousand others."""


def contents(folder: Path) -> list[bytes]:
    """Files of a folder in the order of their names."""
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]


def changed(good: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """Bytes after changes, each of a kind, at a place and with bytes of its own."""
    data = bytearray(good)
    for kind, place, own in changes:
        at = place % (len(data) + 1)
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << (own[0] % 8 if own else 0)
        elif kind == "write":
            data[at : at + len(own)] = own
        elif kind == "insert":
            data[at:at] = own
        elif kind == "remove":
            del data[at : at + 1 + (own[0] if own else 0)]
        elif kind == "double":
            data[at:at] = data[max(0, at - 16 * len(own)) : at]
        elif kind == "cut":
            del data[at:]
    return bytes(data)


TELLING = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\r\n"]
"""What lengths, counts and line ends look like at their most harmful."""


def inputs(good: list[bytes]) -> st.SearchStrategy[bytes]:
    """Damaged inputs; one in six is nothing of the kind at all."""
    own = st.binary(max_size=8) | st.sampled_from(TELLING)
    places = st.integers(0, 200) | st.integers(0, max(map(len, good)))
    kinds = st.sampled_from(["flip", "flip", "write", "write", "insert", "remove", "double", "cut"])
    changes = st.lists(st.tuples(kinds, places, own), min_size=1, max_size=6)
    damaged = st.builds(changed, st.sampled_from(good), changes)
    return st.one_of(*[damaged] * 5, st.binary(max_size=200))


def attempts(name: str, number: int, seed: int, folder: Path) -> int:
    """Reads `number` damaged inputs of a kind; returns how many it has read.

    The one at hand lies in `folder`, whatever becomes of the process.

    Raises:
        Exception: what a reader answers with that is no answer.
    """
    target = targets()[name]
    path = folder / f"input{target.suffix}"
    with tempfile.TemporaryDirectory() as other:
        good = target.good(Path(other))
    done = 0

    @seeded(seed)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(good))
    def attempt(data: bytes) -> None:
        nonlocal done
        path.write_bytes(data)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        try:
            target.read(path)
        except target.answers:
            pass
        finally:
            faulthandler.cancel_dump_traceback_later()
            done += 1

    attempt()
    return done


def main(arguments: list[str]) -> None:
    """KIND NUMBER SEED FOLDER: prints how many inputs were read; in a process of its own."""
    name, number, seed, folder = arguments
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, used + MOST_MEMORY))
    faulthandler.enable()
    print("read", attempts(name, int(number), int(seed), Path(folder)))


def shares(number: int) -> Iterator[tuple[str, int]]:
    """How many inputs of each kind."""
    for name, share in SHARES.items():
        yield name, max(1, round(share * number))
