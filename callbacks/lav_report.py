"""What a `.lav` file holds and costs, as lines to read and as figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from lit_modules.codec import BitstreamError, LavReader
from lit_modules.codec.bitstream import GroupRate

WIDEST = 200  # characters of a line that tells what the header says of its mode
TABLE = "{:>7} {:>7} {:>7} {:>9} {:>9} {:>7} {:>9} {:>9}"
COLUMNS = ("group", "first", "frames", "seconds", "packets", "shared", "container", "kbps")


@contextmanager
def open_lav(path: str | Path) -> Iterator[LavReader]:
    """A reader of a file, which is closed after it.

    Raises:
        ValueError: the path leads to something that is no file.
        BitstreamError: the file is no `.lav` file, or one that cannot be read.
        FileNotFoundError: it leads to nothing.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError(f"{path} is not a file; give a .lav file")
    with path.open("rb") as file:
        try:
            reader = LavReader(file)
        except BitstreamError as error:
            raise BitstreamError(f"{path}: {error}") from None
        yield reader


class LavReport:
    """Reads a file from front to back, one group in memory at a time.

    Args:
        path: of the file.

    Raises:
        ValueError: see `open_lav`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with open_lav(path) as reader:
            self.header, self.rates = reader.header, reader.rates()
            self.damage: Sequence[str] = [
                *reader.damage,
                *chain.from_iterable(rate.damaged for rate in self.rates),
            ]

    def figures(self) -> dict[str, Any]:
        """Header, totals and the rate of each group; plain values."""
        size = self.path.stat().st_size
        seconds = sum(rate.seconds for rate in self.rates)
        frames = sum(rate.frames for rate in self.rates)
        packets = sum(rate.packet_bytes for rate in self.rates)
        shared = sum(rate.shared_bytes for rate in self.rates)
        pixels = frames * self.header.height * self.header.width
        return {
            **asdict(self.header),
            "bytes": size,
            "packet_bytes": packets,
            "shared_bytes": shared,
            "container_bytes": size - packets - shared,
            "groups": len(self.rates),
            "frames": frames,
            "seconds": seconds,
            "kbps": 8e-3 * size / seconds if seconds else None,
            "bits_per_pixel": 8 * size / pixels if pixels else None,
            "damage": self.damage,
            "rates": [figures_of(rate) for rate in self.rates],
        }

    def lines(self) -> Iterator[str]:
        """The same for people, damage last."""
        header, figures = self.header, self.figures()
        yield (
            f"{self.path.name}: {header.mode}, {header.height}x{header.width} at {header.fps:g} "
            f"frames a second, at most {header.group_frames} frames a group"
        )
        about = json.dumps(header.about, ensure_ascii=False)
        yield about if len(about) <= WIDEST else f"{about[:WIDEST]}…"
        yield TABLE.format(*COLUMNS)
        for rate in self.rates:
            bytes_of = (rate.packet_bytes, rate.shared_bytes, rate.container_bytes)
            place = (rate.number, rate.first_frame, rate.frames, f"{rate.seconds:.3f}")
            mark = " damaged" if rate.damaged else ""
            yield TABLE.format(*place, *bytes_of, f"{rate.kbps:.2f}") + mark
        total = f"{figures['bytes']} bytes, {figures['frames']} frames"
        if self.rates:
            total += (
                f" in {figures['seconds']:.2f} seconds: {figures['kbps']:.2f} kbps, "
                f"{figures['bits_per_pixel']:.4f} bits a pixel"
            )
        yield total
        yield from self.damage


def figures_of(rate: GroupRate) -> dict[str, Any]:
    """A group's, without its damage, which is told of the whole file."""
    figures = {**rate._asdict(), "kbps": rate.kbps}
    del figures["damaged"]
    return figures
