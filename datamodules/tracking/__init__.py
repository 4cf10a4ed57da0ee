"""Motion of a grid of points: how it is tracked, resampled to 20 Hz, extracted and kept."""

from datamodules.tracking.motion import STEP_FPS, Gray, Motion, Step, Tracker
from datamodules.tracking.steps import MotionSteps
from datamodules.tracking.trackers import TRACKERS, make_tracker

__all__ = [
    "STEP_FPS",
    "TRACKERS",
    "Gray",
    "Motion",
    "MotionSteps",
    "Step",
    "Tracker",
    "make_tracker",
]
