"""What `test` finds out about generated clips: how real they look, and whether they are copies."""

from __future__ import annotations

from torch import Tensor, nn

from lit_modules.metrics import GenerationQuality, NearestTraining


class GenerationTest(nn.Module):
    """Holds generated clips against those that the model was trained on and those held out.

    All clips are `(b, 3, t, h, w)` in [0, 1]. First `update_generated`, then `update_training`.

    Args:
        features: extractor of the Fréchet distance; see `GenerationQuality`.
    """

    def __init__(self, features: nn.Module | None = None) -> None:
        super().__init__()
        self.quality = GenerationQuality(features)
        self.nearest = NearestTraining()

    def update_generated(self, generated: Tensor, held_out: Tensor) -> None:
        """Takes generated clips and as many real ones that were not trained on."""
        self.quality.update(generated=generated)
        self.nearest.update_queries(generated, held_out)

    def update_training(self, clips: Tensor) -> None:
        """Takes clips that were trained on."""
        self.quality.update(real=clips)
        self.nearest.update(clips)

    def compute(self) -> dict[str, Tensor]:
        """The figures of both metrics under their names."""
        return {**self.quality.compute(), **self.nearest.compute()}

    def reset(self) -> None:
        """Forgets all clips."""
        self.quality.reset()
        self.nearest.reset()
