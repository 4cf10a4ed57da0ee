"""`litarcade-record`: games played by simple policies, written as videos with labels."""

from datamodules.recording.envs import Shot, Studio, Take
from datamodules.recording.levels import LevelStudio

__all__ = ["LevelStudio", "Shot", "Studio", "Take"]
