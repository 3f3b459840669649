"""Optimizers for whole batches and averages: Rprop and ASGD.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from .optimizer import Optimizer, check_range, number


class Rprop(Optimizer):
    """p -= sign(g) * s; the step s of each element grows while the sign of its gradient stays, and shrinks (with no
    move) when it turns.

    Args:
        etas: factors by which steps shrink and grow.
        step_sizes: their bounds.

    Source: Riedmiller and Braun, A Direct Adaptive Method for Faster Backpropagation Learning, 1993.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_range("learning rate", number(lr))
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr,
                "etas": etas,
                "step_sizes": step_sizes,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        (shrink, grow), (low, high) = group["etas"], group["step_sizes"]
        for param, grad in zip(params, grads):
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["prev"] = param.new_zeros(param.shape)
                state["step_size"] = param.new_full(param.shape, number(group["lr"]))
            state["step"] += 1
            if group["maximize"]:
                grad = -grad
            agree = grad * state["prev"]
            turned = agree < 0
            factor = (agree > 0) * (grow - 1.0) + turned * (shrink - 1.0) + 1.0
            size = state["step_size"].mul_(factor.to(param.dtype)).clamp_(low, high)
            grad = grad.masked_fill(turned, 0.0)
            param.addcmul_(grad.sign(), size, value=-1.0)
            state["prev"].copy_(grad)


class ASGD(Optimizer):
    """p = (1 - lambd eta) p - eta g, eta = lr / (1 + lambd lr t)^alpha; `ax` in the state is the mean of p from step
    t0 on.

    Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_range("learning rate", number(lr))
        check_range("weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, lambd, decay = number(group["lr"]), group["lambd"], group["weight_decay"]
        for param, grad in zip(params, grads):
            state = self.state[param]
            if not state:
                state.update(step=0.0, eta=lr, mu=1.0, ax=param.new_zeros(param.shape))
            state["step"] += 1
            if group["maximize"]:
                grad = -grad
            if decay:
                grad = grad.add(param, alpha=decay)
            eta, weight = number(state["eta"]), number(state["mu"])
            param.mul_(1 - lambd * eta).add_(grad, alpha=-eta)
            if weight == 1:
                state["ax"].copy_(param)
            else:
                state["ax"].lerp_(param, weight)
            state["eta"] = lr / (1 + lambd * lr * state["step"]) ** group["alpha"]
            state["mu"] = 1 / max(1.0, state["step"] - group["t0"])
