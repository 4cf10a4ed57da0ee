"""The button byte and its names."""

from __future__ import annotations

import numpy as np
import pytest
from ale_py import Action

from datamodules.buttons import from_ale, names, parse


def test_parse_inverts_names():
    assert [parse(names(byte)) for byte in range(256)] == [[byte] for byte in range(256)]


def test_bits_are_in_the_order_of_the_smbdataset():
    order = "A,up,left,B,start,right,down,select"
    assert parse(order) == [128, 64, 32, 16, 8, 4, 2, 1]
    assert np.packbits([1, 0, 0, 1, 0, 1, 0, 0]) == parse("a+b+right")


def test_sequences_hold_for_their_number_of_frames():
    assert parse("right:3, Right+Jump:2,none,148:2") == [4] * 3 + [132] * 2 + [0] + [148] * 2
    assert parse("fire") == parse("jump") == parse("a")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rihgt:3", "unknown button 'rihgt'; did you mean right"),
        ("right+jmup", "'jmup'; did you mean jump"),
        ("", "unknown button ''"),
        ("right,", "unknown button ''"),
        ("right:0", "'right:0' is not held for a number of frames"),
        ("right:x", "number of frames"),
        ("right:", "number of frames"),
        ("right:99999999", "number of frames"),
        ("256", "buttons 256 are no byte"),
        ("-1", "unknown button '-1'"),
    ],
)
def test_what_is_no_button_is_named(text, reason):
    with pytest.raises(ValueError, match=reason.replace("+", r"\+")):
        parse(text)


def test_every_atari_action_has_its_own_byte():
    bytes_of = {action.name: from_ale(action.name) for action in Action}
    assert len(set(bytes_of.values())) == len(bytes_of) == 18
    assert bytes_of["NOOP"] == 0
    assert bytes_of["UPRIGHTFIRE"] == parse("up+right+fire")[0]
    with pytest.raises(ValueError, match="unknown Atari action 'FIREUP'"):
        from_ale("FIREUP")
