"""The command line of `litarcade-record`, also `python -m datamodules.recording`."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from datamodules.recording.levels import POLICIES
from datamodules.recording.mario import LEVELS
from datamodules.recording.plan import Plan, Recorder
from datamodules.recording.workers import ERRORS, record_all
from datamodules.streams.games import find_game
from datamodules.video.encoding import CODECS

PROGRAM = "litarcade-record"
EXAMPLES = """examples:
  litarcade-record --env ALE/Breakout-v5 --episodes 20 --processes 4 --out data_video/breakout
  litarcade-record --env mario --level 1-1 2-1 --policy search --out data_video/mario

Mario needs an emulator and a ROM: pip install -e .[mario]. How to bring recordings of your own:
docs/recording.md."""


class OneLineParser(argparse.ArgumentParser):
    """Answers a mistake with the mistake, not with the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Prints the reason; exit status 2."""
        self.exit(2, f"{PROGRAM}: error: {message}\n")


def arguments() -> OneLineParser:
    """The command line."""
    parser = OneLineParser(
        PROGRAM,
        description="Plays games by simple policies and records them as videos with labels.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--env", required=True, metavar="GAME", help="ALE/Breakout-v5 or just Breakout, any other "
        "gymnasium id that renders rgb_array, or mario (Super Mario Bros.)")  # fmt: skip
    add("--level", nargs="+", metavar="W-L", help="of mario: one or more of 1-1 to 8-4, or all "
        "(default: 1-1)")  # fmt: skip
    add("--policy", choices=POLICIES, help="random holds random buttons; of mario also right "
        "(runs and jumps to the right) and search (finishes levels by trial and error), which is "
        "its default")  # fmt: skip
    add("--frames", type=count, default=1800, metavar="N", help="most frames of a recording; it "
        "ends before where the game is over (default: %(default)s, a minute)")  # fmt: skip
    add("--episodes", type=count, default=1, metavar="N", help="recordings of each level or of "
        "the game, each with its own seed (default: %(default)s)")  # fmt: skip
    add("--seed", type=natural, default=0, metavar="S", help="seed of the first recording, the "
        "next one has S + 1 (default: %(default)s)")  # fmt: skip
    add("--codec", choices=CODECS, help="of AVI files: h264 (the default) and ffv1 are lossless, "
        "xvid and mjpg are for exchange")  # fmt: skip
    add("--format", choices=("avi", "smb"), default="avi", help="avi: a video and a labels file; "
        "smb: of mario, a folder of PNG with the game's state in them (default: avi)")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="folder for the recordings, made if missing "
        "(default: data_video/<game>)")  # fmt: skip
    add("--fps", type=rate, help="frames a second, a whole fraction of the game's own (default: "
        "30 or what comes next)")  # fmt: skip
    add("--sticky", type=probability, default=0.9, metavar="P", help="probability that random "
        "keeps what it holds for another frame of the game (default: %(default)s)")  # fmt: skip
    add("--rom", metavar="FILE", help="of mario: the ROM (default: that of an installed "
        "gym-super-mario-bros)")  # fmt: skip
    add("--processes", type=count, default=1, metavar="N", help="processes that record side by "
        "side (default: %(default)s)")  # fmt: skip
    add("--overwrite", action="store_true", help="write over earlier recordings of these names")
    return parser


def natural(text: str, least: int = 0) -> int:
    """A whole number."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is too small or no number; give {least} or more")
    return int(text)


def count(text: str) -> int:
    """A whole number above 0."""
    return natural(text, least=1)


def rate(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no rate; give for example 30")
    return value


def probability(text: str) -> float:
    """A number in [0, 1)."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no probability below 1; give for example 0.9")
    return value


def plan_of(options: argparse.Namespace) -> Plan:
    """What the options ask for.

    Raises:
        ValueError: if they contradict each other or name what there is not.
    """
    mario = options.env.casefold() == "mario"
    if mario:
        title, levels = "mario", tuple(chosen_levels(options.level or ["1-1"]))
    else:
        title, levels = known_title(options.env), ("",)
        for flag, given, wrong in (
            ("level", options.level, options.level is not None),
            ("rom", options.rom, options.rom is not None),
            ("policy", options.policy, options.policy not in (None, "random")),
            ("format", options.format, options.format == "smb"),
        ):
            if wrong:
                raise ValueError(f"--{flag} {given} needs --env mario; leave it out for {title}")
    if options.codec and options.format == "smb":
        raise ValueError(f"--codec {options.codec} is of AVI files; leave it out for PNG")
    return Plan(
        env="mario" if mario else options.env,
        levels=levels,
        policy=options.policy or ("search" if mario else "random"),
        frames=options.frames,
        episodes=options.episodes,
        seed=options.seed,
        codec=options.codec or "h264",
        format=options.format,
        out=options.out or Path("data_video", re.sub(r"[^\w.]+", "-", title).lower()),
        fps=options.fps,
        sticky=options.sticky,
        rom=options.rom,
    )


def known_title(env: str) -> str:
    """Name of a game that is not mario."""
    try:
        return find_game(env).name
    except ValueError:
        if difflib.get_close_matches(env.casefold(), ("mario", "supermario", "supermariobros-v0")):
            raise ValueError(f"unknown game {env}; did you mean mario?") from None
        raise


def chosen_levels(given: list[str]) -> list[str]:
    """The levels, each once."""
    if "all" in given:
        return list(LEVELS)
    for level in given:
        if level not in LEVELS:
            raise ValueError(f"there is no level {level}; choose from 1-1 to 8-4, or all")
    return list(dict.fromkeys(given))


def main(argv: Sequence[str] | None = None) -> None:
    """Records what the command line asks for; exit status 0 only if all of it was."""
    parser = arguments()
    options = parser.parse_args(argv)
    finished = 0
    terminate: Any = signal.signal(signal.SIGTERM, interrupt)
    try:
        plan = plan_of(options)
        taken = [path for n in range(plan.count) for path in plan.paths(n) if path.exists()]
        if taken and not options.overwrite:
            raise ValueError(f"{taken[0]} is there; give --overwrite or another --out")
        opener = partial(Recorder, plan)
        for done in record_all(opener, plan.count, plan.frames, options.processes):
            finished += 1
            facts = [f"{done.frames} frames", f"{done.seconds:.1f} s", done.note]
            print(f"{done.path} ({', '.join(filter(None, facts))})", flush=True)
    except ERRORS as error:
        if os.environ.get("LITARCADE_TRACEBACK"):
            raise
        parser.exit(1, f"{PROGRAM}: error: {' '.join(str(error).split())}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{PROGRAM}: stopped; {finished} recordings are finished\n")
    finally:
        signal.signal(signal.SIGTERM, terminate)
    print(f"wrote {finished} recordings to {plan.out}")


def interrupt(*_: object) -> None:
    """What `kill` does is what Ctrl+C does: files that are begun are removed."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
