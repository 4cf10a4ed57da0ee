"""The features see what eyes see: blur, stillness, direction."""

import pytest
import torch
from scrolling import scrolling
from torch import nn

from lit_modules.metrics import ClipFeatures, load_features
from lit_modules.metrics.clip_features import global_motion
from lit_modules.metrics.generation_quality import blurred, frozen

EDGES, CHANGE = slice(24, 40), slice(40, 51)


def test_a_clip_has_its_features_in_any_company():
    clips = scrolling(5, seed=0)
    together = ClipFeatures()(clips)
    assert together.shape == (5, ClipFeatures.num_features)
    for clip, features in zip(clips, together, strict=True):
        torch.testing.assert_close(ClipFeatures()(clip[None])[0], features, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("t", "h", "w"), [(2, 16, 16), (3, 60, 64), (16, 30, 33)])
def test_every_length_and_size_has_as_many_finite_features(t, h, w):
    clips = torch.rand(2, 3, t, h, w, generator=torch.Generator().manual_seed(0))
    for clip in (clips, torch.zeros_like(clips)):
        features = ClipFeatures()(clip)
        assert features.shape == (2, 71)
        assert features.isfinite().all()


@pytest.mark.parametrize(("t", "h"), [(1, 32), (4, 15)])
def test_what_is_too_little_is_named(t, h):
    with pytest.raises(ValueError, match=rf"{t} frame\(s\) of {h}x32 .* at least"):
        ClipFeatures()(torch.zeros(1, 3, t, h, 32))


def test_blur_takes_edges_away_and_freezing_takes_change_away():
    clips = scrolling(32, seed=1)
    real, blur, still = (ClipFeatures()(x) for x in (clips, blurred(clips), frozen(clips)))
    finest = blur[:, EDGES][:, :4].mean(0) - real[:, EDGES][:, :4].mean(0)
    assert (finest < torch.tensor([-0.2, -1.5, -0.2, -1.5])).all()  # means, root mean squares
    assert (still[:, CHANGE] == still[0, CHANGE]).all()
    assert (real[:, CHANGE].mean(0) > still[0, CHANGE] + 0.2).all()
    first = torch.cat([clips[:, :, :1]] * 2, 2)
    torch.testing.assert_close(still[:, :40], ClipFeatures()(first)[:, :40])


@pytest.mark.parametrize(("right", "down"), [(1, 0), (-1, 0), (0, 1), (0, -1), (1, -1)])
def test_motion_points_where_the_picture_goes(right, down):
    noise = torch.rand(2, 1, 80, 80, generator=torch.Generator().manual_seed(2))
    smooth = nn.functional.avg_pool2d(nn.functional.avg_pool2d(noise, 7, 1), 7, 1)
    smooth = (smooth - smooth.mean()) / smooth.std()
    frames = [smooth.roll((down * i, right * i), (2, 3))[:, 0, 4:-4, 4:-4] for i in range(4)]
    motion = global_motion(torch.stack(frames, 1))
    expected = torch.tensor([right, down]).float().expand(2, 3, 2)
    torch.testing.assert_close(motion, expected, rtol=0, atol=0.2)


def test_an_extractor_comes_from_a_torchscript_file(tmp_path):
    network = nn.Sequential(nn.AdaptiveAvgPool3d((1, 2, 2)), nn.Flatten())
    clips = scrolling(3, seed=0)
    torch.jit.save(torch.jit.script(network), tmp_path / "features.pt")
    features = load_features(tmp_path / "features.pt")
    assert features.num_features == 12
    assert torch.equal(features(clips), network(clips))


def test_a_file_that_gives_no_features_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no feature extractor at .*none\.pt"):
        load_features(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no program")
    with pytest.raises(ValueError, match=r"text\.pt gives no features"):
        load_features(tmp_path / "text.pt")
    torch.jit.save(torch.jit.script(nn.Identity()), tmp_path / "clips.pt")
    with pytest.raises(ValueError, match=r"clips\.pt must turn clips"):
        load_features(tmp_path / "clips.pt")
