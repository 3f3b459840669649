"""Adam with Nesterov's momentum, and Adam whose first steps are held back: NAdam and RAdam.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from ..tensor import Tensor
from .optimizer import Optimizer, check_range, number


def _means(
    optimizer: Optimizer, group: dict[str, Any], param: Tensor, grad: Tensor
) -> tuple[dict[str, Any], Tensor, Tensor, Tensor]:
    """The state after counting the step, the gradient with weight decay, and both running means, moved."""
    state = optimizer.state[param]
    if not state:
        state["step"] = 0.0
        state["exp_avg"] = param.new_zeros(param.shape)
        state["exp_avg_sq"] = param.new_zeros(param.shape)
    state["step"] += 1
    if group["maximize"]:
        grad = -grad
    decay = group["weight_decay"]
    if decay:
        if group["decoupled_weight_decay"]:
            param.mul_(1 - number(group["lr"]) * decay)
        else:
            grad = grad.add(param, alpha=decay)
    beta1, beta2 = number(group["betas"][0]), number(group["betas"][1])
    mean = state["exp_avg"].lerp_(grad, 1 - beta1)
    square = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    return state, grad, mean, square


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
        lr, eps, slow = number(group["lr"]), group["eps"], group["momentum_decay"]
        beta1, beta2 = number(group["betas"][0]), number(group["betas"][1])
        for param, raw in zip(params, grads):
            state, grad, mean, square = _means(self, group, param, raw)
            step = state["step"]
            now, then = (beta1 * (1 - 0.5 * 0.96 ** (t * slow)) for t in (step, step + 1))
            product = state["mu_product"] = number(state.get("mu_product", 1.0)) * now
            size = (square / (1 - beta2**step)).sqrt_().add_(eps)
            param.addcdiv_(grad, size, value=-lr * (1 - now) / (1 - product))
            param.addcdiv_(mean, size, value=-lr * then / (1 - product * then))


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
        lr, eps = number(group["lr"]), group["eps"]
        beta1, beta2 = number(group["betas"][0]), number(group["betas"][1])
        limit = 2 / (1 - beta2) - 1
        for param, raw in zip(params, grads):
            state, _, mean, square = _means(self, group, param, raw)
            step = state["step"]
            seen = 1 - beta2**step
            known = limit - 2 * step * beta2**step / seen
            along = -lr / (1 - beta1**step)
            if known > 5:
                share = (known - 4) * (known - 2) * limit / ((limit - 4) * (limit - 2) * known)
                param.addcdiv_(mean, square.sqrt().add_(eps), value=along * sqrt(share * seen))
            else:
                param.add_(mean, alpha=along)
