"""The linear layer: a matrix product, a bias, one node.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...autograd.modes import state
from ...direct import chain, run, transposed
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
    operands = (input, weight) if bias is None else (input, weight, bias)
    out = chain(_product, operands)
    return give_backward("AddmmBackward0", operands, out, _backward(operands), (input, weight))


def _product(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    out = run(MATMUL, (input, transposed(weight)))
    return out if bias is None else run(ADD, (out, bias))


def _gradients(
    grad: Tensor, input: Tensor, weight: Tensor, on_input: bool, on_weight: bool, on_bias: bool
) -> tuple[Tensor, ...]:
    found = []
    if on_input:
        found.append(run(MATMUL, (grad, weight)))
    if on_weight:
        found.append(run(MATMUL, (transposed(grad), input)))
    if on_bias:
        found.append(run(SUM, (grad,), ((0,), False)))
    return tuple(found)


def _backward(operands: tuple[Tensor, ...]) -> Callable[..., Any]:
    """Gradients of those operands that require one."""
    needs = tuple([t._requires_grad for t in operands])
    which = needs if len(needs) == 3 else (*needs, False)

    def backward(grad: Tensor, input: Tensor, weight: Tensor) -> tuple:
        if state.grad:
            return (
                grad.matmul(weight) if which[0] else None,
                grad.t().matmul(input) if which[1] else None,
                grad.sum(0) if which[2] else None,
            )[: len(needs)]
        found = chain(_gradients, (grad, input, weight), which)
        if len(found) == len(needs):
            return found
        made = iter(found)
        return tuple([next(made) if need else None for need in needs])

    return backward
