"""Sizes of HST-MAE, as arguments of `MaskedAutoencoder`."""

from __future__ import annotations

from typing import TypedDict


class Size(TypedDict):
    """Arguments of `MaskedAutoencoder` that a size says."""

    dims: tuple[int, ...]
    depths: tuple[int, ...]
    decoder_dim: int
    patch: int
    size: tuple[int, int]


SIZES: dict[str, Size] = {
    "base": {
        "dims": (768, 1024, 1280, 1408),
        "depths": (1, 2, 3, 1),
        "decoder_dim": 960,
        "patch": 4,
        "size": (224, 224),
    },
    "large": {
        "dims": (768, 1024, 1280, 1408),
        "depths": (2, 5, 10, 3),
        "decoder_dim": 1280,
        "patch": 4,
        "size": (224, 224),
    },
    # Channels where tokens are few: the parameters of base at half its work.
    "balanced": {
        "dims": (128, 256, 512, 1024),
        "depths": (2, 4, 24, 3),
        "decoder_dim": 896,
        "patch": 4,
        "size": (224, 224),
    },
    # Two CPU cores: everything at half size, so that the grid of 7x7 units stays.
    "tiny": {
        "dims": (64, 128, 192, 256),
        "depths": (1, 1, 4, 1),
        "decoder_dim": 192,
        "patch": 2,
        "size": (112, 112),
    },
}
