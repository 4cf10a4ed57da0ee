"""ObGD and AdaptiveObGD: online gradient descent whose step cannot overshoot."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

ALIGNMENT = 64  # bytes between starts of parameters in a buffer: one cache line, any vector load


class ObGD(Optimizer):
    """Overshooting-bounded gradient descent.

    Elsayed, Vasan, Mahmood 2024, "Streaming Deep Reinforcement Learning Finally Works",
    Algorithm 3. With an error δ and the gradient ∇f of the function f that the error is about:

        z <- γλ z + ∇f                           the trace
        M  = α κ max(|δ|, 1) ‖z‖₁                over all parameters together
        θ <- θ - α / max(M, 1) · δ z             then z <- 0 where the step says so

    For a supervised loss L use f = sqrt(2 L): backpropagate f and step with δ = f, so that without
    a trace δ ∇f = ∇L. Passing δ = L with ∇L counts the error twice.

    Parameters, gradients and trace each lie in one flat buffer, so a step is a handful of kernels
    however many parameters there are, without host synchronisation: it can be captured in a CUDA
    graph. Parameters and gradients are contiguous views of theirs. A parameter that is given other
    storage later (moved, say), or a gradient that somebody else made (DDP, `zero_grad` of a
    module), is taken up by the next step.

    Args:
        params: parameters of one dtype on one device, or one group of them.
        lr: α, above 0.
        gamma: discount γ, in [0, 1].
        lamda: trace decay λ, in [0, 1].
        kappa: κ, above 0; the larger, the smaller the steps.
        max_grad_norm: largest L2 norm of the gradient (of all parameters together) that enters
            the trace; absent means no clipping.

    Raises:
        ValueError: a value out of its range, several groups, or several dtypes or devices.
    """

    _buffer_names: tuple[str, ...] = ("trace",)  # parts of the state as large as the parameters

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1.0,
        gamma: float = 0.99,
        lamda: float = 0.8,
        kappa: float = 2.0,
        max_grad_norm: float | None = None,
    ) -> None:
        for name, value, fits in (
            ("lr", lr, lr > 0),
            ("gamma", gamma, 0 <= gamma <= 1),
            ("lamda", lamda, 0 <= lamda <= 1),
            ("kappa", kappa, kappa > 0),
            ("max_grad_norm", max_grad_norm, max_grad_norm is None or max_grad_norm > 0),
        ):
            if not fits:
                bound = "in [0, 1]" if name in ("gamma", "lamda") else "above 0"
                raise ValueError(f"{name} {value} must be {bound}; set optimizer.{name}")
        hyperparameters = {"lr": lr, "gamma": gamma, "lamda": lamda, "kappa": kappa}
        super().__init__(params, {**hyperparameters, "max_grad_norm": max_grad_norm})
        self._bind()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Takes the one group there may be: the bound is over all parameters, with one α."""
        if self.param_groups:
            raise ValueError(
                f"{type(self).__name__} got 2 parameter groups but bounds one step over all "
                "parameters; pass them in one group"
            )
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores a loaded or unpickled state, which the next step takes into the buffers."""
        super().__setstate__(state)
        self._pointers: list[int] = []

    @torch.no_grad()
    def step(  # type: ignore[override]
        self,
        delta: float | Tensor,
        reset: bool | Tensor = False,
        closure: Callable[[], Any] | None = None,
    ) -> Any:
        """Updates the parameters by the gradients they hold; a missing one counts as zero.

        Args:
            delta: error δ, a number or a tensor of one element on the parameters' device.
            reset: whether to reset the trace after this update, as at the end of an episode; a
                bool or a bool tensor of one element on the parameters' device.
            closure: called first, with gradients enabled; it backpropagates.

        Returns:
            What the closure returned; without one None.
        """
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        params = self.param_groups[0]["params"]
        if list(map(Tensor.data_ptr, params)) != self._pointers:
            self._bind()
        self._gather_gradients([p.grad for p in params])
        if isinstance(delta, Tensor):
            delta = delta.reshape(()).to(self._trace.dtype)
        self._update(delta)
        if isinstance(reset, Tensor):
            self._trace.masked_fill_(reset.reshape(()), 0)
        elif reset:
            self._trace.zero_()
        return result

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Zeroes the gradients in one go; they stay what they are, whatever `set_to_none` says."""
        if not self._pointers:
            self._bind()
        self._gradient.zero_()
        for p, view in zip(self.param_groups[0]["params"], self._gradient_views, strict=True):
            if p.grad is None:
                p.grad = view
            elif p.grad is not view:
                p.grad = p.grad.detach().zero_()  # DDP's are views, which cannot detach in place

    def _update(self, delta: float | Tensor) -> None:
        self._update_trace()
        self._descend(self._trace, delta)

    def _update_trace(self) -> None:
        group = self.param_groups[0]
        decay = group["gamma"] * group["lamda"]
        torch.add(self._gradient, self._trace, alpha=decay, out=self._trace)

    def _descend(self, direction: Tensor, delta: float | Tensor) -> None:
        lr, kappa = self.param_groups[0]["lr"], self.param_groups[0]["kappa"]
        error = delta.abs().clamp_(min=1) if isinstance(delta, Tensor) else max(abs(delta), 1.0)
        # α / max(M, 1) is 1/κ over max(M / ακ, 1 / ακ): one operation less. On a CPU
        # `linalg.vector_norm` takes three times as long as taking the magnitudes first.
        bound = direction.abs().sum().mul_(error).clamp_(min=1 / (lr * kappa))
        self._parameters.addcmul_(direction, delta / bound, value=-1 / kappa)

    def _gather_gradients(self, gradients: list[Tensor | None]) -> None:
        """Brings gradients into their buffer that somebody else made, and clips them."""
        views = self._gradient_views
        if not all(map(operator.is_, gradients, views)):
            for view, gradient in zip(views, gradients, strict=True):
                if gradient is None:
                    view.zero_()
                elif gradient is not view:
                    view.copy_(gradient)
        limit = self.param_groups[0]["max_grad_norm"]
        if limit is not None:
            norm = torch.linalg.vector_norm(self._gradient)
            self._gradient.mul_((limit / norm).clamp_(max=1))

    @torch.no_grad()
    def _bind(self) -> None:
        """Moves parameters and state into flat buffers, of which they become views."""
        params: list[Tensor] = self.param_groups[0]["params"]
        if len(kinds := {(str(p.dtype), str(p.device)) for p in params}) > 1:
            raise ValueError(
                f"{type(self).__name__} got parameters of {sorted(kinds)}; "
                "give them one dtype and one device"
            )
        self._gradient, self._gradient_views = _flat_like(params)
        for p, view in zip(params, self._gradient_views, strict=True):
            p.grad = view if p.grad is None else view.copy_(p.grad)
        for name in self._buffer_names:
            buffer, views = _flat_like(params)
            for p, view in zip(params, views, strict=True):
                if name in self.state[p]:
                    view.copy_(self.state[p][name])
                self.state[p][name] = view
            setattr(self, f"_{name}", buffer)
        self._parameters, views = _flat_like(params)
        for p, view in zip(params, views, strict=True):
            p.data = view.copy_(p)
        self._pointers = list(map(Tensor.data_ptr, params))

    _trace: Tensor


class AdaptiveObGD(ObGD):
    """ObGD whose trace is scaled, value by value, by the root mean square of past δ z.

    The same paper's adaptive variant: with v <- β₂ v + (1 - β₂) (δ z)², corrected for its start as
    in Adam, the trace z / sqrt(v + ε) takes the place of z in the bound and in the step.

    Args:
        params: see `ObGD`.
        lr: see `ObGD`.
        gamma: see `ObGD`.
        lamda: see `ObGD`.
        kappa: see `ObGD`.
        max_grad_norm: see `ObGD`.
        beta2: β₂, in [0, 1).
        eps: ε inside the root, above 0.

    Raises:
        ValueError: see `ObGD`.
    """

    _buffer_names = ("trace", "square")

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1.0,
        gamma: float = 0.99,
        lamda: float = 0.8,
        kappa: float = 2.0,
        max_grad_norm: float | None = None,
        beta2: float = 0.999,
        eps: float = 1.0e-8,
    ) -> None:
        if not 0 <= beta2 < 1:
            raise ValueError(f"beta2 {beta2} must be in [0, 1); set optimizer.beta2")
        if eps <= 0:
            raise ValueError(f"eps {eps} must be above 0; set optimizer.eps")
        super().__init__(params, lr, gamma, lamda, kappa, max_grad_norm)
        self.defaults |= {"beta2": beta2, "eps": eps}
        self.param_groups[0].update(beta2=beta2, eps=eps)

    def _update(self, delta: float | Tensor) -> None:
        beta2, eps = self.param_groups[0]["beta2"], self.param_groups[0]["eps"]
        self._update_trace()
        error = self._trace * delta
        self._square.mul_(beta2).addcmul_(error, error, value=1 - beta2)
        self._step += 1
        correction = -torch.expm1(self._step * math.log(beta2)) if beta2 else 1
        root = torch.div(self._square, correction, out=error).add_(eps).sqrt_()
        self._descend(torch.div(self._trace, root, out=error), delta)

    def _bind(self) -> None:
        super()._bind()
        first: Tensor = self.param_groups[0]["params"][0]
        step = self.state[first].get("step", torch.zeros(()))  # counts beyond 256, also for bf16
        self._step = self.state[first]["step"] = step.to(first.device, torch.float32, copy=True)

    _square: Tensor


def _flat_like(params: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """A buffer of zeros, and where each parameter lies in it; gaps between them stay zero."""
    unit = max(1, ALIGNMENT // params[0].element_size())
    lengths = [math.ceil(p.numel() / unit) * unit for p in params]
    buffer = params[0].new_zeros(sum(lengths))
    parts = torch.split(buffer, lengths)
    return buffer, [part[: p.numel()].view(p.shape) for part, p in zip(parts, params, strict=True)]
