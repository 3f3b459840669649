"""Optimizers that divide by running sizes of the gradient: RMSprop, Adagrad, Adadelta, Adamax.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from .optimizer import Optimizer, check_range, number


def _decayed(group: dict[str, Any], param: Tensor, grad: Tensor) -> Tensor:
    """The gradient, its sign turned if `maximize`, plus weight_decay * p."""
    if group["maximize"]:
        grad = -grad
    decay = group["weight_decay"]
    return grad.add(param, alpha=decay) if decay else grad


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
        lr, alpha, eps, momentum = number(group["lr"]), group["alpha"], group["eps"], group["momentum"]
        for param, grad in zip(params, grads):
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["square_avg"] = param.new_zeros(param.shape)
                if momentum:
                    state["momentum_buffer"] = param.new_zeros(param.shape)
                if group["centered"]:
                    state["grad_avg"] = param.new_zeros(param.shape)
            state["step"] += 1
            grad = _decayed(group, param, grad)
            square = state["square_avg"].mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
            if group["centered"]:
                mean = state["grad_avg"].lerp_(grad, 1 - alpha)
                size = square.addcmul(mean, mean, value=-1).sqrt_().add_(eps)
            else:
                size = square.sqrt().add_(eps)
            if momentum:
                param.add_(state["momentum_buffer"].mul_(momentum).addcdiv_(grad, size), alpha=-lr)
            else:
                param.addcdiv_(grad, size, value=-lr)


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
        state["sum"] = param.detach().new_full(param.shape, group["initial_accumulator_value"])
        return state

    def share_memory(self) -> None:
        """Move the sums to memory shared between processes."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, eps, lr_decay = number(group["lr"]), group["eps"], group["lr_decay"]
        for param, grad in zip(params, grads):
            state = self.state[param] or self._begin(group, param)
            state["step"] += 1
            grad = _decayed(group, param, grad)
            total = state["sum"].addcmul_(grad, grad, value=1)
            param.addcdiv_(grad, total.sqrt().add_(eps), value=-lr / (1 + (state["step"] - 1) * lr_decay))


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
        lr, rho, eps = number(group["lr"]), group["rho"], group["eps"]
        for param, grad in zip(params, grads):
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["square_avg"] = param.new_zeros(param.shape)
                state["acc_delta"] = param.new_zeros(param.shape)
            state["step"] += 1
            grad = _decayed(group, param, grad)
            square = state["square_avg"].mul_(rho).addcmul_(grad, grad, value=1 - rho)
            delta = state["acc_delta"].add(eps).sqrt_().div_(square.add(eps).sqrt_()).mul_(grad)
            state["acc_delta"].mul_(rho).addcmul_(delta, delta, value=1 - rho)
            param.add_(delta, alpha=-lr)


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
        lr, eps = number(group["lr"]), group["eps"]
        beta1, beta2 = group["betas"]
        for param, grad in zip(params, grads):
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["exp_avg"] = param.new_zeros(param.shape)
                state["exp_inf"] = param.new_zeros(param.shape)
            state["step"] += 1
            grad = _decayed(group, param, grad)
            mean = state["exp_avg"].lerp_(grad, 1 - beta1)
            largest = state["exp_inf"]
            largest.copy_((largest * beta2).maximum(grad.abs().add_(eps)))
            param.addcdiv_(mean, largest, value=-lr / (1 - beta1 ** state["step"]))
