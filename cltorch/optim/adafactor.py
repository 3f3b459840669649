"""Adafactor: second moments of a matrix kept as one row and one column.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

from ..dtypes import finfo
from ..tensor import Tensor
from .optimizer import Optimizer, check_range, number


class Adafactor(Optimizer):
    """p -= a u / max(1, |u| / d), u = g / sqrt(v), v from row and column means of g^2, a = max(eps2, |p|) min(lr, 1 /
    sqrt(t)), where |.| is the root of the mean square.

    Args:
        beta2_decay: v keeps 1 - t^beta2_decay of its old value.
        eps: (eps1, eps2), lower bounds of v and of |p|; eps1 is the dtype's eps if None.
        d: bound of the update's root mean square.

    Source: Shazeer and Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, 2018.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_range("learning rate", number(lr))
        if not beta2_decay <= 0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None:
            check_range("epsilon1", eps[0])
        check_range("epsilon2", eps[1])
        if not d >= 1:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        check_range("weight_decay", weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
            },
        )

    def _update(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, decay = number(group["lr"]), group["weight_decay"]
        for param, grad in zip(params, grads):
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                if param.dim() > 1:
                    state["row_var"] = param.new_zeros((*param.shape[:-1], 1))
                    state["col_var"] = param.new_zeros((*param.shape[:-2], 1, param.shape[-1]))
                else:
                    state["variance"] = param.new_zeros(param.shape)
            state["step"] += 1
            if group["maximize"]:
                grad = -grad
            low, least = group["eps"]
            low = finfo(param.dtype).eps if low is None else low
            fresh, root = state["step"] ** group["beta2_decay"], sqrt(param.numel())
            along = (param.norm() / root).clamp(min=least) * min(lr, 1 / sqrt(state["step"]))
            if decay:
                param.mul_(1 - lr * decay)
            squares = grad * grad
            if param.dim() > 1:
                rows = state["row_var"].lerp_(squares.mean(-1, True), fresh)
                columns = state["col_var"].lerp_(squares.mean(-2, True), fresh)
                size = (rows * columns) / rows.mean(-2, True).clamp(min=low)
            else:
                size = state["variance"].lerp_(squares, fresh)
            move = grad * size.clamp(min=low * low).rsqrt()
            bound = (move.norm() / (root * group["d"])).clamp(min=1.0)
            param.sub_(move * (along / bound))
