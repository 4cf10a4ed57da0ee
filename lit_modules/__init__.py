"""Every LightningModule of the package, so that YAML files use short class names."""

from lit_modules.codec.module import LitVideoCodec
from lit_modules.flow import LitFlowVideo
from lit_modules.latent_action.code_lm_module import LitCodeLM
from lit_modules.latent_action.segmenter_module import LitSegmenter
from lit_modules.latent_action.tokenizer_module import LitMotionTokenizer
from lit_modules.layers.muon import Muon
from lit_modules.layers.schedule import WarmupCosine
from lit_modules.mae import LitMaskedAutoencoder
from lit_modules.streaming_ae import LitStreamingAutoencoder
from lit_modules.streaming_ae.obgd import AdaptiveObGD, ObGD

__all__ = [
    "AdaptiveObGD",
    "LitCodeLM",
    "LitFlowVideo",
    "LitMaskedAutoencoder",
    "LitMotionTokenizer",
    "LitSegmenter",
    "LitStreamingAutoencoder",
    "LitVideoCodec",
    "Muon",
    "ObGD",
    "WarmupCosine",
]
