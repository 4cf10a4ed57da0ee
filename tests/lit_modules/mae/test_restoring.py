"""A video in clips: which frames a clip shows, what is hidden in it, how little is held at once."""

from __future__ import annotations

import pytest
import torch

from lit_modules.mae.hiding import FlatColour, Frames, Picture
from lit_modules.mae.restoring import Piece, Restorer, units_of

SIDE, LENGTH = 8, 4


class Reader:
    """Restores hidden units as the number of the clip's first frame; keeps what it was shown.

    Pixels of frame n are n, so that a clip says which frames it is made of.
    """

    clip_length = LENGTH

    def __init__(self) -> None:
        self.clips: list[list[int]] = []
        self.hidden: list[torch.Tensor] = []
        self.states: list[torch.Tensor | None] = []

    def scale(self, video):
        return video.float() / 127.5 - 1

    def restore(self, video, hidden, state=None, state_mask=None, camera=None):
        values = (video[0, 0, :, 0, 0] + 1) * 127.5
        self.clips.append(values.round().int().tolist())
        self.hidden.append(hidden[0])
        self.states.append(state)
        return torch.full_like(video, 200 / 127.5 - 1)


def cut(frames: int, length: int, hidden=None, state: bool = False):
    """Pieces of a video of `frames` frames of 16x16 pixels, its top left pixel's unit visible."""
    pixels = torch.arange(frames, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16)
    mask = torch.zeros(frames, 16, 16, dtype=torch.bool)
    mask[:, 8:, 3:5] = True
    mask = mask if hidden is None else hidden
    states = torch.arange(frames)[:, None].float()
    for i in range(0, frames, length):
        part = slice(i, i + length)
        yield Piece(pixels[part], mask[part], states[part] if state else None)


def run(frames: int, **options):
    reader = Reader()
    restorer = Restorer(reader, SIDE, **options)
    made = [x for _, x in restorer.restore(cut(frames, restorer.length, state=True))]
    return reader, torch.cat(made)


def test_clips_follow_each_other_and_the_last_ends_with_the_video():
    reader, made = run(10)
    assert reader.clips == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert len(made) == 10


def test_borrowed_units_stay_whole_at_an_odd_end():
    assert run(9)[0].clips == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 8]]


def test_short_video_is_filled_up_by_its_last_frame():
    reader, made = run(1)
    assert reader.clips == [[0, 0, 0, 0]]
    assert len(made) == 1


def test_steps_deal_frames_out_to_several_clips():
    reader, made = run(20, step=2)
    assert reader.clips == [
        *([0, 2, 4, 6], [1, 3, 5, 7]),
        *([8, 10, 12, 14], [9, 11, 13, 15]),
        *([12, 14, 16, 18], [13, 15, 17, 19]),
    ]
    assert (made[:, :, 8:, 3:5] == 200).all()


def test_a_frame_fills_a_unit_where_frames_are_missing():
    assert run(5, each=2)[0].clips == [[0, 0, 1, 1], [2, 2, 3, 3], [3, 3, 4, 4]]


@pytest.mark.parametrize("options", [{}, {"step": 2}, {"each": 2}, {"step": 3}])
@pytest.mark.parametrize("frames", [1, 3, 8, 11])
def test_hidden_pixels_alone_are_replaced(frames, options):
    reader, made = run(frames, **options)
    (whole,) = cut(frames, frames)
    expected = whole.frames.masked_fill(whole.hidden[:, None], 200)
    assert torch.equal(made, expected)
    for hidden in reader.hidden:  # the one unit in each of its times
        assert hidden[:, 1, 0].all() and hidden.sum() == len(hidden)
    for clip, state in zip(reader.clips, reader.states, strict=True):
        assert state[0, :, 0].tolist() == clip  # the state goes with its frame


def test_pieces_are_asked_for_one_by_one():
    asked = []

    def pieces():
        for number, piece in enumerate(cut(12, LENGTH)):
            asked.append(number)
            yield piece

    restored = Restorer(Reader(), SIDE).restore(pieces())
    for count in (1, 2, 3):
        next(restored)
        assert len(asked) == count


def test_unit_is_hidden_by_any_of_its_pixels():
    hidden = torch.zeros(3, 20, 16, dtype=torch.bool)
    hidden[1, 7, 8] = hidden[2, 19, 0] = True  # rows 16 to 19 and frame 2 are parts of units
    units = units_of(hidden, SIDE)
    assert units.shape == (2, 3, 2)
    assert units.nonzero().tolist() == [[0, 0, 1], [1, 2, 0]]


def test_clip_that_is_hidden_whole_names_its_frames():
    hidden = torch.zeros(12, 16, 16, dtype=torch.bool)
    hidden[4:8, ::4, ::4] = True
    with pytest.raises(ValueError, match="frames 4 to 7: 100% of a clip"):
        list(Restorer(Reader(), SIDE).restore(cut(12, LENGTH, hidden)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", [3]),
        ("1,4-6", [1, 4, 5, 6]),
        ("1::3", [1, 4, 7]),
        ("2:8:2", [2, 4, 6]),
        ("7:", [7, 8]),
    ],
)
def test_frames_are_named_by_numbers_ranges_and_steps(text, expected):
    hidden = Frames(text)(0, torch.zeros(9, 3, 4, 4))
    assert [i for i in range(9) if hidden[i].all()] == expected
    assert hidden.sum() == 16 * len(expected)
    later = Frames(text)(5, torch.zeros(4, 3, 4, 4))
    assert torch.equal(later, hidden[5:])


@pytest.mark.parametrize("text", ["", "a", "5-3", "1::0", "-1", "1,,2", "5:5"])
def test_other_numbers_are_refused(text):
    with pytest.raises(ValueError, match="names no frames"):
        Frames(text)


def test_picture_of_units_is_that_of_their_pixels():
    units = torch.tensor([[1, 0], [0, 1], [0, 0]]).bool()
    by_units = Picture(units, (20, 13), SIDE)(0, torch.zeros(2, 3, 20, 13))
    pixels = torch.zeros(20, 13, dtype=torch.bool)
    pixels[:8, :8] = pixels[8:16, 8:] = True
    assert torch.equal(by_units, pixels.expand(2, -1, -1))
    assert torch.equal(Picture(pixels, (20, 13), SIDE).mask, pixels)


def test_flat_sky_is_not_taken_for_a_mask():
    frame = torch.zeros(3, 20, 22, dtype=torch.uint8)
    frame[:, 17:] = 90  # sky down to within a patch
    frame[:, :4, 8:12] = frame[:, 16:, 20:] = 55  # two patches, one at the cut edge
    hiding = FlatColour(frame, 4)
    assert hiding.colour == (55, 55, 55)
    assert hiding.count == 2
    assert torch.equal(hiding(0, frame[None])[0], frame[0] == 55)
    with pytest.raises(ValueError, match="colour of their own"):
        FlatColour(frame.clone().masked_fill_(frame == 55, 0), 4)
    assert FlatColour(frame, 4, (0, 0, 0)).count == 4 * 6 - 1


def test_picture_without_flat_patches_is_refused():
    noise = torch.randint(0, 256, (3, 16, 16), generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="colour of their own"):
        FlatColour(noise.to(torch.uint8), 4)
