"""What torchmetrics lacks: clips judged as clips, beside cheats and training data."""

from lit_modules.metrics.clip_features import ClipFeatures, load_features
from lit_modules.metrics.generation_quality import GenerationQuality
from lit_modules.metrics.nearest_training import NearestTraining
from lit_modules.metrics.palette_drift import PaletteDrift

__all__ = [
    "ClipFeatures",
    "GenerationQuality",
    "NearestTraining",
    "PaletteDrift",
    "load_features",
]
