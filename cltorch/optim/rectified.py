"""Adam with Nesterov's momentum, and Adam whose first steps are held back: NAdam and RAdam.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from ..direct import update
from ..ops.updates import SCALED_STEP, WEIGHTED, WEIGHTED_SQUARE
from ..tensor import Tensor
from .optimizer import Optimizer, alteration, check_range, decayed, number, record, zero_state

_MEANS = ("exp_avg", "exp_avg_sq")


def _means(param: Tensor, grad: Tensor, mean: Tensor, square: Tensor, *rest: Any) -> Tensor:
    """Move both running means; the gradient with its weight decay. For rules."""
    beta1, new1, beta2, new2, sign, decay, altered = rest
    grad = decayed(grad, param, sign, decay, altered)
    update(WEIGHTED, mean, (grad,), (beta1, new1))
    update(WEIGHTED_SQUARE, square, (grad,), (beta2, new2))
    return grad


def _shared(group: dict[str, Any]) -> tuple[float, tuple[float, ...], bool]:
    """What is kept of a parameter by decoupled weight decay; numbers and fact that `_means` needs."""
    beta1, beta2 = number(group["betas"][0]), number(group["betas"][1])
    sign, decay, altered = alteration(group)
    kept = 1.0
    if decay and group["decoupled_weight_decay"]:
        kept, decay, altered = 1 - number(group["lr"]) * decay, 0.0, sign < 0
    return kept, (beta1, 1 - beta1, beta2, 1 - beta2, sign, decay), altered


class NAdam(Optimizer):
    """p -= lr * (a g + b m) / (sqrt(v / (1 - beta2^t)) + eps), a = (1 - mu_t) / (1 - mu_1 ... mu_t),
    b = mu_(t+1) / (1 - mu_1 ... mu_(t+1)), mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2).

    Source: Dozat, Incorporating Nesterov Momentum into Adam, 2016.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_range("learning rate", number(lr))
        check_range("epsilon value", eps)
        check_range("beta parameter at index 0", betas[0], 0.0, 1.0)
        check_range("beta parameter at index 1", betas[1], 0.0, 1.0)
        check_range("weight_decay value", weight_decay)
        check_range("momentum_decay value", momentum_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, eps, slow = number(group["lr"]), float(group["eps"]), group["momentum_decay"]
        kept, shared, altered = _shared(group)
        beta1, beta2 = shared[0], shared[2]
        for param in params:
            self.state[param].setdefault("mu_product", 1.0)
            if "step" not in self.state[param]:
                self.state[param].update(step=0.0, exp_avg=zero_state(param), exp_avg_sq=zero_state(param))
        for (step, product), operands in self._counted(params, grads, _MEANS, ("mu_product",)).items():
            now, then = (beta1 * (1 - 0.5 * 0.96 ** (t * slow)) for t in (step, step + 1))
            product *= now
            along = (lr * (1 - now) / (1 - product), lr * then / (1 - product * then))
            record(_nadam, operands, 4, (*along, 1 / sqrt(1 - beta2**step), eps, kept, 1.0, *shared), altered)
            for param in operands[::4]:
                self.state[param]["mu_product"] = product


def _nadam(param: Tensor, grad: Tensor, mean: Tensor, square: Tensor, *rest: Any) -> None:
    on_grad, on_mean, scale, eps, kept, one, *shared = rest
    grad = _means(param, grad, mean, square, *shared)
    update(SCALED_STEP, param, (grad, square), (on_grad, scale, eps, kept))
    update(SCALED_STEP, param, (mean, square), (on_mean, scale, eps, one))


class RAdam(Optimizer):
    """Adam times r_t, which grows from 0 to 1 as the second moment becomes known; without v while it is unknown.

    Source: Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2020.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_range("learning rate", number(lr))
        check_range("epsilon value", eps)
        check_range("beta parameter at index 0", betas[0], 0.0, 1.0)
        check_range("beta parameter at index 1", betas[1], 0.0, 1.0)
        check_range("weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, eps = number(group["lr"]), float(group["eps"])
        kept, shared, altered = _shared(group)
        beta1, beta2 = shared[0], shared[2]
        limit = 2 / (1 - beta2) - 1
        for (step,), operands in self._counted(params, grads, _MEANS).items():
            seen = 1 - beta2**step
            known = limit - 2 * step * beta2**step / seen
            along, adapts = lr / (1 - beta1**step), known > 5
            if adapts:
                share = (known - 4) * (known - 2) * limit / ((limit - 4) * (limit - 2) * known)
                along *= sqrt(share * seen)
            record(_radam, operands, 4, (along, -along, 1.0, eps, kept, *shared), altered, adapts)


def _radam(param: Tensor, grad: Tensor, mean: Tensor, square: Tensor, *rest: Any) -> None:
    along, back, one, eps, kept, *shared, adapts = rest
    _means(param, grad, mean, square, *shared)
    if adapts:
        update(SCALED_STEP, param, (mean, square), (along, one, eps, kept))
    else:
        update(WEIGHTED, param, (mean,), (kept, back))
