"""What is hidden when: from easy to hard in the course of a run."""

from __future__ import annotations

from typing import Literal, NamedTuple

from lit_modules.mae.masking import MASKS, Mask, MaskName


class Phase(NamedTuple):
    """How the masks of a step are drawn."""

    mask: Mask
    ratio: float


class Curriculum:
    """Masks of growing difficulty, in three thirds of a run, or the same all the while.

    `three_phase` hides what is easy to restore first, where little happens, 5% fewer of it to begin
    with; then whatever `mask` says; and in the end what is hard (after Madan et al. 2024,
    "CL-MAE: Curriculum-Learned Masked Autoencoders", whose masks are learned).

    Args:
        kind: `three_phase` or `fixed`.
        mask: the masks of the middle third, or of all three.
        ratio: share of the units to hide, in [0.05, 1).

    Raises:
        ValueError: mask or ratio are out of range.
    """

    EASIER = 0.05

    def __init__(
        self,
        kind: Literal["three_phase", "fixed"] = "three_phase",
        mask: MaskName = "tube",
        ratio: float = 0.9,
    ) -> None:
        if mask not in MASKS:
            raise ValueError(f"mask {mask!r} must be one of {', '.join(MASKS)}; set model.mask")
        if not self.EASIER <= ratio < 1:
            raise ValueError(
                f"mask_ratio {ratio} must lie in [{self.EASIER}, 1): something must stay visible; "
                "set model.mask_ratio"
            )
        self.kind, self.ratio = kind, ratio
        self.easy, self.balanced, self.hard = MASKS["low"](), MASKS[mask](), MASKS["high"]()

    def at(self, progress: float) -> Phase:
        """The phase at a share of the run, in [0, 1]."""
        third = 0.0 if self.kind == "fixed" else 3 * progress
        if self.kind == "fixed" or 1 <= third < 2:
            return Phase(self.balanced, self.ratio)
        if third < 1:
            return Phase(self.easy, self.ratio - self.EASIER * (1 - third))
        return Phase(self.hard, self.ratio)
