"""What the memory tells is what was pressed and what is to be seen."""

from __future__ import annotations

import numpy as np
import pytest
from ale_py import Action, ALEInterface, LoggerMode, roms

from lit_modules.latent_action import truth
from lit_modules.latent_action.truth import ACTIONS, UNKNOWN, boundaries, effective_actions

SKIP = 3  # emulated frames a step of 1/20 s


def play(rom: str, script: list[tuple[Action, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Frames and memory at the ends of the steps of a script of (action, steps)."""
    ALEInterface.setLoggerMode(LoggerMode.Error)
    ale = ALEInterface()
    ale.setInt("random_seed", 0)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(str(roms.get_rom_path(rom)))
    ale.reset_game()
    screens, memory = [ale.getScreenRGB()], [np.array(ale.getRAM())]
    for action, steps in script:
        for _ in range(steps):
            for _ in range(SKIP):
                ale.act(action)
            screens.append(ale.getScreenRGB())
            memory.append(np.array(ale.getRAM()))
    return np.stack(screens), np.stack(memory)


def names(game: str, memory: np.ndarray) -> list[str]:
    seconds = np.arange(len(memory)) / 20
    found = effective_actions(memory, seconds, seconds, game)
    return ["unknown" if action == UNKNOWN else ACTIONS[action] for action in found]


NOOP, FIRE, UP, DOWN = Action.NOOP, Action.FIRE, Action.UP, Action.DOWN
LEFT, RIGHT, JUMPS_RIGHT = Action.LEFT, Action.RIGHT, Action.RIGHTFIRE


@pytest.mark.parametrize(
    ("game", "rom", "script", "expected"),
    [
        ("Breakout", "breakout", [(RIGHT, 3), (NOOP, 6), (LEFT, 3)], ["right", "still", "left"]),
        ("Breakout", "breakout", [(LEFT, 4), (LEFT, 9), (RIGHT, 3)], ["left", "still", "right"]),
        ("Pong", "pong", [(NOOP, 15), (LEFT, 7), (RIGHT, 7)], ["still", "down", "up"]),
        ("Freeway", "freeway", [(UP, 10), (NOOP, 5), (DOWN, 5)], ["up", "still", "down"]),
        ("Skiing", "skiing", [(NOOP, 20), (LEFT, 12), (NOOP, 15)], ["still", "left", "left"]),
        (
            "MontezumaRevenge",
            "montezuma_revenge",
            [(NOOP, 28), (RIGHT, 2), (JUMPS_RIGHT, 5), (NOOP, 10)],
            ["still", "right", "jump right", "still"],
        ),
    ],
)
def test_scripted_play_is_told_by_the_memory(game, rom, script, expected):
    """Of each part of the script its last step is compared: movements begin and end late."""
    _, memory = play(rom, script)
    last = np.cumsum([steps for _, steps in script]) - 1
    assert [names(game, memory)[step] for step in last] == expected


AGENTS_SEEN = {
    # Colour of the agent, rows and columns of the field that it moves in.
    "Breakout": ("breakout", (200, 72, 72), (188, 195), (8, 152)),
    "Pong": ("pong", (92, 186, 92), (34, 194), (138, 146)),
    "Freeway": ("freeway", (252, 252, 84), (15, 200), (44, 50)),
    "Skiing": ("skiing", (214, 92, 92), (0, 210), (0, 160)),
    "MontezumaRevenge": ("montezuma_revenge", (200, 72, 72), (47, 190), (0, 160)),
}


@pytest.mark.parametrize("game", AGENTS_SEEN)
def test_position_is_that_of_the_agents_pixels(game):
    rom, colour, (top, bottom), (left, right) = AGENTS_SEEN[game]
    rng = np.random.default_rng(0)
    moves = [LEFT, RIGHT] if game != "Freeway" else [UP, UP, DOWN]
    script = [(NOOP, 20), *((moves[rng.integers(len(moves))], 6) for _ in range(16))]
    screens, memory = play(rom, script)
    field = (screens[:, top:bottom, left:right] == np.array(colour, np.uint8)).all(-1)
    # Where the agent is whole: it may turn, be hidden in part or lie dead.
    sizes = field.sum((1, 2))
    whole = (sizes >= 0.7 * sizes[20:].max()) & (np.arange(len(sizes)) >= 20)
    pixels = [np.argwhere(one).mean(0) for one in field[whole]]
    y, x = np.array(pixels).T
    told_x, told_y = truth.position(memory[whole].astype(np.int64), truth.AGENTS[game])
    agent = truth.AGENTS[game]
    checked = 0
    for told, seen, address in ((told_x, x, agent.x), (told_y, y, agent.y)):
        if address is not None and np.ptp(seen) > 5:
            assert np.corrcoef(told, seen)[0, 1] > 0.98
            checked += 1
    assert checked


def test_steps_are_read_at_the_frame_nearest_in_time():
    """At 30 frames a second steps of 1/20 s take one and two frames by turns."""
    seconds = np.arange(31) / 30
    memory = np.zeros((31, 128), np.uint8)
    memory[:, 72] = 50 + np.cumsum(np.arange(31) >= 15)  # moves right from frame 15 on
    steps = np.arange(21) / 20
    actions = effective_actions(memory, seconds, steps, "Breakout")
    brute = [abs(seconds - time + 1e-9).argmin() for time in steps]
    moved = np.diff(memory[brute, 72].astype(int)) > 0
    assert ((actions == ACTIONS.index("right")) == moved).all()
    assert boundaries(actions, steps).tolist() == [steps[list(moved).index(True)]]


def test_slow_movement_is_no_row_of_stops_and_a_stop_is_one():
    signs = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1, 0, -1, 0, -1, 0])
    expected = [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, -1, -1, -1, 0]
    assert truth.bridged(signs).tolist() == expected


def test_new_place_is_no_movement_and_no_boundary():
    memory = np.zeros((8, 128), np.uint8)
    memory[:, 72] = [60, 62, 64, 66, 180, 182, 184, 186]
    seconds = np.arange(8) / 20
    actions = effective_actions(memory, seconds, seconds, "Breakout")
    assert [ACTIONS[a] if a != UNKNOWN else "?" for a in actions] == (
        ["right"] * 3 + ["?"] + ["right"] * 3
    )
    assert boundaries(actions, seconds).size == 0


def test_segment_is_called_after_what_takes_most_of_it():
    right, still = ACTIONS.index("right"), ACTIONS.index("still")
    actions = np.array([right] * 3 + [still] * 5 + [UNKNOWN] * 4)
    seconds = np.arange(13) / 20
    found = truth.segment_actions(
        actions, seconds, np.array([0.0, 0.0, 0.45, 5.0]), np.array([0.25, 0.6, 0.6, 6.0])
    )
    assert found.tolist() == [right, still, UNKNOWN, UNKNOWN]


def test_mario_jumps_while_he_is_in_the_air():
    memory = np.zeros((6, 2048), np.uint8)
    memory[:, 0x86] = [250, 254, 2, 6, 10, 10]
    memory[2:, 0x6D] = 1  # the next page
    memory[2:4, 0x1D] = 1
    assert names("mario", memory) == ["right", "jump right", "jump right", "right", "still"]


@pytest.mark.parametrize(
    ("name", "ram_bytes", "game"),
    [
        ("000_Breakout_random_s0", 128, "Breakout"),
        ("ALE/Pong-v5", 128, "Pong"),
        ("012_montezumarevenge_random_s3", 128, "MontezumaRevenge"),
        ("000_1-1_xvid", 2048, "mario"),
        ("my_mario", 128, None),
        ("holiday", 128, None),
    ],
)
def test_game_is_found_by_the_name_of_the_file(name, ram_bytes, game):
    assert truth.find_game(name, ram_bytes) == game


def test_unknown_game_is_named():
    with pytest.raises(ValueError, match=r"Tetris.*Breakout"):
        effective_actions(np.zeros((2, 128), np.uint8), np.arange(2.0), np.arange(2.0), "Tetris")
