"""What `test` finds out about restored clips, mask by mask, with what to hold it against."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lit_modules.mae.baselines import BASELINES, ORACLES
from lit_modules.metrics import PerceptualNetworks, PerceptualQuality, RestorationQuality

CELLS = (
    ("tube", 0.9),
    ("tube", 0.75),
    ("tube", 0.95),
    ("random", 0.9),
    ("block", 0.9),
    ("cube", 0.9),
    ("low", 0.9),
    ("high", 0.9),
)
WITHOUT_STATE = "_no_state"
ORACLE_MARK = " (sees the truth)"
COLUMNS = {
    "psnr_masked": ".2f",
    "psnr": ".2f",
    "mse_masked": ".5f",
    "exact_masked": ".4f",
    "ssim": ".4f",
    "ssim_within": ".4f",
    "ssim_between": ".4f",
    "lpips": ".4f",
    "fid": ".2f",
}
"""Figures of the table and how they are written."""


class RestorationTest(nn.Module):
    """Quality of restored clips for each kind and ratio of masks, with and without state.

    The first cell, kind and ratio, is the main one: there the baselines compete, and there LPIPS
    and FID are measured where their networks are given. Give every clip to each cell, and to the
    baselines with the main cell's masks.

    All states are torchmetrics': sums over ranks, the same result on each.

    Args:
        regions: bands of the picture; see `RestorationQuality`.
        cells: kinds and ratios of masks.
        networks: of LPIPS and FID.
    """

    def __init__(
        self,
        regions: Sequence[float] = (0.13, 0.5, 0.87),
        cells: Sequence[tuple[str, float]] = CELLS,
        networks: PerceptualNetworks | None = None,
    ) -> None:
        super().__init__()
        self.cells = tuple(cells)
        self.main = cell_name(*self.cells[0])
        places = [cell_name(*cell) for cell in self.cells]
        rivals = [f"baseline/{name}" for name in (*BASELINES, *ORACLES)]
        rows = [*places, *(f"{place}{WITHOUT_STATE}" for place in places), *rivals]
        self.quality: Any = nn.ModuleDict({row: RestorationQuality(regions) for row in rows})
        compared = [self.main, f"{self.main}{WITHOUT_STATE}", *rivals] if networks else []
        self.perceptual: Any = nn.ModuleDict(
            {row: PerceptualQuality(networks) for row in compared if networks}
        )

    def update(
        self,
        kind: str,
        ratio: float,
        state: bool,
        restored: Tensor,
        true: Tensor,
        hidden: Tensor,
    ) -> None:
        """Takes clips that the network restored.

        Args:
            kind: of the mask.
            ratio: share of units that it hides.
            state: whether the network was given the game's state.
            restored: `(b, 3, t, h, w)` in [0, 1].
            true: `(b, 3, t, h, w)` in [0, 1].
            hidden: bool `(b, t, h, w)`, True where a pixel was hidden.

        Raises:
            ValueError: there is no such cell.
        """
        if (kind, ratio) not in self.cells:
            raise ValueError(f"mask {kind!r} of ratio {ratio} is none of the cells {self.cells}")
        row = cell_name(kind, ratio) + ("" if state else WITHOUT_STATE)
        self._update(row, restored, true, hidden)

    def update_baselines(self, true: Tensor, hidden: Tensor, camera: Tensor | None = None) -> None:
        """Fills clips as the baselines and the oracle would, and takes the results.

        Args:
            true: `(b, 3, t, h, w)` in [0, 1].
            hidden: bool `(b, t, h, w)`, a mask of the main cell.
            camera: its place in each frame, `(b, t)` in pixels to the right, NaN where it is not
                known; None for a camera that stands still.
        """
        for name, fill in (BASELINES | ORACLES).items():
            self._update(f"baseline/{name}", fill(true, hidden, camera), true, hidden)

    def _update(self, row: str, restored: Tensor, true: Tensor, hidden: Tensor) -> None:
        self.quality[row].update(restored, true, hidden)
        if row in self.perceptual:
            self.perceptual[row].update(restored, true)

    def compute(self) -> dict[str, Tensor]:
        """All figures that there are, on every rank.

        Returns:
            `<kind>_<percent>/<figure>` and `baseline/<name>/<figure>`, see `RestorationQuality`
            and `PerceptualQuality`; without state, the figure's name ends in `_no_state`. What was
            never given to any rank is left out.
        """
        figures: dict[str, Tensor] = {}
        with warnings.catch_warnings():
            # Which cells are never used is not known before all ranks have come together.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            for row, quality in self.quality.items():
                perceptual = self.perceptual[row].compute() if row in self.perceptual else {}
                found = {**quality.compute(), **perceptual}
                named = {figure_name(row, name): figure for name, figure in found.items()}
                figures |= {name: figure for name, figure in named.items() if not figure.isnan()}
        return figures

    def table(self, figures: Mapping[str, Tensor]) -> str:
        """The figures as a table in Markdown, and below it how the network does in the main cell.

        Args:
            figures: what `compute` gave.
        """
        rows = [row for row in self.quality if figure_name(row, "psnr_masked") in figures]
        columns = [name for name in COLUMNS if any(figure_name(x, name) in figures for x in rows)]
        lines = ["|".join(["", "restored by", *columns, ""]), "|---" + "|---:" * len(columns) + "|"]
        for row in rows:
            title = row + (ORACLE_MARK if row.rpartition("/")[2] in ORACLES else "")
            values = [figures.get(figure_name(row, name)) for name in columns]
            cells = [
                "" if value is None else f"{value:{COLUMNS[name]}}"
                for name, value in zip(columns, values, strict=True)
            ]
            lines.append("|".join(["", title, *cells, ""]))
        return "\n".join([*lines, *self._verdict(figures)])

    def _verdict(self, figures: Mapping[str, Tensor]) -> list[str]:
        """How far above the best baseline, and what state is worth, in dB of the hidden pixels."""
        ratios = {row: figures.get(figure_name(row, "psnr_masked")) for row in self.quality}
        given, plain = ratios[self.main], ratios[self.main + WITHOUT_STATE]
        known = {name: ratios[f"baseline/{name}"] for name in BASELINES}
        fair = {name: float(ratio) for name, ratio in known.items() if ratio is not None}
        best = max(fair, key=fair.__getitem__, default=None)
        lines = []
        for title, ratio in (("with state", given), ("without state", plain)):
            if ratio is not None and best is not None:
                gain = f"{ratio - fair[best]:+.2f} dB against the best baseline, {best}"
                lines.append(f"{self.main} {title}: {gain}")
        if given is not None and plain is not None:
            lines.append(f"{self.main}: {given - plain:+.2f} dB by the state")
        return ["", *lines] if lines else []

    def reset(self) -> None:
        """Forgets all clips."""
        for metric in (*self.quality.values(), *self.perceptual.values()):
            metric.reset()


def cell_name(kind: str, ratio: float) -> str:
    """The cell's name in logs: `tube_90`, and `tube_92_5` for a ratio of 0.925."""
    return f"{kind}_{100 * ratio:g}".replace(".", "_")


def figure_name(row: str, figure: str) -> str:
    """The figure's name in logs: `tube_90_no_state` has `tube_90/psnr_no_state`."""
    place = row.removesuffix(WITHOUT_STATE)
    return f"{place}/{figure}{row[len(place) :]}"
