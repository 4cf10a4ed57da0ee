"""Muon: momentum, orthogonalised, for weights; Adam for the vectors beside them."""

from collections import defaultdict
from collections.abc import Callable
from itertools import compress
from operator import not_
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

# Slope at zero as steep as possible for a quintic that stays near one on (0, 1]: Jordan 2024.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NORM_DECAY = 0.99  # of the mean squared gradient norm that `relative_step` refers to


class Muon(Optimizer):
    """One optimizer for all parameters of a network: Muon for weights, Adam for vectors.

    A parameter of two or more dimensions is a matrix `(first dimension, all others)`, so a
    convolution's kernel counts as `(out, in * kh * kw)`. Its update is the nearest semi-orthogonal
    matrix to its momentum, which moves every direction of the weight equally far, times
    `lr * sqrt(max(1, rows / columns))`. Keller Jordan et al. 2024, "Muon: An optimizer for hidden
    layers in neural networks", https://kellerjordan.github.io/posts/muon/. `torch.optim.Muon`
    computes the same, but takes 2-D parameters only, one at a time.

    Such steps have one length however small the gradient, so a stream's error stops falling where
    they overshoot. `relative_step` shortens them as gradients shrink or contradict each other, and
    lengthens them again when the scene changes, where a schedule could not: a weight's step is `lr`
    times `min(1, relative_step * |average gradient| / rms |gradient|)`, Frobenius norms, the root
    mean square over about 100 steps.

    Parameters of fewer dimensions (biases, scales) take Adam: Kingma and Ba 2015, Algorithm 1. So
    do weights whose short side is above `max_side`, as the work for one grows with its cube.

    Matrices with equal short sides share batched products, nothing reads a value back to the host,
    and step counts are tensors, so a step can be captured in a CUDA graph.

    Args:
        params: parameters or groups of them.
        lr: step size for weights, about the change of a weight's singular values a step, >= 0.
        momentum: decay of the average of gradients of weights, in [0, 1).
        nesterov: whether the newest gradient counts once more.
        relative_step: how early steps shorten, > 0, see above; None never shortens them.
        newton_schulz_steps: iterations of the orthogonalisation, >= 1.
        max_side: longest short side of a weight that is orthogonalised; None is any.
        adam_lr: step size for vectors, >= 0.
        adam_betas: decay of Adam's averages of gradient and squared gradient, in [0, 1).
        adam_eps: added to the denominator of Adam.

    Raises:
        ValueError: a step size is negative or a decay lies outside [0, 1).
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 0.02,
        momentum: float = 0.9,
        nesterov: bool = True,
        relative_step: float | None = 2.0,
        newton_schulz_steps: int = 5,
        max_side: int | None = None,
        adam_lr: float | Tensor = 1e-3,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        adam_eps: float = 1e-8,
    ) -> None:
        for name, rate in (("lr", lr), ("adam_lr", adam_lr)):
            if rate < 0:
                raise ValueError(f"{name} {rate} must not be negative")
        if relative_step is not None and relative_step <= 0:
            raise ValueError(f"relative_step {relative_step} must be positive, or None")
        for name, decay in (("momentum", momentum), *(("adam_betas", b) for b in adam_betas)):
            if not 0 <= decay < 1:
                raise ValueError(f"{name} {decay} must lie in [0, 1)")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "relative_step": relative_step,
            "newton_schulz_steps": newton_schulz_steps,
            "max_side": max_side,
            "adam_lr": adam_lr,
            "adam_betas": adam_betas,
            "adam_eps": adam_eps,
            "capturable": True,  # tells torch to keep step counts on the device when it loads them
        }
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients anew, and returns the loss.

        Returns:
            What `closure` returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            learning = [p for p in group["params"] if p.grad is not None]
            longest = group.get("max_side") or torch.inf
            turned = [p.ndim >= 2 and min(p.flatten(1).shape) <= longest for p in learning]
            self._update_weights(list(compress(learning, turned)), group)
            self._update_vectors(list(compress(learning, map(not_, turned))), group)
        return loss

    def _update_weights(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        if not weights:
            return
        gradients = [_gradient(p) for p in weights]
        averages = self._state(weights, "momentum")
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        directions = averages
        if group["nesterov"]:
            directions = list(torch._foreach_lerp(gradients, averages, group["momentum"]))
        updates = orthogonalize([d.flatten(1) for d in directions], group["newton_schulz_steps"])
        lengths = self._lengths(weights, gradients, averages, group)
        for p, update, length in zip(weights, updates, lengths, strict=True):
            rows, columns = update.shape
            p.sub_(update.view_as(p) * (length * max(1.0, rows / columns) ** 0.5))

    def _lengths(
        self,
        weights: list[Tensor],
        gradients: list[Tensor],
        averages: list[Tensor],
        group: dict[str, Any],
    ) -> list[Tensor]:
        """Return the length of each weight's step, before the factor for its shape."""
        if group["relative_step"] is None:
            return [group["lr"]] * len(weights)
        steps = self._state(weights, "step", scalar=True)
        squares = self._state(weights, "norm_sq", scalar=True)
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(
            squares, torch._foreach_pow(torch._foreach_norm(gradients), 2), 1 - NORM_DECAY
        )
        lengths = []
        for norm, square, step in zip(torch._foreach_norm(averages), squares, steps, strict=True):
            average = norm / (1 - group["momentum"] ** step)
            rms = (square / (1 - NORM_DECAY**step)).sqrt().clamp_min(1e-20)
            lengths.append(group["lr"] * (group["relative_step"] * average / rms).clamp_max(1.0))
        return lengths

    def _update_vectors(self, vectors: list[Tensor], group: dict[str, Any]) -> None:
        if not vectors:
            return
        beta1, beta2 = group["adam_betas"]
        gradients = [_gradient(p) for p in vectors]
        steps = self._state(vectors, "step", scalar=True)
        averages = self._state(vectors, "exp_avg")
        squares = self._state(vectors, "exp_avg_sq")
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(averages, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        for p, step, average, square in zip(vectors, steps, averages, squares, strict=True):
            scale = (square / (1 - beta2**step)).sqrt_().add_(group["adam_eps"])
            p.sub_(average / scale * (group["adam_lr"] / (1 - beta1**step)))

    def _state(self, params: list[Tensor], name: str, scalar: bool = False) -> list[Tensor]:
        for p in params:
            if name not in self.state[p]:
                self.state[p][name] = p.new_zeros(()) if scalar else torch.zeros_like(p)
        return [self.state[p][name] for p in params]


def orthogonalize(matrices: list[Tensor], steps: int = 5) -> list[Tensor]:
    """Bring the singular values of matrices near one, keeping their singular vectors.

    Newton-Schulz iteration with a quintic, `X <- (a + b A + c A²) X` with `A = X Xᵀ` (Jordan et al.
    2024). Every factor is a polynomial in the first `A`, so the factors are multiplied with each
    other on the short side and meet `X` once. That is cheaper for a wide matrix, and matrices that
    agree in their short side alone can share a batch.

    Args:
        matrices: each `(rows, columns)`, real.
        steps: iterations, >= 1; with five, singular values above a hundredth of the Frobenius norm
            come to lie in about [0.7, 1.2].

    Returns:
        Matrices of the same shapes; a zero matrix stays zero.
    """
    wide = [m.mT if m.shape[0] > m.shape[1] else m for m in matrices]
    unit = [m / torch.linalg.matrix_norm(m).clamp_min(1e-7) for m in wide]
    by_side: dict[int, list[int]] = defaultdict(list)
    for i, m in enumerate(unit):
        by_side[m.shape[0]].append(i)
    result = list(matrices)
    for group in by_side.values():
        factors = _newton_schulz_factors(torch.stack([unit[i] @ unit[i].mT for i in group]), steps)
        for i, factor in zip(group, factors, strict=True):
            product = factor @ unit[i]
            result[i] = product.mT if wide[i] is not matrices[i] else product
    return result


def _newton_schulz_factors(gram: Tensor, steps: int) -> Tensor:
    """Return what `steps` iterations multiply `X` by, `(n, side, side)`, given `X Xᵀ`."""
    a, b, c = NEWTON_SCHULZ
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    total = identity
    for step in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c) + a * identity
        total = factor @ total if step else factor
        if step < steps - 1:
            gram = factor @ gram @ factor
    return total


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
