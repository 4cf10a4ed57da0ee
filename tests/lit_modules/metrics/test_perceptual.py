"""LPIPS and FID come from files that the user brings, and say what torchmetrics' FID says."""

from pathlib import Path

import pytest
import torch
from scrolling import scrolling
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from lit_modules.metrics import PerceptualNetworks, PerceptualQuality


class MeanDistance(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean((1, 2, 3), keepdim=True)


class Corners(nn.Module):
    num_features = 4

    def forward(self, frames: Tensor) -> Tensor:
        return frames[:, 0, ::20, ::20][:, :2, :2].flatten(1)


def saved(network: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(network), path)
    return path


@pytest.fixture
def networks(tmp_path: Path) -> PerceptualNetworks:
    return PerceptualNetworks(
        saved(MeanDistance(), tmp_path / "lpips.pt"), saved(Corners(), tmp_path / "fid.pt")
    )


def clips() -> tuple[Tensor, Tensor]:
    true = scrolling(6, seed=0)
    return true + 0.4 * torch.rand(true.shape, generator=torch.Generator().manual_seed(0)), true


def test_the_networks_of_the_files_judge_frames(networks: PerceptualNetworks) -> None:
    restored, true = clips()
    quality = PerceptualQuality(networks)
    for pair in zip(restored.split(4), true.split(4), strict=True):
        quality.update(*pair)
    got = quality.compute()
    error = (restored.clamp(0, 1) - true).abs().mean()
    assert float(got["lpips"]) == pytest.approx(2 * float(error), rel=1e-5)
    fid = FrechetInceptionDistance(Corners())
    for video, real in ((true, True), (restored.clamp(0, 1), False)):
        fid.update(video.transpose(1, 2).flatten(0, 1), real=real)
    assert float(got["fid"]) == pytest.approx(float(fid.compute()), rel=1e-4)
    quality.reset()
    quality.update(true, true)
    assert quality.compute()["lpips"] == 0
    assert quality.compute()["fid"] < 1e-4


def test_two_ranks_judge_as_one(networks: PerceptualNetworks) -> None:
    whole, ranks = PerceptualQuality(networks), [PerceptualQuality(networks) for _ in range(2)]
    whole.update(*clips())
    for i, pair in enumerate(zip(*(x.split(3) for x in clips()), strict=True)):
        ranks[i].update(*pair)
    ranks[0].lpips.merge_state(ranks[1].lpips)
    ranks[0].fid.merge_state(ranks[1].fid)
    for name, figure in whole.compute().items():
        torch.testing.assert_close(ranks[0].compute()[name], figure)


def test_what_is_not_given_is_not_judged(tmp_path: Path) -> None:
    assert PerceptualQuality(PerceptualNetworks()).compute() == {}
    only = PerceptualNetworks(fid=saved(Corners(), tmp_path / "fid.pt"))
    with pytest.warns(UserWarning, match="before the ``update``"):
        got = PerceptualQuality(only).compute()
    assert list(got) == ["fid"]
    assert got["fid"].isnan()


def test_a_file_that_cannot_judge_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no LPIPS network at .*none\.pt; give the path"):
        PerceptualNetworks(lpips=tmp_path / "none.pt")
    with pytest.raises(FileNotFoundError, match=r"no feature extractor at .*none\.pt; give"):
        PerceptualNetworks(fid=tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no program")
    with pytest.raises(ValueError, match=r"text\.pt gives no distances of frames"):
        PerceptualNetworks(lpips=tmp_path / "text.pt")
    with pytest.raises(ValueError, match=r"text\.pt gives no features of frames"):
        PerceptualNetworks(fid=tmp_path / "text.pt")
    frames = saved(nn.Identity(), tmp_path / "frames.pt")
    with pytest.raises(ValueError, match=r"frames\.pt must turn frames \(b, 3, h, w\)"):
        PerceptualNetworks(fid=frames)
    one = saved(nn.PairwiseDistance(), tmp_path / "map.pt")
    with pytest.raises(ValueError, match=r"map\.pt must turn two batches"):
        PerceptualNetworks(lpips=one)
