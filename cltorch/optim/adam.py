"""Adam and AdamW.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from ..direct import update
from ..ops.pointwise import MAXIMUM
from ..ops.updates import SCALED_STEP, WEIGHTED, WEIGHTED_SQUARE
from ..tensor import Tensor
from .optimizer import Optimizer, alteration, check_range, decayed, number, record


class Adam(Optimizer):
    r"""p -= lr * m' / (sqrt(v') + eps), with m and v running means of g and g^2, and m' = m / (1 - beta1^t), v' = v /
    (1 - beta2^t).

    Args:
        lr: learning rate.
        betas: how much of the running means is kept.
        eps: keeps the quotient finite.
        weight_decay: how much of the parameter is added to its gradient (or, if `decoupled_weight_decay`, taken off
        the parameter).
        amsgrad: divide by the largest v so far.
        maximize: go up instead of down.
        foreach, capturable, differentiable, fused: accepted for PyTorch's sake; updates are always joined by the
        engine.

    Source: Kingma and Ba, Adam, 2015; Reddi et al., On the Convergence of Adam and Beyond, 2018 (amsgrad).

    Raises:
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_range("learning rate", number(lr))
        check_range("epsilon value", eps)
        check_range("beta parameter at index 0", number(betas[0]), 0.0, 1.0)
        check_range("beta parameter at index 1", number(betas[1]), 0.0, 1.0)
        check_range("weight_decay value", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, eps = number(group["lr"]), float(group["eps"])
        beta1, beta2 = number(group["betas"][0]), number(group["betas"][1])
        sign, decay, altered = alteration(group)
        kept = 1.0
        if decay and group.get("decoupled_weight_decay", False):
            kept, decay, altered = 1 - lr * decay, 0.0, sign < 0
        amsgrad = group["amsgrad"]
        keys = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")
        for (step,), operands in self._counted(params, grads, keys).items():
            numbers = (
                beta1, 1 - beta1, beta2, 1 - beta2, lr / (1 - beta1**step), 1 / sqrt(1 - beta2**step), eps, kept, sign,
                decay,
            )  # fmt: skip
            record(_rule, operands, 2 + len(keys), numbers, altered, amsgrad)


def _rule(param: Tensor, grad: Tensor, mean: Tensor, square: Tensor, *rest: Any) -> None:
    *largest, beta1, new1, beta2, new2, along, scale, eps, kept, sign, decay, altered, amsgrad = rest
    grad = decayed(grad, param, sign, decay, altered)
    update(WEIGHTED, mean, (grad,), (beta1, new1))
    update(WEIGHTED_SQUARE, square, (grad,), (beta2, new2))
    if amsgrad:
        update(MAXIMUM, largest[0], (square,), ())
        square = largest[0]
    update(SCALED_STEP, param, (mean, square), (along, scale, eps, kept))


class AdamW(Adam):
    """Adam whose weight decay is taken off the parameter itself: p -= lr * weight_decay * p.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
