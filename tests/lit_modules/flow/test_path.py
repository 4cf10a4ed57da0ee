"""The linear path: its ends, its slope, and the way back."""

import torch

from lit_modules.flow.path import LEAST_TIME, LinearPath

path = LinearPath()


def clips(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn(2, 4, 3, 2, 5, 6, generator=generator)
    return x0, noise


def test_time_one_is_noise_and_time_zero_is_data() -> None:
    x0, noise = clips()
    x_t, _ = path.sample(x0, torch.tensor([0.0, 1.0, 0.0, 1.0]), noise)
    assert torch.equal(x_t, torch.stack([x0[0], noise[1], x0[2], noise[3]]))


def test_point_and_velocity_follow_the_formulas() -> None:
    x0, noise = clips()
    t = torch.tensor([0.1, 0.25, 0.5, 0.9])
    x_t, velocity = path.sample(x0, t, noise)
    for i in range(4):
        torch.testing.assert_close(x_t[i], (1 - t[i]) * x0[i] + t[i] * noise[i])
        assert torch.equal(velocity[i], noise[i] - x0[i])


def test_velocity_is_the_slope_of_the_path() -> None:
    x0, noise = (x.double() for x in clips())
    t = torch.tensor([0.1, 0.25, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    x_t, velocity = path.sample(x0, t, noise)
    weights = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(1)).double()
    (slope,) = torch.autograd.grad((weights * x_t).sum(), t)
    torch.testing.assert_close(slope, (weights * velocity).sum((1, 2, 3, 4)))


def test_data_and_noise_come_back_from_point_and_velocity() -> None:
    x0, noise = clips()
    for t in (torch.rand(4, generator=torch.Generator().manual_seed(0)), torch.tensor(0.3)):
        x_t, velocity = path.sample(x0, t, noise)
        torch.testing.assert_close(path.data(x_t, velocity, t), x0)
        torch.testing.assert_close(path.noise(x_t, velocity, t), noise)


def test_predicted_data_gives_the_velocity_towards_it() -> None:
    x0, noise = clips()
    t = torch.tensor([LEAST_TIME, 0.25, 0.5, 1.0])
    x_t, velocity = path.sample(x0, t, noise)
    torch.testing.assert_close(path.velocity(x_t, x0, t), velocity, rtol=1e-4, atol=1e-4)
    assert path.velocity(x_t, x0, torch.zeros(4)).isfinite().all()
