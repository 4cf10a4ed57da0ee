"""Every LightningModule of the package, so that YAML files use short class names."""

from lit_modules.flow import LitFlowVideo
from lit_modules.layers.muon import Muon
from lit_modules.layers.schedule import WarmupCosine
from lit_modules.mae import LitMaskedAutoencoder
from lit_modules.streaming_ae import LitStreamingAutoencoder
from lit_modules.streaming_ae.obgd import AdaptiveObGD, ObGD

__all__ = [
    "AdaptiveObGD",
    "LitFlowVideo",
    "LitMaskedAutoencoder",
    "LitStreamingAutoencoder",
    "Muon",
    "ObGD",
    "WarmupCosine",
]
