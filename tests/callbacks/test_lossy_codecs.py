"""The smallest classical file that is near enough is found, and is near enough."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_recordings import scroll

from callbacks.lossy_codecs import LOSSY, as_good, decode, error, write


@pytest.fixture(scope="module")
def frames() -> list:
    return list(scroll(0, 6, (64, 64))[0])


@pytest.mark.parametrize("name", ["x264", "SVT-AV1"])
def test_file_is_as_near_as_asked_and_that_of_the_next_rate_is_not(
    name: str, frames: list, tmp_path: Path
) -> None:
    codec, path = LOSSY[name], tmp_path / "clip.mkv"
    files = []
    for crf in range(codec.worst + 1):
        size = write(path, codec, crf, frames, 30, 4)
        files.append((size, error(decode(path), frames)))
    asked = files[30][1]
    sizes, left_out = as_good(lambda: frames, asked, 30, 4, [name])
    assert left_out == {}
    near = [mse <= asked for _, mse in files]
    ends = [size for (size, _), one, after in zip(files, near, [*near[1:], False], strict=True)
            if one and not after]  # fmt: skip
    assert sizes[name] in ends


def test_codec_that_never_comes_so_near_is_left_out(frames: list) -> None:
    sizes, left_out = as_good(lambda: frames, 1e-9, 30, 4, ["SVT-AV1"])
    assert sizes == {}
    assert "so near" in left_out["SVT-AV1"]


def test_one_frame_more_is_an_error(frames: list) -> None:
    with pytest.raises(ValueError, match="longer"):
        error(frames[:-1], frames)
