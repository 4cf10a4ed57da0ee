"""Solvers of dx/dt = v(x, t): how samples travel from noise to data."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, get_args

from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]
Method = Literal["euler", "midpoint", "heun", "dopri5"]


def integrate(
    velocity: Velocity,
    x: Tensor,
    times: Tensor,
    method: Method = "euler",
    rtol: float = 1.0e-5,
    atol: float = 1.0e-5,
    progress: Callable[[], None] | None = None,
) -> tuple[Tensor, int]:
    """Carries `x` from the first of `times` to the last.

    Hairer, Nørsett, Wanner 1993, "Solving Ordinary Differential Equations I", chapter II: Euler
    (order 1, one evaluation a step), the midpoint rule and Heun's rule (order 2, two evaluations a
    step). `dopri5` (Dormand and Prince, order 5) chooses its own steps, so that the error over the
    whole batch stays within the tolerances; it is torchdiffeq's.

    Args:
        velocity: `(x, t) -> v` with `v` of the shape of `x` and `t` of no dimension.
        x: where to start, `(b, ...)`, float32 or float64.
        times: at least two, each step's start and end, `(steps + 1,)`; `dopri5` takes its own
            steps between the first and the last.
        method: the rule.
        rtol: relative tolerance of `dopri5`.
        atol: absolute tolerance of `dopri5`.
        progress: called after each step.

    Returns:
        `x` at the last time, and how often `velocity` was called.

    Raises:
        ValueError: an unknown method, or fewer than two times.
    """
    if method not in get_args(Method):
        raise ValueError(f"solver {method!r} must be one of {', '.join(get_args(Method))}")
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"times of shape {tuple(times.shape)} must be a row of at least two")
    evaluations = 0

    def counted(x: Tensor, t: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        return velocity(x, t).to(x.dtype)  # a network under autocast may answer in bf16

    times = times.to(x.device, x.dtype)
    if method == "dopri5":
        return _dopri5(counted, x, times[[0, -1]], rtol, atol, progress), evaluations
    for t, t_next in pairwise(times):
        x = _STEPS[method](counted, x, t, t_next)
        if progress is not None:
            progress()
    return x, evaluations


def _euler(velocity: Velocity, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    return x + (t_next - t) * velocity(x, t)


def _midpoint(velocity: Velocity, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    middle = (t + t_next) / 2
    return x + (t_next - t) * velocity(_euler(velocity, x, t, middle), middle)


def _heun(velocity: Velocity, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
    step = t_next - t
    start = velocity(x, t)
    return x + step / 2 * (start + velocity(x + step * start, t_next))


_STEPS = {"euler": _euler, "midpoint": _midpoint, "heun": _heun}


def _dopri5(
    velocity: Velocity,
    x: Tensor,
    times: Tensor,
    rtol: float,
    atol: float,
    progress: Callable[[], None] | None,
) -> Tensor:
    from torchdiffeq import odeint  # scipy: slow to import

    def field(t: Tensor, x: Tensor) -> Tensor:
        return velocity(x, t)

    if progress is not None:
        field.callback_accept_step = lambda *_: progress()  # type: ignore[attr-defined]
    path: Tensor = odeint(field, x, times, rtol=rtol, atol=atol, method="dopri5")
    return path[-1]
