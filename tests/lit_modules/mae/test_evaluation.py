"""Each restored clip counts to its own row, beside baselines that saw the same."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lit_modules.mae.baselines import BASELINES, ORACLES, telea
from lit_modules.mae.evaluation import CELLS, RestorationTest, cell_name
from lit_modules.mae.masking import MASKS
from lit_modules.metrics import PerceptualNetworks, RestorationQuality

TWO = (("tube", 0.9), ("random", 0.75))


def clips(n: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    true = torch.rand(n, 3, 2, 16, 16, generator=generator)
    return true, torch.rand(n, 2, 16, 16, generator=generator) < 0.8


def worse(true: Tensor, hidden: Tensor, by: float) -> Tensor:
    return torch.where(hidden[:, None], (true + by).clamp(0, 1), true)


def test_every_row_is_what_its_own_clips_come_to() -> None:
    true, hidden = clips()
    judged = RestorationTest((0.5,), TWO)
    given = {("tube", 0.9, True): 0.1, ("tube", 0.9, False): 0.2, ("random", 0.75, True): 0.3}
    for cell, by in given.items():
        for i in range(2):
            one = slice(i, i + 1)
            restored = worse(true[one], hidden[one], by)
            judged.update(*cell, restored=restored, true=true[one], hidden=hidden[one])
    got = judged.compute()
    for (place, suffix), by in {
        ("tube_90", ""): 0.1,
        ("tube_90", "_no_state"): 0.2,
        ("random_75", ""): 0.3,
    }.items():
        quality = RestorationQuality((0.5,))
        quality.update(worse(true, hidden, by), true, hidden)
        for name, figure in quality.compute().items():
            if figure.isnan():  # 16 rows hold no window that lies within half of them
                assert f"{place}/{name}{suffix}" not in got
            else:
                torch.testing.assert_close(got.pop(f"{place}/{name}{suffix}"), figure)
    assert got == {}
    judged.reset()
    assert judged.compute() == {}


def test_baselines_compete_under_their_names() -> None:
    true, hidden = clips()
    judged = RestorationTest(cells=TWO)
    judged.update_baselines(true, hidden)
    got = judged.compute()
    assert {name.split("/")[1] for name in got} == {*BASELINES, *ORACLES}
    quality = RestorationQuality()
    quality.update(telea(true, hidden, None), true, hidden)
    expected = quality.compute()["psnr_masked"]
    torch.testing.assert_close(got["baseline/telea/psnr_masked"], expected)


def test_the_camera_moves_the_baselines() -> None:
    picture = torch.rand(1, 3, 1, 16, 40, generator=torch.Generator().manual_seed(0))
    true = torch.cat([picture[..., 4 * i : 4 * i + 24] for i in range(4)], 2)
    hidden = torch.zeros(1, 4, 16, 24, dtype=torch.bool)
    hidden[..., 8:16] = True  # what is hidden in one frame is to be seen in another
    moved, stood = RestorationTest(), RestorationTest()
    moved.update_baselines(true, hidden, 4.0 * torch.arange(4)[None])
    stood.update_baselines(true, hidden)
    name = "baseline/neighbour_frames/exact_masked"
    assert moved.compute()[name] == 1
    assert stood.compute()[name] < 0.1


def test_the_table_has_a_row_for_what_was_given_and_marks_the_oracle() -> None:
    true, hidden = clips()
    judged = RestorationTest(cells=TWO)
    judged.update("tube", 0.9, True, worse(true, hidden, 0.01), true, hidden)
    judged.update("tube", 0.9, False, worse(true, hidden, 0.02), true, hidden)
    judged.update_baselines(true, hidden)
    figures = judged.compute()
    text = judged.table(figures)
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    titles = [row[0] for row in rows[2:]]
    assert titles[:2] == ["tube_90", "tube_90_no_state"]
    assert [title for title in titles if "sees the truth" in title] == [
        "baseline/previous_frame_oracle (sees the truth)"
    ]
    assert len(titles) == 2 + len(BASELINES) + len(ORACLES)
    assert {len(row) for row in rows} == {len(rows[0])}
    assert float(rows[2][1]) == pytest.approx(float(figures["tube_90/psnr_masked"]), abs=0.01)
    fair = {name: float(figures[f"baseline/{name}/psnr_masked"]) for name in BASELINES}
    best = max(fair, key=fair.__getitem__)
    gain = float(figures["tube_90/psnr_masked"]) - fair[best]
    assert f"tube_90 with state: {gain:+.2f} dB against the best baseline, {best}" in text
    assert "lpips" not in text


def test_the_table_of_nothing_is_empty_but_for_its_head() -> None:
    judged = RestorationTest()
    assert judged.table(judged.compute()).count("\n") == 1


class MeanDistance(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean((1, 2, 3))


def test_perceptual_figures_are_those_of_the_first_cell(tmp_path: Path) -> None:
    true, hidden = clips()
    torch.jit.save(torch.jit.script(MeanDistance()), tmp_path / "lpips.pt")
    judged = RestorationTest(cells=TWO, networks=PerceptualNetworks(tmp_path / "lpips.pt"))
    for cell in TWO:
        judged.update(*cell, False, worse(true, hidden, 0.1), true, hidden)
    judged.update_baselines(true, hidden)
    got = judged.compute()
    assert {name for name in got if "lpips" in name} == {
        "tube_90/lpips_no_state",
        *(f"baseline/{name}/lpips" for name in (*BASELINES, *ORACLES)),
    }
    assert "lpips" in judged.table(got)


def test_cells_are_masks_that_there_are_and_have_names_for_logs() -> None:
    assert {kind for kind, _ in CELLS} == set(MASKS)
    names = [cell_name(*cell) for cell in CELLS]
    assert len(set(names)) == len(names)
    assert cell_name("tube", 0.29) == "tube_29"
    assert cell_name("tube", 0.925) == "tube_92_5"
    true, hidden = clips()
    with pytest.raises(ValueError, match=r"mask 'tube' of ratio 0\.5 is none of the cells"):
        RestorationTest(cells=TWO).update("tube", 0.5, True, true, true, hidden)
