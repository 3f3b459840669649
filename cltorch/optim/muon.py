"""Muon: momentum whose matrices are made orthogonal.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from ..dtypes import float32
from ..tensor import Tensor
from .optimizer import Optimizer, number, zero_state


class Muon(Optimizer):
    """p = (1 - lr weight_decay) p - a lr O, O the nearest orthogonal matrix (about) to the momentum of the gradient.

    O comes from `ns_steps` steps X = a X + (b A + c A^2) X, A = X X^T, from the momentum divided by its norm. They run
    in float32, where PyTorch takes bfloat16.

    Args:
        params: matrices; other parameters need another optimizer.
        momentum: how much of the running mean is kept. `nesterov`: look ahead by one step.
        ns_coefficients: (a, b, c). `eps`: the least norm.
        adjust_lr_fn: a is sqrt(max(1, rows / columns)) for 'original' or None, 0.2 sqrt(max(rows, columns)) for
            'match_rms_adamw'.

    Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024; Liu et al., Muon is Scalable
    for LLM Training, 2025.

    Raises:
        ValueError: an option is out of range, or a parameter is no matrix.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for name, value in (("Learning rate", number(lr)), ("momentum", momentum), ("weight decay", weight_decay)):
            if not value >= 0.0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        if len(ns_coefficients) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for param in self.param_groups[-1]["params"]:
            if param.dim() != 2:
                self.param_groups.pop()
                raise ValueError(
                    f"Muon only supports 2D parameters whereas we found a parameter with size: {param.shape}"
                )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, momentum = number(group["lr"]), group["momentum"]
        kept = 1 - lr * group["weight_decay"]
        for param, grad in zip(params, grads):
            state = self.state[param]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = zero_state(param)
            buffer = state["momentum_buffer"].lerp_(grad, 1 - momentum)
            moving = grad.lerp(buffer, momentum) if group["nesterov"] else buffer
            along = _orthogonal(moving, group["ns_coefficients"], group["ns_steps"], group["eps"])
            param.mul_(kept).add_(along.to(param.dtype), alpha=-lr * _stretch(param, group["adjust_lr_fn"]))


def _orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Every singular value brought near 1 by Newton and Schulz's iteration."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(float32)
    x = x.t() if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.t()
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.t() if tall else x


def _stretch(param: Tensor, kind: str | None) -> float:
    rows, columns = param.shape
    return 0.2 * sqrt(max(rows, columns)) if kind == "match_rms_adamw" else sqrt(max(1.0, rows / columns))
