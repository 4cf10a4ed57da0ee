"""Where frames come from: games played live and files of video."""

from datamodules.ale import AleStream, AleStreamDataModule
from datamodules.avi import AviStreamDataModule
from datamodules.base import IterableDataModule
from datamodules.clips import AviClipDataModule
from datamodules.smb import SmbFrameDataModule

__all__ = [
    "AleStream",
    "AleStreamDataModule",
    "AviClipDataModule",
    "AviStreamDataModule",
    "IterableDataModule",
    "SmbFrameDataModule",
]
