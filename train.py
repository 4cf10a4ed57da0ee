"""Trains any LitArcade system: `python train.py fit -c configs/<system>/<preset>.yaml`."""

from __future__ import annotations

import os
import sys

# Before torch loads: threads that spin while they wait made steps on a shared machine 40x slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import lightning as L
from lightning.pytorch.cli import ArgsType, LightningCLI

import datamodules  # noqa: F401  (short class names in YAML)
from callbacks import GracefulStop
from callbacks.clear_errors import OneLineParser, one_line_errors
from configs import BASE
from lit_modules.base import LitVideoModel
from lit_modules.checkpoints import read_checkpoint


class LitArcadeCLI(LightningCLI):
    """LightningCLI with `configs/base.yaml` under every preset."""

    def __init__(self, args: ArgsType = None) -> None:
        super().__init__(
            LitVideoModel,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={
                verb: {"default_config_files": [str(BASE)]} for verb in self.subcommands()
            },
            parser_class=OneLineParser,
            args=args,
        )

    def _parse_ckpt_path(self) -> None:
        """Refuses an unreadable checkpoint or one of another class before anything is built."""
        config = self.config[self.config.subcommand]
        if config.get("ckpt_path"):
            saved = read_checkpoint(config.ckpt_path)["class_name"]
            if saved != (asked := config.model.class_path.rpartition(".")[2]):
                path = config.ckpt_path
                raise ValueError(f"{path} holds a {saved}, not a {asked}; give its own preset")
        super()._parse_ckpt_path()


def main(args: ArgsType = None) -> None:
    """Runs the command line; a mistake in it ends in one line."""
    with one_line_errors("train.py"):
        cli = LitArcadeCLI(args)
    sys.exit(130 if GracefulStop.stopped(cli.trainer) else 0)  # as shells number Ctrl+C


if __name__ == "__main__":
    main()
