"""Stochastic gradient descent, with momentum.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..direct import chain, update
from ..ops.pointwise import ADD_SCALED
from ..ops.updates import WEIGHTED
from ..tensor import Tensor
from .optimizer import Optimizer, check_range, number, zero_state


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
        lr, momentum, decay = number(group["lr"]), float(group["momentum"]), number(group["weight_decay"])
        sign = -1.0 if group["maximize"] else 1.0
        step, kept = -lr * sign, (1.0 - group["dampening"]) * sign
        if decay:  # g sign + decay p, with the sign already in
            grads = [grad.mul(sign).add_(param, alpha=decay) for param, grad in zip(params, grads)]
            step, kept, sign = -lr, 1.0 - group["dampening"], 1.0
        if not momentum:
            chain(_plain_steps, (*params, *grads), (len(params),), (step,))
            return
        known: list[tuple[Tensor, Tensor, Tensor]] = []
        fresh: list[tuple[Tensor, Tensor, Tensor]] = []
        for param, grad in zip(params, grads):
            state = self.state[param]
            buffer = state.get("momentum_buffer")
            if buffer is None:  # it begins as the gradient itself, without dampening
                buffer = state["momentum_buffer"] = zero_state(param)
                fresh.append((param, grad, buffer))
            else:
                known.append((param, grad, buffer))
        for batch, weight in ((known, kept), (fresh, sign)):
            if batch:
                numbers = (momentum, weight, step, -lr * momentum) if group["nesterov"] else (momentum, weight, -lr)
                chain(_nesterov_steps if group["nesterov"] else _momentum_steps, sum(batch, ()), (), numbers)


def _plain_steps(*given: Any) -> None:
    """Operands: all parameters, all gradients, the step, how many there are."""
    *tensors, step, count = given
    for param, grad in zip(tensors[:count], tensors[count:]):
        update(ADD_SCALED, param, (grad,), (step,))


def _momentum_steps(*given: Any) -> None:
    """Operands: parameter, gradient, buffer, parameter, …; momentum, weight of the gradient, step."""
    *tensors, momentum, weight, step = given
    for param, grad, buffer in zip(tensors[::3], tensors[1::3], tensors[2::3]):
        update(WEIGHTED, buffer, (grad,), (momentum, weight))
        update(ADD_SCALED, param, (buffer,), (step,))


def _nesterov_steps(*given: Any) -> None:
    """As `_momentum_steps`, with the step along the gradient and the one along the buffer."""
    *tensors, momentum, weight, step, ahead = given
    for param, grad, buffer in zip(tensors[::3], tensors[1::3], tensors[2::3]):
        update(WEIGHTED, buffer, (grad,), (momentum, weight))
        update(ADD_SCALED, param, (grad,), (step,))
        update(ADD_SCALED, param, (buffer,), (ahead,))
