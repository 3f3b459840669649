"""Activation functions that are also functions of the package, each one recorded entry; nn.functional builds on them.

Floor 6.
"""

from __future__ import annotations

from typing import Any

from .. import fast
from ..dispatch import apply, apply_
from ..ops import activations as records
from ..ops.table import POINTWISE, Op
from ..tensor import Tensor
from .derive import check_tensor
from .random import _uniform_like

__all__ = [
    "leaky_relu",
    "prelu",
    "hardtanh",
    "relu6",
    "threshold",
    "elu",
    "selu",
    "celu",
    "hardshrink",
    "softshrink",
    "gelu",
    "silu",
    "softplus",
    "mish",
    "tanhshrink",
    "softsign",
    "hardsigmoid",
    "hardswish",
    "logsigmoid",
    "rrelu",
]

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


_QUICK = {
    op: fast.unary(op) if op.arity == 1 else fast.several(op)
    for op in vars(records).values()
    if isinstance(op, Op) and op.kind == POINTWISE
}


def _use(op: Op, input: Tensor, numbers: tuple[float, ...] = (), inplace: bool = False) -> Tensor:
    if not isinstance(input, Tensor):
        check_tensor(op.name.strip("_"), input=input)
    if inplace:
        return apply_(op, input, numbers)
    return _QUICK[op](input, *numbers)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input above 0, negative_slope * input below."""
    return _use(records.LEAKY_RELU, input, (negative_slope,), inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`leaky_relu` with one learnt slope, or one per channel (dim 1). **Raises** RuntimeError for another number of
    slopes.
    """
    check_tensor("prelu", input=input, weight=weight)
    if weight.numel() != 1:
        channels = input.shape[1] if input.dim() > 1 else 1
        if not input.dim() or weight.dim() > 1 or weight.numel() != channels:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.numel()} "
                f"and channel size = {channels}."
            )
        weight = weight.reshape((1, -1) + (1,) * (input.dim() - 2)) if input.dim() > 1 else weight
    elif weight.dim() and input.dim() < weight.dim():
        weight = weight.reshape(())
    return apply(records.LEAKY_RELU, (input, weight))


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """input bounded to [min_val, max_val]. **Raises** ValueError if min_val > max_val."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if isinstance(input, Tensor) and not input.is_floating_point():
        min_val, max_val = int(min_val), int(max_val)
    return _use(records.HARDTANH, input, (min_val, max_val), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """input bounded to [0, 6]."""
    return hardtanh(input, 0, 6, inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input above the threshold, else value."""
    return _use(records.THRESHOLD, input, (threshold, value), inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input above 0, alpha * (exp(input) - 1) below."""
    return _use(records.ELU, input, (alpha, 1.0, 1.0), inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Scaled `elu` that keeps mean 0 and variance 1. **Source** Klambauer et al., 2017."""
    return _use(records.ELU, input, (SELU_SCALE * SELU_ALPHA, SELU_SCALE, 1.0), inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input above 0, alpha * (exp(input / alpha) - 1) below. **Raises** RuntimeError for alpha = 0."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _use(records.ELU, input, (alpha, 1.0, 1.0 / alpha), inplace)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input outside [-lambd, lambd], else 0."""
    return _use(records.HARDSHRINK, input, (lambd,))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input moved towards 0 by lambd. **Raises** RuntimeError for a negative lambd."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return _use(records.SOFTSHRINK, input, (lambd,))


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input * Phi(input); `approximate='tanh'` for the tanh form. **Raises** RuntimeError for another word."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return _use(records.GELU if approximate == "none" else records.GELU_TANH, input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input)."""
    return _use(records.SILU, input, (), inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * input)) / beta, input itself above threshold / beta."""
    return _use(records.SOFTPLUS, input, (beta, threshold))


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * tanh(softplus(input))."""
    return _use(records.MISH, input, (), inplace)


def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    if isinstance(input, Tensor) and not input.is_floating_point():
        return input - input.tanh()
    return _use(records.TANHSHRINK, input)


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    if isinstance(input, Tensor) and not input.is_floating_point():
        return input / (input.abs() + 1)
    return _use(records.SOFTSIGN, input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(input + 3, 0), 6) / 6."""
    return _use(records.HARDSIGMOID, input, (), inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * hardsigmoid(input)."""
    return _use(records.HARDSWISH, input, (), inplace)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(input))."""
    return _use(records.LOGSIGMOID, input)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """`leaky_relu` with slopes drawn from [lower, upper] while training, else their middle."""
    check_tensor("rrelu", input=input)
    if lower > upper:
        raise RuntimeError(f"Lower bound should be less than or equal to the upper bound, got {lower} and {upper}")
    slope: Any = (lower + upper) / 2
    if training:
        slope = (_uniform_like(input, None) * (upper - lower) + lower).to(input.dtype)
    return apply_(records.LEAKY_RELU, input, (slope,)) if inplace else apply(records.LEAKY_RELU, (input, slope))


METHODS: dict[str, Any] = {"prelu": prelu, "hardshrink": hardshrink}
