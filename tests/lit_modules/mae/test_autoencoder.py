"""The whole network: nothing hidden is read, state acts, other sizes run, presets keep promises."""

import math
from pathlib import Path

import pytest
import torch
import yaml
from small_autoencoder import generators, small
from torch.utils.flop_counter import FlopCounterMode

from lit_modules.mae import LitMaskedAutoencoder, MaskedAutoencoder
from lit_modules.mae.cubes import cut, join, pad
from lit_modules.mae.masking import RandomMask, RunningCell, TubeMask, hidden_cubes
from lit_modules.mae.regions import RegionEmbedding

GRID = (2, 3, 2)
CONFIGS = Path(__file__).parents[3] / "configs/mae"
PRESETS = [path.stem for path in sorted(CONFIGS.glob("*.yaml"))]


def clip(batch: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, 4, 48, 32, generator=generator) * 2 - 1


def pixels_hidden(hidden: torch.Tensor) -> torch.Tensor:
    """`(b, T, H, W)` of units -> bool `(b, 3, t, h, w)`."""
    return join(hidden[..., None].expand(*hidden.shape, 3 * 2 * 16 * 16), 16)


@torch.no_grad()
def test_no_output_bit_depends_on_masked_pixels() -> None:
    net, video, state = small(), clip(), torch.randn(2, 4, 3)
    hidden = RandomMask()(generators(1, 2), GRID, 0.7)
    computed = RunningCell()(generators(1, 2), GRID)
    for other in (clip(seed=1), torch.full_like(video, math.nan)):
        changed = torch.where(pixels_hidden(hidden), other, video)
        camera = 7 * torch.arange(4.0).expand(2, -1)
        one, two = (net(x, hidden, computed, state, None, camera) for x in (video, changed))
        for a, b in zip(one, two, strict=True):
            assert torch.equal(a, b)
        assert torch.equal(net.restore(video, hidden), net.restore(changed, hidden))


@torch.no_grad()
def test_restored_clip_keeps_visible_pixels_and_places_predicted_ones() -> None:
    net, video = small(), clip()
    hidden = RandomMask()(generators(1, 2), GRID, 0.7)
    restored, made = net.restore(video, hidden), net(video, hidden)
    visible = ~pixels_hidden(hidden)
    assert torch.equal(restored[visible], video[visible])
    assert torch.equal(net.pixels(restored, made.hidden_cubes), made.hidden)
    assert torch.equal(made.hidden_cubes, hidden_cubes(hidden))


@torch.no_grad()
def test_what_is_made_of_a_cube_does_not_depend_on_which_others_are() -> None:
    net, video, state = small(), clip(), torch.randn(2, 4, 3)
    hidden = TubeMask()(generators(1, 2), GRID, 0.5)
    computed = RunningCell(1)(generators(1, 2), GRID)
    few, all_of_them = net(video, hidden, computed, state), net(video, hidden, None, state)
    for clip_number in range(2):
        cubes = all_of_them.hidden_cubes[clip_number].tolist()
        at = [cubes.index(cube) for cube in few.hidden_cubes[clip_number].tolist()]
        torch.testing.assert_close(few.hidden[clip_number], all_of_them.hidden[clip_number, at])


@torch.no_grad()
def test_predictions_do_not_depend_on_the_order_of_a_batch() -> None:
    net, video, state = small(), clip(), torch.randn(2, 4, 3)
    hidden = TubeMask()(generators(1, 2), GRID, 0.5)
    whole = net(video, hidden, None, state)
    swapped = net(video.flip(0), hidden.flip(0), None, state.flip(0))
    torch.testing.assert_close(whole.hidden, swapped.hidden.flip(0))


@torch.no_grad()
def test_state_acts_where_it_is_known_and_nowhere_else() -> None:
    net, video, state = small(), clip(), torch.randn(2, 4, 3)
    hidden = TubeMask()(generators(1, 2), GRID, 0.5)
    known = torch.ones(2, 4, dtype=torch.bool)
    known[:, 2] = False
    without = net(video, hidden).hidden
    got = net(video, hidden, None, state, known).hidden
    assert (got - without).abs().max() > 1e-3
    changed = state.clone()
    changed[:, 2] = math.nan  # of a frame whose state is not known
    assert torch.equal(net(video, hidden, None, changed, known).hidden, got)
    assert torch.equal(
        net(video, hidden, None, state, ~known | known).hidden,
        net(video, hidden, None, state).hidden,
    )
    assert torch.equal(net(video, hidden, None, state, known & ~known).hidden, without)


def test_unknown_state_leaves_finite_gradients_and_trains_its_own_token() -> None:
    net, hidden = small(), TubeMask()(generators(1, 2), GRID, 0.5)
    state = torch.full((2, 4, 3), math.nan)
    known = torch.zeros(2, 4, dtype=torch.bool)
    net(clip(), hidden, None, state, known).hidden.square().mean().backward()
    assert net.state_tokens.missing.grad.abs().max() > 0
    for parameter in net.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_every_parameter_learns_from_hidden_pixels() -> None:
    net, hidden = small(), TubeMask()(generators(1, 2), GRID, 0.5)
    known = torch.tensor([[True, True, False, False]] * 2)
    computed, camera = RunningCell()(generators(1, 2), GRID), 5 * torch.arange(4.0).expand(2, -1)
    made = net(clip(), hidden, computed, torch.randn(2, 4, 3), known, camera)
    made.hidden.square().mean().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@torch.no_grad()
@pytest.mark.parametrize("size", [(224, 224), (160, 160), (320, 320), (48, 96)])
def test_other_sizes_run_with_the_trained_positions_stretched(size: tuple[int, int]) -> None:
    net = small(patch=4, frames=4, size=(224, 224))  # units and size of base
    grid = (2, size[0] // 32 or 1, size[1] // 32)
    if size[0] % 32:
        with pytest.raises(ValueError, match="height 48 must be a positive multiple of 32; pad"):
            net.restore(torch.zeros(1, 3, 4, *size), torch.zeros(1, *grid, dtype=torch.bool))
        return
    hidden = TubeMask()(generators(1), grid, 0.9)
    restored = net.restore(torch.zeros(1, 3, 4, *size), hidden)
    assert restored.shape == (1, 3, 4, *size)
    assert restored.isfinite().all()


@torch.no_grad()
def test_a_padded_720p_frame_is_restored() -> None:
    net = small(patch=4, frames=4, size=(224, 224))
    video = pad(torch.zeros(1, 3, 1, 720, 1280), 32)
    hidden = TubeMask()(generators(1), (1, 23, 40), 0.9)
    restored = net.restore(video, hidden)[..., :1, :720, :1280]
    assert restored.shape == (1, 3, 1, 720, 1280)


def test_stretched_positions_keep_their_corners_apart_and_order() -> None:
    positions = small().encoder.of_unit
    line = torch.linspace(-1, 1, 3)[:, None, None]
    positions.place.data = line.expand(3, 2, 8).clone()
    positions.time.data.zero_()
    wide = positions((2, 6, 4))[0, :, 0, 0]
    assert (wide.diff() > 0).all()
    torch.testing.assert_close(wide.flip(0), -wide)


def test_mask_and_state_of_wrong_size_are_named() -> None:
    net, hidden = small(), torch.zeros(2, 1, 3, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"mask \(2, 1, 3, 2\) must be \(2, 2, 3, 2\)"):
        net(clip(), hidden)
    with pytest.raises(ValueError, match=r"state \(2, 4, 5\) .* set model\.state_dim"):
        net(clip(), torch.zeros(2, *GRID, dtype=torch.bool), None, torch.zeros(2, 4, 5))


def test_regions_are_bands_of_the_height() -> None:
    regions = RegionEmbedding(4, (0.25, 0.5))
    assert regions.labels(8).tolist() == [0, 0, 1, 1, 2, 2, 2, 2]
    assert torch.equal(regions(4), regions.of_region[[0, 1, 2, 2]])
    with pytest.raises(ValueError, match=r"must rise within \(0, 1\)"):
        RegionEmbedding(4, (0.5, 0.25))


def millions(module: torch.nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def giga_operations(name: str, ratio: float, share: float = 1.0) -> tuple[float, float]:
    """Forward operations a frame of encoder and decoder, in 10^9; a multiply-add is two."""
    net = on_meta(name)
    visible = round(392 * (1 - ratio))
    with torch.device("meta"), torch.no_grad():
        video = torch.empty(1, 3, 16, *preset(name).get("size", (224, 224)))
        units = torch.empty(1, visible, dtype=torch.int64)
        cubes = torch.empty(1, round(4 * (392 - visible) * share), dtype=torch.int64)
        with FlopCounterMode(display=False) as encoding:
            latents = net.encoder(video, units)
        with FlopCounterMode(display=False) as decoding:
            net.decoder(latents, units, cubes, (8, 7, 7), net.state_tokens(1, 16))
    return encoding.get_total_flops() / 16e9, decoding.get_total_flops() / 16e9


def preset(name: str) -> dict:
    """What the preset's file says of the model."""
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["model"]["init_args"]
    return {key: value for key, value in config.items() if key not in ("optimizer", "lr_scheduler")}


def on_meta(name: str) -> MaskedAutoencoder:
    with torch.device("meta"):
        return LitMaskedAutoencoder(**preset(name)).net


@pytest.mark.parametrize(
    ("name", "whole", "encoder", "decoder"),
    [
        ("base", (175, 185), (115, 125), (57, 64)),
        ("large", (440, 465), (340, 355), (95, 112)),
        ("balanced", (168, 180), (112, 122), (50, 62)),
        ("tiny", (9, 12), (8.5, 11), (0.5, 1)),
    ],
)
def test_presets_have_the_parameters_of_their_specification(
    name: str, whole: tuple[int, int], encoder: tuple[int, int], decoder: tuple[int, int]
) -> None:
    net = on_meta(name)
    for part, (least, most) in (
        (net, whole),
        (net.encoder, encoder),
        (torch.nn.ModuleList([net.decoder, net.state_tokens]), decoder),
    ):
        assert least <= millions(part) <= most


@pytest.mark.parametrize(
    ("name", "dense", "masked"), [("base", 69, 12), ("large", 156, 24), ("balanced", 29, 6.8)]
)
def test_presets_need_the_operations_a_frame_of_their_specification(
    name: str, dense: float, masked: float
) -> None:
    """Encoding all, and a training step's forward pass: 90% hidden, half of that decoded."""
    assert giga_operations(name, 0.0)[0] == pytest.approx(dense, rel=0.05)
    assert sum(giga_operations(name, 0.9, 0.5)) == pytest.approx(masked, rel=0.05)


@pytest.mark.parametrize("name", PRESETS)
def test_masking_nine_tenths_leaves_at_most_15_percent_of_the_encoder(name: str) -> None:
    assert giga_operations(name, 0.9)[0] <= 0.15 * giga_operations(name, 0.0)[0]


@pytest.mark.parametrize("name", PRESETS)
def test_running_cells_save_at_least_a_quarter_of_the_decoder(name: str) -> None:
    assert giga_operations(name, 0.9, 0.5)[1] <= 0.75 * giga_operations(name, 0.9)[1]


def test_true_pixels_of_cubes_lie_where_their_numbers_say() -> None:
    net, video = small(), clip()
    cubes = torch.tensor([[0, 1, 4], [23, 24, 47]])
    got = net.pixels(video, cubes)
    grid = cut(video, 8)  # (b, 2, 6, 4, pixels)
    assert torch.equal(got[0], torch.stack([grid[0, 0, 0, 0], grid[0, 0, 0, 1], grid[0, 0, 0, 2]]))
    assert torch.equal(got[1], torch.stack([grid[1, 0, 5, 3], grid[1, 1, 0, 0], grid[1, 1, 5, 3]]))
