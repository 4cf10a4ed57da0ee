"""Where frames come from: games played live and files of video."""

from datamodules.ale import AleStream, AleStreamDataModule
from datamodules.avi import AviStreamDataModule
from datamodules.base import IterableDataModule
from datamodules.clips import AviClipDataModule
from datamodules.codes import CodesDataModule
from datamodules.smb import SmbFrameDataModule
from datamodules.tracks import TracksDataModule
from datamodules.windows import VideoWindowDataModule

__all__ = [
    "AleStream",
    "AleStreamDataModule",
    "AviClipDataModule",
    "AviStreamDataModule",
    "CodesDataModule",
    "IterableDataModule",
    "SmbFrameDataModule",
    "TracksDataModule",
    "VideoWindowDataModule",
]
