"""A network of HST-MAE's shape, small enough for a test, and the randomness of samples."""

import torch

from lit_modules.mae import MaskedAutoencoder

SIDE = 16  # of a mask unit, in pixels: patches of 2


def small(**more) -> MaskedAutoencoder:
    """Units of 2x16x16 pixels; in training 4 frames of 48x32, a grid of (2, 3, 2) units."""
    torch.manual_seed(0)
    sizes = {"dims": (8, 12, 16, 20), "depths": (1, 2, 2, 2), "decoder_dim": 16, "patch": 2}
    net = MaskedAutoencoder(**{**sizes, "frames": 4, "size": (48, 32), "state_dim": 3, **more})
    for parameter in net.parameters():  # far from the small start, so that everything acts
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return net.eval()


def generators(*samples: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(sample) for sample in samples]
