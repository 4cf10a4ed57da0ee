import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from lit_modules.streaming_ae.change import ChangeMap
from lit_modules.streaming_ae.losses import StreamingLoss, ssim, ssim_map


def pictures(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A smooth picture and a noisy copy."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(*shape[:2], 6, 7, generator=generator, dtype=dtype)
    picture = F.interpolate(coarse, shape[2:], mode="bilinear")
    noise = 0.1 * torch.randn(shape, generator=generator, dtype=dtype)
    return (picture + noise).clamp(0, 1), picture


def changed(*marked: tuple[slice, slice], size: int = 32, batch: int = 1) -> ChangeMap:
    mask = torch.zeros(batch, 1, size, size, dtype=torch.bool)
    for rows, columns in marked:
        mask[..., rows, columns] = True
    return ChangeMap(mask, 0.5 * mask, torch.zeros(batch))


def peer_map(x: Tensor, y: Tensor) -> Tensor:
    """What torchmetrics gives where its window meets no padding."""
    full = structural_similarity_index_measure(x, y, data_range=1.0, return_full_image=True)[1]
    return full[..., 5:-5, 5:-5]


@pytest.mark.parametrize("shape", [(2, 3, 40, 57), (1, 1, 11, 11), (1, 3, 128, 128)])
def test_ssim_equals_torchmetrics_inside(shape: tuple[int, ...]) -> None:
    x, y = pictures(*shape, dtype=torch.float64)
    expected = peer_map(x, y)
    torch.testing.assert_close(ssim_map(x, y), expected)
    assert abs(ssim(x.float(), y.float()).item() - expected.mean().item()) < 1e-5


def test_ssim_equals_that_of_skimage() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    x, y = pictures(1, 3, 50, 70)
    expected = metrics.structural_similarity(
        x[0].numpy(), y[0].numpy(), channel_axis=0, data_range=1.0,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert ssim(x, y).item() == pytest.approx(expected, abs=1e-4)


def test_ssim_gradient_equals_that_of_torchmetrics() -> None:
    x, y = pictures(2, 3, 24, 31, dtype=torch.float64)
    ours, peer = x.clone().requires_grad_(), x.clone().requires_grad_()
    ssim(ours, y).backward()
    peer_map(peer, y).mean().backward()
    torch.testing.assert_close(ours.grad, peer.grad)


def test_ssim_gradient_is_the_slope() -> None:
    x, y = pictures(1, 2, 12, 14, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: ssim_map(x, y), x.requires_grad_())


def test_like_pictures_have_ssim_one() -> None:
    x, _ = pictures(1, 3, 32, 32)
    torch.testing.assert_close(ssim_map(x, x), torch.ones(1, 3, 22, 22))
    black = torch.zeros(1, 3, 32, 32)
    torch.testing.assert_close(ssim_map(black, black), torch.ones(1, 3, 22, 22))


def test_ssim_has_no_border_bias() -> None:
    x, y = pictures(1, 3, 40, 40)
    inner = ssim_map(x[..., 7:31, 4:33], y[..., 7:31, 4:33])
    torch.testing.assert_close(inner, ssim_map(x, y)[..., 7:21, 4:23], rtol=1e-4, atol=1e-5)
    grey, dark = torch.full((1, 1, 30, 30), 0.6), torch.full((1, 1, 30, 30), 0.3)
    flat = ssim_map(grey, dark)
    assert flat.max() - flat.min() < 1e-3


def test_ssim_is_exact_under_autocast() -> None:
    x, y = pictures(1, 3, 32, 32)
    x.requires_grad_()
    (exact,) = torch.autograd.grad(ssim(x, y), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = ssim(x, y)
        (gradient,) = torch.autograd.grad(value, x)
    assert value == ssim(x, y)
    assert torch.equal(gradient, exact)


def test_ssim_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match=r"11x11 pixels, got \(10, 40\); set data.size"):
        ssim(*pictures(1, 3, 10, 40))


def test_global_loss_is_the_weighted_sum() -> None:
    x, y = pictures(2, 3, 32, 32)
    terms = StreamingLoss(1.0, 0.5, 0.1, detail=0.0)(x, y, changed(batch=2))
    expected = F.mse_loss(x, y) + 0.5 * F.l1_loss(x, y) + 0.1 * (1 - ssim(x, y))
    torch.testing.assert_close(terms.global_, expected)
    assert terms.total == terms.global_
    assert terms.detail == 0


def test_detail_loss_is_the_error_of_changed_pixels() -> None:
    x, y = pictures(1, 3, 32, 32)
    where = (slice(8, 20), slice(10, 15))
    terms = StreamingLoss(1.0, 0.5, 0.0, detail=2.0)(x, y, changed(where))
    error = (x - y)[..., where[0], where[1]]
    torch.testing.assert_close(terms.detail, error.square().mean() + 0.5 * error.abs().mean())
    torch.testing.assert_close(terms.total, terms.global_ + 2 * terms.detail)


def test_detail_loss_sees_structure_too() -> None:
    x, y = pictures(1, 3, 32, 32)
    where = (slice(8, 20), slice(10, 15))
    terms = StreamingLoss(0.0, 0.0, 1.0, detail=1.0)(x, y, changed(where))
    unlike = 1 - ssim_map(x, y)[..., 3:15, 5:10]  # the map begins 5 pixels inside
    torch.testing.assert_close(terms.detail, unlike.mean())


def test_small_things_count_as_much_as_large_ones() -> None:
    y = torch.zeros(1, 3, 32, 32)
    loss = StreamingLoss(ssim=0.0)
    details = []
    for side in (2, 16):
        x = y.clone()
        x[..., :side, :side] = 0.5
        details.append(loss(x, y, changed((slice(side), slice(side)))).detail)
    torch.testing.assert_close(*details)


def test_greater_change_weighs_more() -> None:
    y = torch.zeros(1, 1, 32, 32)
    x = y.clone()
    x[..., 0] = 1.0
    change = changed((slice(None), slice(2)))
    change.intensity[..., 0], change.intensity[..., 1] = 1.0, 0.0
    detail = StreamingLoss(1.0, 0.0, 0.0)(x, y, change).detail
    torch.testing.assert_close(detail, torch.tensor(2 / 3))


def test_where_nothing_changes_detail_is_zero() -> None:
    x, y = pictures(1, 3, 32, 32)
    x.requires_grad_()
    terms = StreamingLoss()(x, y, changed())
    assert terms.detail == 0
    (gradient,) = torch.autograd.grad(terms.total, x)
    (expected,) = torch.autograd.grad(StreamingLoss(detail=0.0)(x, y, changed()).total, x)
    torch.testing.assert_close(gradient, expected)


def test_loss_of_a_batch_is_the_mean_over_its_streams() -> None:
    x, y = pictures(2, 3, 32, 32)
    one, other = changed((slice(4), slice(4))), changed((slice(9, 30), slice(5, 30)))
    both = ChangeMap(*map(torch.cat, zip(one, other, strict=True)))
    loss = StreamingLoss()
    together = loss(x, y, both)
    apart = [loss(x[i : i + 1], y[i : i + 1], change) for i, change in enumerate((one, other))]
    for name in ("total", "global_", "detail"):
        mean = (getattr(apart[0], name) + getattr(apart[1], name)) / 2
        torch.testing.assert_close(getattr(together, name), mean)


def test_a_weight_of_zero_skips_the_work() -> None:
    small = torch.rand(1, 3, 8, 8)  # too small for SSIM, which would raise
    assert StreamingLoss(1.0, 0.5, 0.0, 1.0)(small, small, changed(size=8)).total == 0


def test_impossible_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"-1.0 of l1 .*model.l1_weight"):
        StreamingLoss(l1=-1.0)
    with pytest.raises(ValueError, match="are all 0"):
        StreamingLoss(0.0, 0.0, 0.0, 1.0)
