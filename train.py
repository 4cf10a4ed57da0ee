"""Trains any LitArcade system: `python train.py fit -c configs/<system>/<preset>.yaml`."""

from __future__ import annotations

import os
import sys

# Before torch loads: threads that spin while they wait made steps on a shared machine 40x slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import lightning as L
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

import datamodules  # noqa: F401  (short class names in YAML)
from callbacks import FiniteLoss
from callbacks.allowed_imports import allow_our_imports
from callbacks.clear_errors import OneLineParser, one_line_errors
from callbacks.graceful_stop import exit_status
from callbacks.resuming import take_over
from configs import BASE
from lit_modules.base import LitVideoModel


class LitArcadeCLI(LightningCLI):
    """LightningCLI with `configs/base.yaml` under every preset."""

    def __init__(self, args: ArgsType = None) -> None:
        allow_our_imports()
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

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """`--finite_loss.on_nonfinite` and so on, for every preset."""
        parser.add_lightning_class_args(FiniteLoss, "finite_loss")

    def _parse_ckpt_path(self) -> None:
        """Takes the architecture from the checkpoint to load, which is read before all else."""
        self.config = take_over(self.parser, self.config)


def main(args: ArgsType = None) -> None:
    """Runs the command line; a mistake in it ends in one line."""
    with one_line_errors("train.py"):
        cli = LitArcadeCLI(args)
    sys.exit(exit_status(cli.trainer))


if __name__ == "__main__":
    main()
