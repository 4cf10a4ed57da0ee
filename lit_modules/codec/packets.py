"""Operations and codes of a group's cubes to packets of bytes, each for itself, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int64]
Places = tuple[NDArray[np.intp], ...]  # times, rows and columns
Pass = tuple[int, int, NDArray[np.intp], Array]  # part, codebook, cubes that have it, contexts

STILL, SHIFTED = 0, 1
"""A cube repeats the frame before, in place or moved with the picture; d + 1 is d codebooks."""
UNKNOWN = -1  # of a cube whose packet is lost
CODED, FIRST = 2, 3  # what an operation follows: one with codes, or none
FRESH = 16  # a model is made anew when its counts have grown by this part of them
ALIKE = 8  # how often, to begin with, an operation is taken to have followed one of its kind


class Lattice:
    """Which cubes of a group travel together.

    Neighbours in space and in time are in different packets, so that those of a lost packet have
    theirs about them; the cube at the same place two times earlier is in the same packet.

    Args:
        grid: times, rows and columns of cubes.
        packets: packets of a group.
    """

    def __init__(self, grid: tuple[int, int, int], packets: int = 8) -> None:
        self.grid, self.packets = grid, packets
        t, y, x = np.indices(grid)
        self.packet = (x + 3 * y + packets // 2 * (t % 2)) % packets

    def places(self, packet: int) -> Places:
        """A packet's cubes, in their order in it."""
        return np.nonzero(self.packet == packet)


class CubeCoder:
    """Codes with integer frequencies, operations with counts that begin anew in each packet.

    Args:
        rows: frequencies of codes in their contexts, see `IndexTables.rows`.
        quality: most codebooks that a cube has, at least 1.
    """

    def __init__(self, rows: NDArray[np.float32], quality: int) -> None:
        self.rows, self.quality, self.size = rows, quality, rows.shape[2]
        self.family = stream().model.Categorical(perfect=False)

    def encode(self, operations: Array, codes: Array, lattice: Lattice) -> list[bytes]:
        """Packets of a group.

        Args:
            operations: `(T, H, W)`, see `STILL`.
            codes: `(T, H, W, parts, codebooks)`; not read beyond those that an operation asks for.
            lattice: which cubes go together.
        """
        packets = []
        for packet in range(lattice.packets):
            places, coder = lattice.places(packet), stream().queue.RangeEncoder()
            said, mine = operations[places], codes[places]
            history = History(places, lattice.grid, self.quality)
            for cube, symbol in enumerate(said.tolist()):
                coder.encode(symbol, history.model(cube))
                history.see(cube, symbol)
            for part, stage, used, context in self._passes(said, mine):
                symbols = mine[used, part, stage].astype(np.int32)
                coder.encode(symbols, self.family, self.rows[stage, context])
            packets.append(coder.get_compressed().astype("<u4").tobytes())
        return packets

    def decode(
        self, packets: list[bytes | None], lattice: Lattice, parts: int
    ) -> tuple[Array, Array]:
        """The inverse of `encode`; cubes of lost packets are `UNKNOWN`.

        Args:
            packets: as many as the lattice has, None where lost.
            lattice: which cubes go together.
            parts: of a cube, each with codes of its own.

        Returns:
            Operations and codes (0 beyond those that count), shaped as for `encode`.

        Raises:
            ValueError: a packet is not one of this coder's.
        """
        operations = np.full(lattice.grid, UNKNOWN, np.int64)
        codes = np.zeros((*lattice.grid, parts, len(self.rows)), np.int64)
        for packet, data in enumerate(packets):
            if data is None:
                continue
            if len(data) % 4:
                raise ValueError(f"packet {packet} has {len(data)} bytes, not a multiple of 4")
            places = lattice.places(packet)
            coder = stream().queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
            history = History(places, lattice.grid, self.quality)
            said = np.zeros(len(places[0]), np.int64)
            for cube in range(len(said)):
                said[cube] = symbol = int(coder.decode(history.model(cube)))
                history.see(cube, symbol)
            mine = codes[places]
            for part, stage, used, context in self._passes(said, mine):
                mine[used, part, stage] = coder.decode(self.family, self.rows[stage, context])
            operations[places], codes[places] = said, mine
        return operations, codes

    def _passes(self, operations: Array, codes: Array) -> Iterator[Pass]:
        """Whole arrays of codes whose contexts are known by then."""
        for part in range(codes.shape[1]):
            for stage in range(self.quality):
                used = np.nonzero(operations > stage + SHIFTED)[0]
                if not len(used):
                    continue
                if stage:
                    context = codes[used, part, stage - 1]
                elif part:
                    context = codes[used, part - 1, 0]
                else:
                    context = np.full(len(used), self.size)
                yield part, stage, used, context


class History:
    """Counts of operations after those of the cube before and of the one two times earlier.

    Args:
        places: of the packet's cubes.
        grid: times, rows and columns of cubes.
        quality: most codebooks that a cube has.
    """

    def __init__(self, places: Places, grid: tuple[int, int, int], quality: int) -> None:
        number = np.full(grid, -1)
        number[places] = np.arange(len(places[0]))
        earlier = np.full(len(places[0]), -1)
        late = places[0] >= 2
        earlier[late] = number[places[0][late] - 2, places[1][late], places[2][late]]
        self.earlier: list[int] = earlier.tolist()
        self.kinds = [FIRST] * len(self.earlier)
        self.model_of = stream().model.Categorical
        self.counts = np.ones((FIRST + 1, FIRST + 1, quality + 2), np.float32)
        for kind in (STILL, SHIFTED):
            self.counts[kind, kind, kind] = ALIKE
        self.models: dict[tuple[int, int], Any] = {}
        self.left: dict[tuple[int, int], int] = {}  # sights until a context's model is made anew

    def _context(self, cube: int) -> tuple[int, int]:
        earlier = self.earlier[cube]
        return (
            self.kinds[earlier] if earlier >= 0 else FIRST,
            self.kinds[cube - 1] if cube else FIRST,
        )

    def model(self, cube: int) -> Any:
        """What a cube's operation is expected to be."""
        context = self._context(cube)
        if not self.left.get(context, 0):
            counts = self.counts[context]
            self.models[context] = self.model_of(counts, perfect=False)
            self.left[context] = 1 + int(counts.sum()) // FRESH
        return self.models[context]

    def see(self, cube: int, operation: int) -> None:
        """Counts a cube's operation."""
        context = self._context(cube)
        self.counts[context][operation] += 1
        self.left[context] -= 1
        self.kinds[cube] = min(operation, CODED)


def stream() -> Any:
    """`constriction.stream`, imported where it is used.

    Raises:
        ModuleNotFoundError: the extra is not installed.
    """
    try:
        import constriction
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "coding needs constriction; install the extra: pip install -e .[codec]"
        ) from error
    return constriction.stream
