"""Groups of frames to packets by a trained codec, and back, whatever is lost of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_modules.codec.concealment import conceal
from lit_modules.codec.motion import (
    Frames,
    Mask,
    compose,
    continued,
    cube_errors,
    movements,
    shifted,
)
from lit_modules.codec.packets import SHIFTED, UNKNOWN, Array, CubeCoder, Lattice
from lit_modules.codec.shared import LONGEST, Shared, from_steps, to_steps, unpack
from lit_modules.codec.tiles import Tiles, cubes
from lit_modules.mae.cubes import FRAMES

if TYPE_CHECKING:
    from lit_modules.codec.module import LitVideoCodec

PACKETS = 8
BYTE_UNITS = 127.5**2  # squared errors of bytes in one of values in [-1, 1]


class LearnedCoder:
    """Codes groups of frames of any size, in tiles about as large as the model was trained on.

    A cube has as many codebooks as pay, up to the quality, or none where the frame before says
    enough: as it is, or moved as the picture moves. The network runs on one clip of one tile at a
    time and on one thread, so neither the number of threads nor how groups are put together
    changes bytes or pixels.

    Args:
        module: a trained codec.
        quality: most codebooks of a cube, 1 to those that the model has.

    Raises:
        ValueError: the model has fewer codebooks, or was never trained.
    """

    def __init__(self, module: LitVideoCodec, quality: int) -> None:
        if not 1 <= quality <= module.codebooks:
            raise ValueError(f"quality {quality} must be 1 to {module.codebooks} for this model")
        if not module.net.quantizer.begun:
            raise ValueError("the checkpoint holds no codebooks; train the codec first")
        self.module, self.net, self.quality = module.eval(), module.net, quality
        self.side = self.net.encoder.cube_side
        self.rows = module.tables.rows()

    def encode_group(
        self, frames: Frames, state: NDArray[np.float32] | None = None
    ) -> tuple[bytes, list[bytes]]:
        """Codes a group, which is decoded by itself.

        Args:
            frames: RGB `(t, h, w, 3)`, at most 1024.
            state: the game's state in [-1, 1], `(t, d)`, if known; of no use to a model that was
                not trained with one.

        Returns:
            What all packets need, and the packets.
        """
        shared, packets, _ = self.encode(frames, state)
        return shared, packets

    @torch.no_grad()
    def encode(
        self, frames: Frames, state: NDArray[np.float32] | None = None
    ) -> tuple[bytes, list[bytes], Frames]:
        """As `encode_group`; also the frames as they will be decoded.

        Raises:
            ValueError: no such frames, or a state of another length than the model's.
        """
        if frames.ndim != 4 or frames.dtype != np.uint8 or not 1 <= len(frames) <= LONGEST:
            raise ValueError(
                f"a group is 1 to {LONGEST} uint8 frames (t, h, w, 3), not {frames.dtype}"
                f" {frames.shape}"
            )
        if self.module.state_dim == 0:
            state = None
        if state is not None and state.shape != (len(frames), self.module.state_dim):
            raise ValueError(
                f"state {state.shape} must be {(len(frames), self.module.state_dim)}: that of"
                " each frame"
            )
        tiles = self._tiles(frames.shape[:3])
        steps = None if state is None else to_steps(state)
        with one_thread():
            padded = tiles.pad(frames)
            moves = movements(padded)
            codes, depth = self._quantise(padded, tiles)
            operations = self._choose(padded, tiles, codes, depth, moves, steps)
            made = self._reconstruct(tiles, operations, codes, moves, steps)
        lattice = Lattice(operations.shape, PACKETS)
        packets = CubeCoder(self.rows, self.quality).encode(operations, codes, lattice)
        shared = Shared(tiles.shape, self.quality, PACKETS, moves, steps).pack()
        return shared, packets, tiles.crop(made)

    @torch.no_grad()
    def decode_group(
        self, shared: bytes, packets: list[bytes | None], before: Frames | None = None
    ) -> tuple[Frames, Mask]:
        """Decodes a group; cubes of lost packets are made up from what is around them.

        Args:
            shared: as `encode_group` gave it.
            packets: likewise, None where lost.
            before: the frame shown before the group, `(h, w, 3)`, if there is one: it stands in for
                what is lost of the first.

        Returns:
            RGB `(t, h, w, 3)`, and which cubes are made up, `(T, rows, columns)`.

        Raises:
            ValueError: they are not of a group of this model.
        """
        about = unpack(shared, self.module.clip_length)
        if about.packets != len(packets):
            raise ValueError(f"{len(packets)} packets where the group has {about.packets}")
        known = None if about.state is None else about.state.shape[1]
        if about.quality > self.module.codebooks or known not in (None, self.module.state_dim):
            raise ValueError(
                f"the group has {about.quality} codebooks and states of {known} values, the model"
                f" {self.module.codebooks} and {self.module.state_dim}; give the checkpoint that"
                " the file was compressed with"
            )
        tiles = self._tiles(about.shape)
        lattice = Lattice(self._grid(tiles), about.packets)
        coder = CubeCoder(self.rows, about.quality)
        operations, codes = coder.decode(packets, lattice, self.net.parts)
        lost = operations == UNKNOWN
        operations = conceal(operations)
        with one_thread():
            decoded = self._decoded(tiles, operations, codes, about.state)
        if before is None or before.shape != (*about.shape[1:], 3):
            made = compose(decoded, operations, about.moves, self.side)
        else:
            operations[0][lost[0]] = SHIFTED
            made = continued(tiles.pad(before[None]), decoded, operations, about.moves, self.side)
        times, rows, columns = (
            -(-length // unit)
            for length, unit in zip(about.shape, (FRAMES, self.side, self.side), strict=True)
        )
        return tiles.crop(made), lost[:times, :rows, :columns]

    def _tiles(self, shape: tuple[int, ...]) -> Tiles:
        t, h, w = shape
        unit = self.net.encoder.unit_side
        return Tiles((t, h, w), self.module.size, unit, self.module.clip_length)

    def _grid(self, tiles: Tiles) -> tuple[int, int, int]:
        t, h, w = tiles.padded
        return t // FRAMES, h // self.side, w // self.side

    def _quantise(self, frames: Frames, tiles: Tiles) -> tuple[Array, Array]:
        """Codes `(T, H, W, parts, codebooks)` and how many of them pay, `(T, H, W)`."""
        quantizer, grid = self.net.quantizer, self._grid(tiles)
        codes = np.zeros((*grid, self.net.parts, quantizer.count), np.int64)
        depth = np.zeros(grid, np.int64)
        price = self.price() * self.net.parts
        for places in tiles:
            vectors = self.net.encode(self._video(frames[places]))[0]
            found = quantizer.encode(vectors.flatten(0, 3)).view(*vectors.shape[:-1], -1)
            rest = vectors[..., None, :] - quantizer.partial_sums(found[..., : self.quality])
            errors = rest.square().sum((-1, -3))  # (T, H, W, quality)
            costs = errors + price * torch.arange(1, self.quality + 1, device=errors.device)
            where = cubes(places, FRAMES, self.side)
            codes[where] = found.cpu().numpy()
            depth[where] = costs.argmin(-1).cpu().numpy() + 1
        return codes, depth

    def price(self) -> float:
        """Squared error that a codebook of a part must save: what the next one saves on average."""
        left: list[float] = self.net.quantizer.left.tolist()
        saved = [max(0.0, before - after) for before, after in pairwise(left)]
        if self.quality < len(saved):
            return saved[self.quality]
        if len(saved) == 1:
            return saved[0]
        return saved[-1] * min(1.0, saved[-1] / max(saved[-2], 1e-12))  # savings fall on alike

    def _choose(
        self,
        frames: Frames,
        tiles: Tiles,
        codes: Array,
        depth: Array,
        moves: NDArray[np.int8],
        steps: NDArray[np.int16] | None,
    ) -> Array:
        """Which cubes repeat the frame before: where that costs less than codes, errors counted."""
        operations = depth + SHIFTED
        made = self._decoded(tiles, operations, codes, steps)
        price = self.price() * self.net.parts * BYTE_UNITS
        for time in range(1, len(operations)):
            pair = slice(time * FRAMES, (time + 1) * FRAMES)
            true, last = frames[pair], made[time * FRAMES - 1]
            costs = [cube_errors(true, np.stack([last, last]), self.side)]
            once = shifted(last, *moves[time * FRAMES])
            moved = np.stack([once, shifted(once, *moves[time * FRAMES + 1])])
            costs.append(cube_errors(true, moved, self.side))
            costs.append(cube_errors(true, made[pair], self.side) + price * depth[time])
            best = np.argmin(costs, 0)  # the first of equals: STILL before SHIFTED
            operations[time] = np.where(best > SHIFTED, operations[time], best)
            before = slice(time * FRAMES - 1, (time + 1) * FRAMES)
            both = np.stack([operations[time - 1], operations[time]])
            made[before] = compose(made[before], both, moves[before], self.side, 1)
        return operations

    def _reconstruct(
        self,
        tiles: Tiles,
        operations: Array,
        codes: Array,
        moves: NDArray[np.int8],
        steps: NDArray[np.int16] | None,
    ) -> Frames:
        """Frames as a decoder shows them, `(t, h, w, 3)` of the padded shape."""
        decoded = self._decoded(tiles, operations, codes, steps)
        return compose(decoded, operations, moves, self.side)

    def _decoded(
        self, tiles: Tiles, operations: Array, codes: Array, steps: NDArray[np.int16] | None
    ) -> Frames:
        """What the network makes of the codes."""
        out = np.empty((*tiles.padded, 3), np.uint8)
        depth = torch.from_numpy(np.maximum(operations - SHIFTED, 0))
        indices = torch.from_numpy(codes)
        for places in tiles:
            where = cubes(places, FRAMES, self.side)
            deep = depth[where][None].to(self.net.basis.device)
            chosen = indices[where][None].to(deep.device)
            said = self.net.quantizer.decode(chosen, deep[..., None].expand(chosen.shape[:-1]))
            video = self.net.decode(said, deep, *self._state(steps, places[0]))[0]
            levels = ((video.clamp(-1, 1) + 1) * 127.5).round().byte()
            out[places] = levels.permute(1, 2, 3, 0).cpu().numpy()
        return out

    def _state(
        self, steps: NDArray[np.int16] | None, times: slice
    ) -> tuple[Tensor | None, Tensor | None]:
        """The state of a clip `(1, t, d)` and which frames' is known."""
        if steps is None:
            return None, None
        mine = steps[np.arange(times.start, times.stop).clip(max=len(steps) - 1)]
        state = torch.from_numpy(from_steps(mine))[None].to(self.net.basis.device)
        return state, torch.ones(state.shape[:2], dtype=torch.bool, device=state.device)

    def _video(self, frames: Frames) -> Tensor:
        """`(t, h, w, 3)` to `(1, 3, t, h, w)` in the model's range."""
        video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None]
        return self.module.scale(video.to(self.net.basis.device))


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, however many threads there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
