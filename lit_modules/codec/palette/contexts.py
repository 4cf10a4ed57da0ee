"""The contexts of a pixel: what it may depend on, each as one number."""

from __future__ import annotations

from lit_modules.codec.palette.compiled import Array, inlined, of_integers
from lit_modules.codec.palette.planes import Planes

CONTEXTS = 18
TILE = 16
"""Pixels after which pictures of tiles repeat."""


@of_integers
def mix(key: int, value: int) -> int:
    """A key with one value more; wraps around at 64 bits."""
    return (key + value + 1) * 0x2545F4914F6CDD1D


@inlined
def look_around(keys: Array, planes: Planes, y: int, x: int, travelled: int, misses: int) -> None:
    """Fills `keys` with the contexts of a pixel.

    Args:
        keys: to be filled, `(CONTEXTS,)`.
        planes: of the frame; what is to come in it is NONE.
        y: row in the planes.
        x: column in the planes.
        travelled: pixels to the right that these rows have moved.
        misses: which neighbours to the left and above were wrong guesses, 0 to 15.
    """
    now, still, moved, older, age = (
        planes.now,
        planes.still,
        planes.moved,
        planes.older,
        planes.age,
    )
    w, ww, www = int(now[y, x - 1]), int(now[y, x - 2]), int(now[y, x - 3])
    nw, n, ne = int(now[y - 1, x - 1]), int(now[y - 1, x]), int(now[y - 1, x + 1])
    before, old, same = int(moved[y, x]), int(older[y, x]), int(still[y, x])
    tile_x, tile_y = max(0, x - TILE), max(0, y - TILE)
    phase, years = (x + travelled) % TILE, min(int(age[y, x]), 3)
    young = (
        years
        + 4 * min(int(age[y, x + 1]), 1)
        + 8 * min(int(age[y + 1, x]), 1)
        + 16 * min(int(age[y + 1, x + 1]), 1)
        + 32 * min(int(age[y + 1, x - 1]), 1)
    )
    edge = mix(mix(0, w), n)
    # The moved frame: its colour here, then ever more of it around, later pixels too.
    keys[0] = mix(mix(mix(1, before), misses), young)
    key = mix(mix(mix(edge, before), moved[y, x - 1]), moved[y - 1, x])
    keys[1] = key
    key = mix(mix(mix(mix(key, moved[y, x + 1]), moved[y + 1, x]), ne), moved[y - 1, x + 1])
    keys[2] = key
    key = mix(mix(mix(key, moved[y + 1, x + 1]), moved[y + 1, x - 1]), moved[y, x + 2])
    keys[3] = mix(mix(key, nw), ww)
    # The frame itself, from one neighbour to twenty.
    keys[4] = mix(2, w)
    keys[5] = mix(edge, 3)
    key = mix(mix(edge, nw), ne)
    keys[6] = key
    key = mix(mix(key, ww), now[y - 2, x])
    keys[7] = key
    key = mix(mix(mix(mix(key, www), now[y - 1, x + 2]), now[y - 2, x + 1]), now[y - 1, x - 2])
    keys[8] = key
    key = mix(mix(mix(key, now[y - 2, x - 1]), now[y - 3, x]), now[y, x - 4])
    key = mix(mix(mix(key, now[y - 1, x + 3]), now[y - 2, x + 2]), now[y - 2, x - 2])
    keys[9] = mix(mix(mix(key, now[y - 1, x - 3]), now[y - 3, x + 1]), now[y - 3, x - 1])
    # What was there before, at this place of the world and of the screen.
    keys[10] = mix(mix(mix(edge, 4), before), old)
    keys[11] = mix(mix(mix(mix(5, before), same), y >> 3), years)
    keys[12] = mix(mix(mix(mix(edge, 6), same), still[y, x + 1]), still[y + 1, x])
    # Tiles: the place within one, and the same place of the last ones.
    keys[13] = mix(mix(mix(mix(edge, 7), phase), y % TILE), ne)
    keys[14] = mix(mix(mix(edge, 8), phase), y)
    keys[15] = mix(mix(mix(edge, 9), now[y, tile_x]), now[y - 1, tile_x])
    keys[16] = mix(mix(mix(edge, 10), now[tile_y, x]), now[max(0, y - TILE // 2), x])
    keys[17] = mix(mix(mix(edge, 11), now[y, max(0, x - TILE // 2)]), ne)
