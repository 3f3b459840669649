"""The linear layer: a matrix product, a bias, one node.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...autograd.modes import state
from ...direct import run, transposed
from ...functions.linear import linear as _checked
from ...functions.nodes import give_backward
from ...ops.contraction import MATMUL
from ...ops.pointwise import ADD
from ...ops.reductions import SUM
from ...tensor import Tensor


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x W^T + b.

    Shape: input (*, in), weight (out, in) or (in,), bias (out,); result (*, out).

    Raises:
        RuntimeError: sizes or dtypes do not fit.
    """
    shape, rows = input._layout.shape, weight._layout.shape
    if len(rows) != 2 or not shape or shape[-1] != rows[1] or input._layout.dtype is not weight._layout.dtype:
        return _checked(input, weight, bias)
    if bias is not None and (bias._layout.shape != rows[:1] or bias._layout.dtype is not weight._layout.dtype):
        return _checked(input, weight, bias)
    if len(shape) == 1:
        return linear(input.reshape(1, -1), weight, bias).reshape(-1)
    if len(shape) > 2:
        return linear(input.reshape(-1, rows[1]), weight, bias).reshape(*shape[:-1], rows[0])
    out = run(MATMUL, (input, transposed(weight)))
    if bias is not None:
        out = run(ADD, (out, bias))
    operands = (input, weight) if bias is None else (input, weight, bias)
    return give_backward("AddmmBackward0", operands, out, _backward(operands), (input, weight))


def _backward(operands: tuple[Tensor, ...]) -> Callable[..., Any]:
    """Gradients of those operands that require one."""
    needs = [t._requires_grad for t in operands]
    biased = len(operands) == 3

    def backward(grad: Tensor, input: Tensor, weight: Tensor) -> tuple:
        on_input = on_weight = on_bias = None
        if state.grad:
            on_input = grad.matmul(weight) if needs[0] else None
            on_weight = grad.t().matmul(input) if needs[1] else None
            on_bias = grad.sum(0) if biased and needs[2] else None
        else:
            if needs[0]:
                on_input = run(MATMUL, (grad, weight))
            if needs[1]:
                on_weight = run(MATMUL, (transposed(grad), input))
            if biased and needs[2]:
                on_bias = run(SUM, (grad,), ((0,), False))
        return (on_input, on_weight, on_bias) if biased else (on_input, on_weight)

    return backward
