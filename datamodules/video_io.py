"""Video files in and out: the one place where frames are decoded, encoded and turned to bytes.

`python -m datamodules.video_io describe DIR` prints what a folder of recordings holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

from datamodules.video.decoder import Rgb
from datamodules.video.decoding import SUFFIXES, VideoError, read_frames
from datamodules.video.encoding import CODECS, write_video

__all__ = ["CODECS", "SUFFIXES", "Rgb", "VideoError", "read_frames", "to_uint8", "write_video"]


def to_uint8(x: Tensor) -> Tensor:
    """Values in [0, 1] to the nearest byte; what lies outside is clamped."""
    return x.detach().clamp(0, 1).mul(255).round().to(torch.uint8)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    from datamodules.video.describe import describe  # which nobody else who reads a video needs

    parser = argparse.ArgumentParser(prog="python -m datamodules.video_io", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("describe", help=(text := "print what a folder of recordings holds"))
    verb.description = f"{text.capitalize()}: each file is decoded once, to its end."
    verb.add_argument("data_dir", metavar="DIR", help="the folder, looked through to its bottom")
    options = parser.parse_args(argv)
    try:
        describe(options.data_dir)
    except OSError as error:
        raise SystemExit(f"video_io: error: {error}") from None


if __name__ == "__main__":
    main()
