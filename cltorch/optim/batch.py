"""Optimizers for whole batches and averages: Rprop and ASGD.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..direct import run, update
from ..ops.pointwise import CLAMP, MUL
from ..ops.updates import SIGNED_STEP, STEP_SIZE, UNTURNED, WEIGHTED
from ..tensor import Tensor
from .optimizer import Optimizer, alteration, check_range, decayed, number, record, zero_state


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
        lr, (shrink, grow), (low, high) = number(group["lr"]), group["etas"], group["step_sizes"]
        for param in params:
            if not self.state[param]:
                self.state[param].update(step=0.0, prev=zero_state(param), step_size=zero_state(param, lr))
        numbers = (float(shrink), float(grow), float(low), float(high), -1.0 if group["maximize"] else 1.0)
        for operands in self._counted(params, grads, ("prev", "step_size")).values():
            record(_rprop, operands, 4, numbers, group["maximize"])


def _rprop(
    param: Tensor, grad: Tensor, previous: Tensor, size: Tensor, shrink: float, grow: float, low: float, high: float,
    sign: float, turned: bool,
) -> None:  # fmt: skip
    if turned:
        grad = run(MUL, (grad, sign))
    update(STEP_SIZE, size, (grad, previous), (shrink, grow))
    update(CLAMP, size, (), (low, high))
    update(UNTURNED, previous, (grad,), ())
    update(SIGNED_STEP, param, (previous, size), ())


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
        lr, lambd = number(group["lr"]), group["lambd"]
        sign, decay, altered = alteration(group)
        for param in params:
            if not self.state[param]:
                self.state[param].update(step=0.0, eta=lr, mu=1.0, ax=zero_state(param))
        for (step, eta, share), operands in self._counted(params, grads, ("ax",), ("eta", "mu")).items():
            record(_asgd, operands, 3, (1 - lambd * eta, -eta, 1 - share, share, sign, decay), altered)
            later = {"eta": lr / (1 + lambd * lr * step) ** group["alpha"], "mu": 1 / max(1.0, step - group["t0"])}
            for param in operands[::3]:
                self.state[param].update(later)


def _asgd(
    param: Tensor, grad: Tensor, mean: Tensor, kept: float, along: float, old: float, share: float, sign: float,
    decay: float, altered: bool,
) -> None:  # fmt: skip
    grad = decayed(grad, param, sign, decay, altered)
    update(WEIGHTED, param, (grad,), (kept, along))
    update(WEIGHTED, mean, (param,), (old, share))
