"""Solvers: order of convergence where the solution is known, and torchdiffeq as a peer."""

import math

import pytest
import torch
from torch import Tensor
from torchdiffeq import odeint

from lit_modules.flow.solver import Velocity, integrate
from lit_modules.layers.noise import SampleNoise

FIXED = ("euler", "midpoint", "heun")
MEANS, STD = (-0.8, 0.6), 0.4


def gaussian_velocity(mean: float, std: float) -> Velocity:
    """E[ε - x0 | x_t] for data N(m, s²): x_t is N((1 - t) m, σ²), σ² = (1 - t)² s² + t²."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        variance = (1 - t) ** 2 * std**2 + t**2
        return -mean + (t - (1 - t) * std**2) / variance * (x - (1 - t) * mean)

    return velocity


def mixture_velocity(x: Tensor, t: Tensor) -> Tensor:
    """The same for data from two Gaussians alike: theirs, weighted by how likely each is."""
    sigma = ((1 - t) ** 2 * STD**2 + t**2).sqrt()
    means = torch.tensor(MEANS, dtype=x.dtype)
    share = torch.softmax(-(((x[:, None] - (1 - t) * means) / sigma) ** 2) / 2, dim=1)
    each = torch.stack([gaussian_velocity(mean, STD)(x, t) for mean in MEANS], dim=1)
    return (share * each).sum(1)


def even(steps: int) -> Tensor:
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)


def observed_orders(velocity: Velocity, noise: Tensor, data: Tensor, method: str) -> Tensor:
    """How many times the error halves when the step does."""
    errors = [
        (integrate(velocity, noise, even(steps), method)[0] - data).abs().max()
        for steps in (64, 128, 256, 512)
    ]
    return -torch.stack(errors).log2().diff()


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_order_of_convergence_on_two_gaussians(method: str, order: int) -> None:
    # On a line the flow keeps quantiles: F0(x0) = Φ(x1), which gives the noise of each datum.
    data = torch.linspace(-1.7, 1.5, 33, dtype=torch.float64)
    quantiles = torch.stack([torch.special.ndtr((data - m) / STD) for m in MEANS]).mean(0)
    noise = torch.special.ndtri(quantiles)
    orders = observed_orders(mixture_velocity, noise, data, method)
    torch.testing.assert_close(orders, torch.full((3,), float(order)).double(), rtol=0, atol=0.1)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 3), ("heun", 2)])
def test_order_of_convergence_on_one_gaussian(method: str, order: int) -> None:
    # Here x0 = m + s x1. The midpoint rule gains an order: σ² is quadratic in t, so u = σ c obeys
    # u'' = const / u³, and with it the h³ term of the rule's local error cancels.
    noise = torch.linspace(-3, 3, 33, dtype=torch.float64)
    orders = observed_orders(gaussian_velocity(0.7, 0.4), noise, 0.7 + 0.4 * noise, method)
    torch.testing.assert_close(orders, torch.full((3,), float(order)).double(), rtol=0, atol=0.1)


@pytest.mark.parametrize(("method", "calls"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_evaluations_and_steps_are_counted(method: str, calls: int) -> None:
    seen: list[float] = []
    steps: list[None] = []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        assert t.shape == ()
        seen.append(float(t))
        return -x

    _, evaluations = integrate(
        velocity, torch.ones(2), even(5), method, progress=lambda: steps.append(None)
    )
    assert evaluations == len(seen) == 5 * calls
    assert len(steps) == 5


def test_fixed_rules_equal_those_of_torchdiffeq() -> None:
    times = torch.tensor([1.0, 0.7, 0.65, 0.2, 0.0], dtype=torch.float64)
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for ours, theirs in (("euler", "euler"), ("midpoint", "midpoint"), ("heun", "heun2")):
        x, _ = integrate(mixture_velocity, noise, times, ours)
        expected = odeint(lambda t, x: mixture_velocity(x, t), noise, times, method=theirs)[-1]
        torch.testing.assert_close(x, expected, rtol=1e-12, atol=1e-12)


def test_dopri5_equals_that_of_torchdiffeq() -> None:
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    calls = steps = 0

    def field(t: Tensor, x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return mixture_velocity(x, t)

    def progress() -> None:
        nonlocal steps
        steps += 1

    ends = torch.tensor([1.0, 0.0], dtype=torch.float64)
    expected = odeint(field, noise, ends, rtol=1e-6, atol=1e-7, method="dopri5")[-1]
    x, evaluations = integrate(
        mixture_velocity, noise, even(10), "dopri5", 1e-6, 1e-7, progress=progress
    )
    assert torch.equal(x, expected)
    assert evaluations == calls
    assert 0 < steps < evaluations


def test_dopri5_meets_its_tolerance() -> None:
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for tolerance in (1e-4, 1e-7):
        x, _ = integrate(
            gaussian_velocity(0.7, 0.4), noise, even(1), "dopri5", tolerance, tolerance
        )
        assert (x - (0.7 + 0.4 * noise)).abs().max() < 10 * tolerance


@pytest.mark.parametrize("method", [*FIXED, "dopri5"])
def test_same_seed_gives_same_bytes(method: str) -> None:
    def sample() -> Tensor:
        generators = SampleNoise(3).generators(range(2))
        noise = SampleNoise.normal(generators, (3, 4, 6, 8))
        return integrate(gaussian_velocity(0.1, 0.5), noise, even(4), method)[0]

    assert sample().numpy().tobytes() == sample().numpy().tobytes()


@pytest.mark.parametrize("method", FIXED)
def test_result_keeps_its_precision_when_the_network_answers_in_less(method: str) -> None:
    x, _ = integrate(lambda x, t: (-x).bfloat16(), torch.ones(3), even(4), method)
    assert x.dtype == torch.float32
    assert x.isfinite().all()


@pytest.mark.parametrize("method", [*FIXED, "dopri5"])
def test_gradients_flow_through_sampling(method: str) -> None:
    scale = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    start = torch.ones(1, dtype=torch.float64)
    x, _ = integrate(lambda x, t: -scale * x, start, even(200), method)
    x.sum().backward()
    # dx/dt = -a x from 1 to 0 gives e^a, whose slope is itself.
    assert scale.grad is not None
    assert math.isclose(float(scale.grad), math.exp(0.5), rel_tol=5e-3)


def test_unknown_solver_and_lone_time_are_named() -> None:
    with pytest.raises(ValueError, match=r"rk4.*euler, midpoint, heun, dopri5"):
        integrate(lambda x, t: x, torch.ones(1), even(1), "rk4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least two"):
        integrate(lambda x, t: x, torch.ones(1), torch.ones(1))
