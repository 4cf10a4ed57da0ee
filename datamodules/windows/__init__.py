"""Windows of motion from files, folders, cameras and streams; long and bad files are seen to."""

from datamodules.windows.datamodule import VideoWindowDataModule

__all__ = ["VideoWindowDataModule"]
