"""Palette lookup and resize give the picture that OpenCV gives, wherever they run."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from datamodules.pixels import _resize_by_torch, clips_to_rgb, to_rgb

RNG = np.random.default_rng(0)


def indexed(shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Smooth indices, a palette and the RGB picture that they stand for."""
    rows, columns = np.indices(shape)
    indices = ((rows // 9 + columns // 7) % 256).astype(np.uint8)
    colours = RNG.integers(0, 256, (256, 4)).astype(np.uint8)
    palette = torch.from_numpy(colours.view(np.int32)[:, 0])
    return torch.from_numpy(indices), palette, colours[indices, :3]


@pytest.mark.parametrize("size", [(224, 224), (84, 84), (210, 160), (240, 256)])
def test_cpu_equals_opencv_on_rgb_up_to_rounding(size):
    games = [indexed((210, 160)) for _ in range(3)]
    frames = torch.stack([game[0] for game in games])
    palettes = torch.stack([game[1] for game in games])
    found = to_rgb(frames, palettes, size)
    assert found.shape == (3, 3, *size)
    for frame, (indices, _, rgb) in zip(found, games, strict=True):
        expected = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_LINEAR)
        difference = np.abs(frame.permute(1, 2, 0).numpy().astype(int) - expected)
        assert difference.max() <= (size != indices.shape)  # without a resize nothing is rounded


def test_frames_of_several_sizes_and_kinds_make_one_batch():
    atari, pacman = indexed((210, 160)), indexed((250, 160))
    palettes = torch.stack([atari[1], pacman[1], torch.zeros(256, dtype=torch.int32)])
    rgb = torch.from_numpy(RNG.integers(0, 256, (60, 80, 3)).astype(np.uint8))
    found = to_rgb([atari[0], pacman[0], rgb], palettes, (60, 80))
    assert found[1].equal(to_rgb(pacman[0][None], palettes[1:2], (60, 80))[0])
    assert found[2].equal(rgb.permute(2, 0, 1))


def by_torch(device: str) -> int:
    """The largest difference of the path of a GPU from that of a CPU."""
    games = [indexed((210, 160)) for _ in range(2)]
    frames = torch.stack([game[0] for game in games])
    palettes = torch.stack([game[1] for game in games])
    cpu = to_rgb(frames, palettes, (224, 200))
    other = _resize_by_torch(frames.to(device), palettes.to(device), (224, 200))
    assert other.is_contiguous()
    rgb = torch.from_numpy(np.stack([game[2] for game in games])).to(device)
    assert _resize_by_torch(rgb, palettes.to(device), (224, 200)).equal(other)
    return int((cpu.int() - other.cpu().int()).abs().max())


def test_float_path_differs_by_rounding_only():
    assert by_torch("cpu") <= 1


def clips() -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Two clips of palette indices `(2, 4, 20, 30)`, their palettes and the RGB they stand for."""
    games = [[indexed((20, 30 + i)) for i in range(4)] for _ in range(2)]
    indices = torch.stack(
        [torch.stack([g[0][:, i:] for i, g in enumerate(game)]) for game in games]
    )
    palettes = torch.stack([game[0][1] for game in games])
    colours = palettes.numpy().view(np.uint8).reshape(2, 256, 4)[..., :3]
    return indices, palettes, np.stack([c[i] for c, i in zip(colours, indices, strict=True)])


def check_clips(device: str) -> None:
    indices, palettes, rgb = clips()
    expected = torch.from_numpy(rgb).permute(0, 4, 1, 2, 3)
    native = torch.from_numpy(rgb).to(device)
    palettes = palettes.to(device)
    for given in (indices.to(device), native, [indices[0].to(device), native[1]]):
        found = clips_to_rgb(given, palettes)
        assert found.shape == (2, 3, 4, 20, 30)
        assert found.is_contiguous()
        assert found.cpu().equal(expected)


def test_colours_of_clips_are_exact():
    check_clips("cpu")


@pytest.mark.gpu
def test_colours_of_clips_are_exact_on_a_gpu():
    check_clips("cuda")


def test_lookup_without_a_resize_is_exact_by_torch_too():
    indices, palettes, rgb = clips()
    found = _resize_by_torch(indices[:, 0], palettes, (20, 30))
    assert found.permute(0, 2, 3, 1).equal(torch.from_numpy(rgb[:, 0]))


@pytest.mark.gpu
def test_gpu_differs_from_cpu_by_rounding_only():
    assert by_torch("cuda") <= 1
    frames, palette, _ = indexed((210, 160))
    mixed = [frames.cuda(), frames[:200].cuda()]
    found = to_rgb(mixed, torch.stack([palette, palette]).cuda(), (224, 200))
    cpu = to_rgb([frames, frames[:200]], torch.stack([palette, palette]), (224, 200))
    assert (found.cpu().int() - cpu.int()).abs().max() <= 1
