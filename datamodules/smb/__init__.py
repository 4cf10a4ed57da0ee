"""Super Mario Bros. with the state of the game: the datamodule, and preprocessing."""

from datamodules.smb.frames import SmbFrameDataModule

__all__ = ["SmbFrameDataModule"]
