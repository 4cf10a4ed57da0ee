"""What torchmetrics lacks: clips judged as clips, and restored pixels by where they lie."""

from lit_modules.metrics.boundary_f1 import BoundaryF1
from lit_modules.metrics.clip_features import ClipFeatures, load_features
from lit_modules.metrics.generation_quality import GenerationQuality
from lit_modules.metrics.nearest_training import NearestTraining
from lit_modules.metrics.palette_drift import PaletteDrift
from lit_modules.metrics.perceptual import PerceptualNetworks, PerceptualQuality
from lit_modules.metrics.restoration import RestorationQuality

__all__ = [
    "BoundaryF1",
    "ClipFeatures",
    "GenerationQuality",
    "NearestTraining",
    "PaletteDrift",
    "PerceptualNetworks",
    "PerceptualQuality",
    "RestorationQuality",
    "load_features",
]
