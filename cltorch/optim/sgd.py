"""Stochastic gradient descent, with momentum.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..direct import update
from ..ops.pointwise import ADD_SCALED
from ..ops.updates import WEIGHTED
from ..tensor import Tensor
from .optimizer import Optimizer, alteration, check_range, decayed, number, record, zero_state


class SGD(Optimizer):
    r"""p -= lr * b, with b = momentum * b + (1 - dampening) * g and g the gradient plus weight_decay * p.

    Args:
        lr: learning rate.
        momentum: how much of the last step is kept; 0 uses the gradient itself.
        dampening: how much of the gradient is left out of b.
        weight_decay: how much of the parameter is added to its gradient.
        nesterov: use g + momentum * b instead of b.
        maximize: go up instead of down.
        foreach, differentiable, fused: accepted for PyTorch's sake; updates are always joined by the engine.

    Source: Sutskever et al., On the importance of initialization and momentum in deep learning, 2013.

    Raises:
        ValueError: a negative option, or nesterov without momentum or with dampening.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_range("learning rate", number(lr))
        check_range("momentum value", momentum)
        check_range("weight_decay value", number(weight_decay))
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "foreach": foreach,
                "differentiable": differentiable,
                "fused": fused,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, momentum = number(group["lr"]), float(group["momentum"])
        sign, decay, altered = alteration(group)
        if not momentum:
            operands = [t for pair in zip(params, grads) for t in pair]
            record(_plain, operands, 2, (-lr, sign, decay), altered)
            return
        known: list[Tensor] = []
        fresh: list[Tensor] = []
        for param, grad in zip(params, grads):
            state = self.state[param]
            buffer = state.get("momentum_buffer")
            if buffer is None:  # it begins as the gradient itself, without dampening
                buffer = state["momentum_buffer"] = zero_state(param)
                fresh += (param, grad, buffer)
            else:
                known += (param, grad, buffer)
        for operands, weight in ((known, 1.0 - group["dampening"]), (fresh, 1.0)):
            if operands:
                numbers = (momentum, weight, -lr, -lr * momentum, sign, decay)
                record(_moving, operands, 3, numbers, altered, group["nesterov"])


def _plain(param: Tensor, grad: Tensor, step: float, sign: float, decay: float, altered: bool) -> None:
    update(ADD_SCALED, param, (decayed(grad, param, sign, decay, altered),), (step,))


def _moving(
    param: Tensor, grad: Tensor, buffer: Tensor, momentum: float, weight: float, step: float, ahead: float,
    sign: float, decay: float, altered: bool, nesterov: bool,
) -> None:  # fmt: skip
    grad = decayed(grad, param, sign, decay, altered)
    update(WEIGHTED, buffer, (grad,), (momentum, weight))
    if nesterov:
        update(ADD_SCALED, param, (grad,), (step,))
        update(ADD_SCALED, param, (buffer,), (ahead,))
    else:
        update(ADD_SCALED, param, (buffer,), (step,))
