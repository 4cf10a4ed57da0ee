"""Which checkpoint a command line means, and what it takes over from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lit_modules.checkpoints import read_checkpoint, read_or_newest
from lit_modules.sealed_file import survey


def take_over(parser: LightningArgumentParser, config: Namespace) -> Namespace:
    """Settles the `ckpt_path` of a command line and takes the architecture from its checkpoint.

    `last` is the newest whole checkpoint of the newest run that has one, of those that go to the
    same place as this one; training begins anew where there is none. To be given for good to a job
    that is started again by a queue or by torchrun. A damaged file is refused, but to go on with
    training, which takes the newest whole one of its folder.

    Args:
        parser: of the command line.
        config: as parsed; its `subcommand` is one of the trainer's.

    Raises:
        FileNotFoundError, ValueError: no such file, none that is whole, or one of another class.
    """
    verb = config.subcommand
    options, fitting = config[verb], verb == "fit"
    path = options.get("ckpt_path")
    if path == "last":
        path = options.ckpt_path = newest_of_runs(options.trainer.logger, fitting)
    if not path:
        return config
    path, checkpoint = read_or_newest(path) if fitting else (path, read_checkpoint(path))
    options.ckpt_path = str(path)
    saved = checkpoint.get("class_name", "model of another program")
    asked = options.model.class_path.rpartition(".")[2]
    if saved != asked:
        raise ValueError(f"{path} holds a {saved}, not a {asked}; give its own preset")
    hparams = dict(checkpoint.get("hyper_parameters", {}))
    hparams.pop("_instantiator", None)
    if not hparams:
        return config
    model = hparams
    if "_class_path" in hparams:
        model = {"class_path": hparams.pop("_class_path"), "dict_kwargs": hparams}
    taken: Namespace = parser.parse_object({verb: {"model": model}}, config)
    return taken


def newest_of_runs(logger: Any, may_be_none: bool) -> str | None:
    """The newest whole checkpoint of the newest run of a logger's folder that has one.

    Raises:
        FileNotFoundError: there is none, and there has to be one.
    """
    options = getattr(logger, "init_args", None)
    if options is None or not options.get("save_dir"):
        raise ValueError("ckpt_path last needs trainer.logger.save_dir; give the path of a .ckpt")
    runs = Path(options.save_dir) / (options.get("name") or "")
    if options.get("version") is not None:
        version = options.version
        folders = [runs / (version if isinstance(version, str) else f"version_{version}")]
    else:
        numbered = [(re.fullmatch(r"version_(\d+)", x.name), x) for x in runs.glob("version_*")]
        folders = [x for _, x in sorted((int(m[1]), x) for m, x in numbered if m)][::-1]
    for folder in folders:
        good, damaged = survey(folder / "checkpoints")
        for path in damaged:
            rank_zero_warn(f"{path} is damaged; going on from {good or 'an older run'}")
        if good is not None:
            return str(good)
    if not may_be_none:
        raise FileNotFoundError(f"no whole checkpoint below {runs}; give the path of a .ckpt file")
    rank_zero_info(f"no checkpoint below {runs} to go on from; beginning anew")
    return None
