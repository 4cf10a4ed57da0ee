"""HST-MAE: masked clips restored from what is visible and, where it is known, the game's state."""

from lit_modules.mae.autoencoder import MaskedAutoencoder, Prediction
from lit_modules.mae.module import LitMaskedAutoencoder

__all__ = ["LitMaskedAutoencoder", "MaskedAutoencoder", "Prediction"]
