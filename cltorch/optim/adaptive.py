"""Optimizers that divide by running sizes of the gradient: RMSprop, Adagrad, Adadelta, Adamax.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..direct import run, update
from ..ops.pointwise import ADD_SCALED, ADDCDIV
from ..ops.updates import LARGEST, QUOTIENT, ROOT_RATIO, SCALED_STEP, VARIANCE, WEIGHTED, WEIGHTED_SQUARE
from ..tensor import Tensor
from .optimizer import Optimizer, alteration, check_range, decayed, number, record, zero_state


class RMSprop(Optimizer):
    """p -= lr * g / (sqrt(v) + eps), v a running mean of g^2 (of its variance if `centered`), with momentum.

    Source: Hinton, Neural Networks for Machine Learning, lecture 6; Graves, Generating Sequences With Recurrent
    Neural Networks, 2013.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_range("learning rate", number(lr))
        check_range("epsilon value", eps)
        check_range("momentum value", momentum)
        check_range("weight_decay value", weight_decay)
        check_range("alpha value", alpha)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "alpha": alpha,
                "eps": eps,
                "centered": centered,
                "weight_decay": weight_decay,
                "capturable": capturable,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        alpha, momentum, centered = group["alpha"], float(group["momentum"]), group["centered"]
        sign, decay, altered = alteration(group)
        keys = ("square_avg", *(("momentum_buffer",) if momentum else ()), *(("grad_avg",) if centered else ()))
        numbers = (alpha, 1 - alpha, float(group["eps"]), momentum, -number(group["lr"]), 1.0, sign, decay)
        for operands in self._counted(params, grads, keys).values():
            record(_rmsprop, operands, 2 + len(keys), numbers, altered, bool(momentum), centered)


def _rmsprop(param: Tensor, grad: Tensor, square: Tensor, *rest: Any) -> None:
    *states, alpha, new, eps, momentum, along, one, sign, decay, altered, moving, centered = rest
    grad = decayed(grad, param, sign, decay, altered)
    update(WEIGHTED_SQUARE, square, (grad,), (alpha, new))
    size = square
    if centered:
        update(WEIGHTED, states[-1], (grad,), (alpha, new))
        size = run(VARIANCE, (square, states[-1]))
    step = run(QUOTIENT, (grad, size, eps))
    if moving:
        update(WEIGHTED, states[0], (step,), (momentum, one))
        step = states[0]
    update(ADD_SCALED, param, (step,), (along,))


class Adagrad(Optimizer):
    """p -= lr / (1 + (t - 1) lr_decay) * g / (sqrt(sum of g^2) + eps).

    Source: Duchi et al., Adaptive Subgradient Methods for Online Learning and Stochastic Optimization, 2011.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_range("learning rate", number(lr))
        check_range("lr_decay value", lr_decay)
        check_range("weight_decay value", weight_decay)
        check_range("initial_accumulator_value value", initial_accumulator_value)
        check_range("epsilon value", eps)
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "eps": eps,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "fused": fused,
            },
        )
        for group in self.param_groups:
            for param in group["params"]:
                self._begin(group, param)

    def _begin(self, group: dict[str, Any], param: Tensor) -> dict[str, Any]:
        state = self.state[param]
        state["step"] = 0.0
        state["sum"] = zero_state(param, group["initial_accumulator_value"])
        return state

    def share_memory(self) -> None:
        """Move the sums to memory shared between processes."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, lr_decay = number(group["lr"]), group["lr_decay"]
        sign, decay, altered = alteration(group)
        for param in params:
            if not self.state[param]:
                self._begin(group, param)
        for (step,), operands in self._counted(params, grads, ("sum",)).items():
            numbers = (lr / (1 + (step - 1) * lr_decay), 1.0, float(group["eps"]), sign, decay)
            record(_adagrad, operands, 3, numbers, altered)


def _adagrad(
    param: Tensor, grad: Tensor, total: Tensor, along: float, one: float, eps: float, sign: float, decay: float,
    altered: bool,
) -> None:  # fmt: skip
    grad = decayed(grad, param, sign, decay, altered)
    update(WEIGHTED_SQUARE, total, (grad,), (one, one))
    update(SCALED_STEP, param, (grad, total), (along, one, eps, one))


class Adadelta(Optimizer):
    """p -= lr * d, d = g * sqrt(u + eps) / sqrt(v + eps), v and u running means of g^2 and d^2.

    Source: Zeiler, ADADELTA: An Adaptive Learning Rate Method, 2012.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_range("learning rate", number(lr))
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_range("epsilon value", eps)
        check_range("weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "capturable": capturable,
                "foreach": foreach,
                "differentiable": differentiable,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        rho = group["rho"]
        sign, decay, altered = alteration(group)
        numbers = (-number(group["lr"]), rho, 1 - rho, float(group["eps"]), sign, decay)
        for operands in self._counted(params, grads, ("square_avg", "acc_delta")).values():
            record(_adadelta, operands, 4, numbers, altered)


def _adadelta(
    param: Tensor, grad: Tensor, square: Tensor, moved: Tensor, along: float, rho: float, new: float, eps: float,
    sign: float, decay: float, altered: bool,
) -> None:  # fmt: skip
    grad = decayed(grad, param, sign, decay, altered)
    update(WEIGHTED_SQUARE, square, (grad,), (rho, new))
    delta = run(ROOT_RATIO, (grad, moved, square, eps))
    update(WEIGHTED_SQUARE, moved, (delta,), (rho, new))
    update(ADD_SCALED, param, (delta,), (along,))


class Adamax(Optimizer):
    """p -= lr / (1 - beta1^t) * m / u, u = max(beta2 u, |g| + eps).

    Source: Kingma and Ba, Adam, 2015, section 7.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
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
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, (beta1, beta2) = number(group["lr"]), group["betas"]
        sign, decay, altered = alteration(group)
        for (step,), operands in self._counted(params, grads, ("exp_avg", "exp_inf")).items():
            numbers = (-lr / (1 - beta1**step), beta1, 1 - beta1, beta2, float(group["eps"]), sign, decay)
            record(_adamax, operands, 4, numbers, altered)


def _adamax(
    param: Tensor, grad: Tensor, mean: Tensor, largest: Tensor, along: float, beta1: float, new: float, beta2: float,
    eps: float, sign: float, decay: float, altered: bool,
) -> None:  # fmt: skip
    grad = decayed(grad, param, sign, decay, altered)
    update(WEIGHTED, mean, (grad,), (beta1, new))
    update(LARGEST, largest, (grad,), (beta2, eps))
    update(ADDCDIV, param, (mean, largest), (along,))
