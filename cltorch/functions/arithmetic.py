"""Pointwise functions with more arguments than their records: add with alpha, division with rounding, clamp, where, …

Floor 6. Each call records one entry where the record allows it.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import numpy as np

from .. import dtypes, fast
from ..autograd.probe import MISSING, Probe
from ..dispatch import apply, apply_, can_cast, cast, result_type
from ..dtypes import BOOL, FLOAT
from ..ops import activations, special
from ..ops import pointwise as records
from ..tensor import Tensor
from .derive import check_tensor, in_place, with_out

__all__ = [
    "add",
    "sub",
    "subtract",
    "rsub",
    "true_divide",
    "divide",
    "div",
    "floor_divide",
    "pow",
    "float_power",
    "clamp",
    "clip",
    "addcmul",
    "addcdiv",
    "nan_to_num",
    "round",
    "logit",
    "where",
    "positive",
    "polygamma",
    "mvlgamma",
    "ldexp",
    "isreal",
    "frexp",
    "masked_fill",
    "is_floating_point",
    "is_complex",
    "is_nonzero",
    "is_tensor",
    "is_signed",
    "result_type",
    "can_cast",
    "promote_types",
    "remainder",
    "fmod",
]

_ADD, _SUB, _DIV, _POW = (fast.binary(op) for op in (records.ADD, records.SUB, records.DIV, records.POW))
_MUL = fast.binary(records.MUL)
_CLAMP, _ADDCMUL, _ADDCDIV, _WHERE = (
    fast.several(op) for op in (records.CLAMP, records.ADDCMUL, records.ADDCDIV, records.WHERE)
)
_SQUARE, _SQRT, _RSQRT, _RECIPROCAL, _ROUND = (
    fast.unary(op) for op in (records.SQUARE, records.SQRT, records.RSQRT, records.RECIPROCAL, records.ROUND)
)
Operand = Any  # a Tensor or a Python number


def _two(quick: Any, op: Any, input: Operand, other: Operand) -> Tensor:
    return quick(input, other) if isinstance(input, Tensor) else apply(op, (input, other))


# ---- sums


def _check_alpha(op: str, alpha: Any, *operands: Operand) -> None:
    if isinstance(alpha, Tensor):
        raise TypeError(f"{op}(): argument 'alpha' must be Number, not Tensor")
    category = result_type(*operands).category
    if isinstance(alpha, float) and category != FLOAT:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    if isinstance(alpha, bool) and category != BOOL:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")


@with_out
def add(input: Operand, other: Operand, *, alpha: Any = 1) -> Tensor:
    """input + alpha * other; `or` of bools."""
    if type(alpha) is int and alpha == 1:
        return _two(_ADD, records.ADD, input, other)
    _check_alpha("add", alpha, input, other)
    return apply(records.ADD_SCALED, (input, other, alpha))


def _minus(op: str, input: Operand, other: Operand, alpha: Any) -> tuple[Any, ...]:
    """Operands of `_add_scaled` that subtract. Raises RuntimeError for bools."""
    _check_alpha(op, alpha, input, other)
    if result_type(input, other).category == BOOL:
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a "
            "mask, use the `~` or "
            "`logical_not()` operator instead."
        )
    return input, other, -alpha


@with_out
def sub(input: Operand, other: Operand, *, alpha: Any = 1) -> Tensor:
    """input - alpha * other. **Raises** RuntimeError for bools."""
    if type(alpha) is int and alpha == 1:
        return _two(_SUB, records.SUB, input, other)
    return apply(records.ADD_SCALED, _minus("sub", input, other, alpha))


subtract = sub


def rsub(input: Tensor, other: Operand, *, alpha: Any = 1) -> Tensor:
    """other - alpha * input."""
    return sub(other, input, alpha=alpha)


def _add_(self: Tensor, other: Operand, *, alpha: Any = 1) -> Tensor:
    """`add` in place."""
    if type(alpha) is int and alpha == 1:
        return apply_(records.ADD, self, (other,))
    _check_alpha("add_", alpha, self, other)
    return apply_(records.ADD_SCALED, self, (other, alpha))


def _sub_(self: Tensor, other: Operand, *, alpha: Any = 1) -> Tensor:
    """`sub` in place."""
    if type(alpha) is int and alpha == 1:
        return apply_(records.SUB, self, (other,))
    return apply_(records.ADD_SCALED, self, _minus("sub_", self, other, alpha)[1:])


# ---- division


def _check_divisor(input: Operand, other: Operand) -> None:
    """A Python 0 divides no integers; a tensor's values are not looked at: there x // 0 is 0."""
    if not isinstance(other, (Tensor, Probe)) and other == 0 and result_type(input, other).category != FLOAT:
        raise RuntimeError("ZeroDivisionError")


def _rounded(rounding_mode: Any) -> Any:
    if rounding_mode == "floor":
        return records.FLOOR_DIVIDE
    if rounding_mode == "trunc":
        return records.TRUNC_DIVIDE
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")


@with_out
def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; `rounding_mode` 'trunc' or 'floor' rounds the quotient, and keeps integers integers."""
    if rounding_mode is None:
        return _two(_DIV, records.DIV, input, other)
    op = _rounded(rounding_mode)
    _check_divisor(input, other)
    return apply(op, (input, other))


divide = div


@with_out
def true_divide(input: Operand, other: Operand) -> Tensor:
    """input / other."""
    return _two(_DIV, records.DIV, input, other)


@with_out
def floor_divide(input: Operand, other: Operand) -> Tensor:
    """floor(input / other). An integer divided by a 0 in a tensor gives 0; by the Python number 0 it **raises**
    RuntimeError.
    """
    _check_divisor(input, other)
    return apply(records.FLOOR_DIVIDE, (input, other))


@with_out
def remainder(input: Operand, other: Operand) -> Tensor:
    """input - other * floor(input / other)."""
    _check_divisor(input, other)
    return apply(records.REMAINDER, (input, other))


@with_out
def fmod(input: Operand, other: Operand) -> Tensor:
    """input - other * trunc(input / other)."""
    _check_divisor(input, other)
    return apply(records.FMOD, (input, other))


def _div_(self: Tensor, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """`div` in place."""
    if rounding_mode is None:
        return apply_(records.DIV, self, (other,))
    op = _rounded(rounding_mode)
    _check_divisor(self, other)
    return apply_(op, self, (other,))


def _floor_divide_(self: Tensor, other: Operand) -> Tensor:
    """`floor_divide` in place."""
    _check_divisor(self, other)
    return apply_(records.FLOOR_DIVIDE, self, (other,))


def _rfloordiv(self: Tensor, other: Operand) -> Tensor:
    return floor_divide(other, self) if isinstance(other, (bool, int, float, Tensor, np.generic)) else NotImplemented


def _floordiv(self: Tensor, other: Operand) -> Tensor:
    return floor_divide(self, other) if isinstance(other, (bool, int, float, Tensor, np.generic)) else NotImplemented


def _rdiv(self: Tensor, other: Operand) -> Tensor:
    return div(other, self) if isinstance(other, (bool, int, float, Tensor, np.generic)) else NotImplemented


def _mod(self: Tensor, other: Operand) -> Tensor:
    return remainder(self, other) if isinstance(other, (bool, int, float, Tensor, np.generic)) else NotImplemented


# ---- powers


@with_out
def pow(input: Operand, exponent: Operand) -> Tensor:
    """input ** exponent; the numbers 2, 0.5, -0.5, -1, 1 and 3 take shorter ways.

    **Raises** RuntimeError for integers to a negative integer number.
    """
    if not isinstance(input, Tensor):
        return apply(records.POW, (input, exponent))
    if isinstance(exponent, (Tensor, Probe)):
        return _POW(input, exponent)
    if isinstance(exponent, np.generic):
        exponent = exponent.item()
    category = input._layout.dtype.category
    if category == FLOAT or (category != BOOL and isinstance(exponent, int)):
        if category != FLOAT and exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        if exponent == 2:
            return _SQUARE(input)
        if exponent == 1:
            return _MUL(input, 1)
        if exponent == 3:
            return _MUL(_SQUARE(input), input)
        if exponent == 0.5:
            return _SQRT(input)
        if exponent == -0.5:
            return _RSQRT(input)
        if exponent == -1 and category == FLOAT:
            return _RECIPROCAL(input)
    return _POW(input, exponent)


def _pow_operator(self: Tensor, exponent: Operand) -> Tensor:
    return (
        pow(self, exponent) if isinstance(exponent, (bool, int, float, Tensor, Probe, np.generic)) else NotImplemented
    )


@with_out
def float_power(input: Operand, exponent: Operand) -> Tensor:
    """input ** exponent, computed in float64."""
    wide = [cast(x, dtypes.float64) if isinstance(x, Tensor) else float(x) for x in (input, exponent)]
    return pow(*wide)


def _float_power_(self: Tensor, exponent: Operand) -> Tensor:
    """`float_power` in place; the tensor must be float64."""
    if self.dtype is not dtypes.float64:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {self.dtype.name} but the operation's result requires dtype "
            "float64"
        )
    return self.copy_(float_power(self.clone(), exponent))


def polygamma(n: int, input: Tensor) -> Tensor:
    """n-th derivative of digamma, n >= 0."""
    check_tensor("polygamma", input=input)
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n, got {n}")
    return input.digamma() if n == 0 else input._polygamma(n)


def mvlgamma(input: Tensor, p: int) -> Tensor:
    """log of the multivariate gamma function of dimension `p`."""
    check_tensor("mvlgamma", input=input)
    if p < 1:
        raise RuntimeError(f"mvlgamma: p has to be greater than or equal to 1, got {p}")
    x = input if input.is_floating_point() else cast(input, dtypes.get_default_dtype())
    total = x.lgamma()
    for j in range(1, p):
        total = total + (x - 0.5 * j).lgamma()
    return total + p * (p - 1) / 4 * math.log(math.pi)


@with_out
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2 ** other."""
    return input * pow(2.0, other)


FrexpResult = namedtuple("frexp", ["mantissa", "exponent"])  # type: ignore[name-match]


@with_out
def frexp(input: Tensor) -> Any:
    """(mantissa, exponent): input = mantissa * 2 ** exponent, 1/2 <= |mantissa| < 1; exponents are int32."""
    check_tensor("frexp", input=input)
    if not input.is_floating_point():
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    return FrexpResult(apply(special.MANTISSA, (input,)), apply(special.EXPONENT, (input,)))


# ---- bounds and rounding


@with_out
def clamp(input: Tensor, min: Operand = None, max: Operand = None) -> Tensor:
    """min(max(input, min), max); bounds are numbers or tensors, one may be None."""
    check_tensor("clamp", input=input)
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if max is None:
        return apply(records.CLAMP_MIN, (input, min))
    if min is None:
        return apply(records.CLAMP_MAX, (input, max))
    return _CLAMP(input, min, max)


clip = clamp


def _clamp_(self: Tensor, min: Operand = None, max: Operand = None) -> Tensor:
    """`clamp` in place."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if max is None:
        return apply_(records.CLAMP_MIN, self, (min,))
    if min is None:
        return apply_(records.CLAMP_MAX, self, (max,))
    return apply_(records.CLAMP, self, (min, max))


@with_out
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Nearest integer, halves to even; with `decimals`, nearest multiple of 10 ** -decimals."""
    check_tensor("round", input=input)
    if decimals == 0:
        return _ROUND(input)
    if not input.is_floating_point():
        raise RuntimeError(
            f"\"round_cpu\" not implemented for '{input.dtype.name.capitalize()}' with decimals={decimals}"
        )
    scale = 10.0 ** abs(decimals)
    return _ROUND(input * scale) / scale if decimals > 0 else _ROUND(input / scale) * scale


@with_out
def nan_to_num(
    input: Tensor, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN, +inf and -inf replaced; infinities by the dtype's extremes if not given."""
    check_tensor("nan_to_num", input=input)
    if not input.is_floating_point():
        return input.clone()
    largest = _LARGEST[input.dtype.name]
    given = (0.0 if nan is None else nan, largest if posinf is None else posinf, -largest if neginf is None else neginf)
    return apply(records.NAN_TO_NUM, (input, *(float(v) for v in given)))


_LARGEST = {
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
    "float32": float(np.finfo(np.float32).max),
    "float64": float(np.finfo(np.float64).max),
}


@with_out
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), x bounded to [eps, 1 - eps] if eps is given."""
    check_tensor("logit", input=input)
    return apply(activations.LOGIT, (input if eps is None else clamp(input, eps, 1 - eps),))


# ---- products


@with_out
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return _ADDCMUL(input, tensor1, tensor2, value)


@with_out
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    _check_float_division(tensor1, tensor2)
    return _ADDCDIV(input, tensor1, tensor2, value)


def _check_float_division(a: Any, b: Any) -> None:
    if isinstance(a, Tensor) and isinstance(b, Tensor) and not (a.is_floating_point() or b.is_floating_point()):
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported; convert the tensors to floating point, or use "
            "addcmul."
        )


def _addcmul_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """`addcmul` in place."""
    return apply_(records.ADDCMUL, self, (tensor1, tensor2, value))


def _addcdiv_(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """`addcdiv` in place."""
    _check_float_division(tensor1, tensor2)
    return apply_(records.ADDCDIV, self, (tensor1, tensor2, value))


# ---- selection


def _same_dtype(a: Operand, b: Operand) -> tuple[Operand, Operand]:
    """Two branches of a selection in their common dtype."""
    common = result_type(a, b)
    return tuple(cast(x, common) if isinstance(x, Tensor) else _NUMBER[common.category](x) for x in (a, b))  # type: ignore[return-value]


_NUMBER = (bool, int, float)


@with_out
def where(condition: Tensor, input: Operand = None, other: Operand = None) -> Any:
    """input where condition, else other; with the condition alone, the indices where it holds (as
    `nonzero(as_tuple=True)`).
    """
    if isinstance(condition, Probe) or isinstance(input, Probe) or isinstance(other, Probe):
        return MISSING
    check_tensor("where", condition=condition)
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if condition._layout.dtype.category != BOOL:
        if condition.dtype is not dtypes.uint8:
            raise RuntimeError(
                f"where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{condition.dtype.name.capitalize()}"
            )
        condition = condition != 0
    if isinstance(input, np.generic):
        input = input.item()
    if isinstance(other, np.generic):
        other = other.item()
    a, b = input, other
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a._layout.dtype is b._layout.dtype):
        if isinstance(a, Tensor) and type(b) is float and a._layout.dtype.category == FLOAT:
            pass
        elif not isinstance(a, Tensor) and not isinstance(b, Tensor):
            return _choose_numbers(condition, a, b)
        else:
            a, b = _same_dtype(a, b)
    return _WHERE(condition, a, b)


def _choose_numbers(condition: Tensor, a: Any, b: Any) -> Tensor:
    common = result_type(a, b)
    return apply(
        records.WHERE, (condition, condition.new_full((), a, dtype=common), condition.new_full((), b, dtype=common))
    )


def _where_method(self: Any, condition: Tensor, other: Operand) -> Tensor:
    """self where condition, else other."""
    return where(condition, self, other)


def _check_fill(op: str, self: Tensor, mask: Any, value: Any) -> None:
    check_tensor(op, mask=mask)
    if mask.dtype.category != BOOL:
        raise RuntimeError(f"{op} only supports boolean masks, but got mask with dtype {mask.dtype.name}")
    if isinstance(value, Tensor) and value.dim() != 0:
        raise RuntimeError(
            f"{op} only supports a 0-dimensional value tensor, but got tensor with {value.dim()} dimension(s)."
        )
    if isinstance(value, float) and self.dtype.category != FLOAT:
        if self.dtype.category == BOOL or not value.is_integer():
            raise RuntimeError(f"value cannot be converted to type {self.dtype.name} without overflow")


@with_out
def masked_fill(input: Any, mask: Tensor, value: Operand) -> Tensor:
    """`value` where mask, else input; the result has input's dtype."""
    if isinstance(input, Probe) or isinstance(mask, Probe):
        return MISSING
    _check_fill("masked_fill", input, mask, value)
    value = cast(value, input.dtype) if isinstance(value, Tensor) else _NUMBER[input.dtype.category](value)
    return _WHERE(mask, value, input)


def _masked_fill_(self: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """`masked_fill` in place."""
    _check_fill("masked_fill_", self, mask, value)
    return self.copy_(masked_fill(self.clone() if self.requires_grad else self, mask, value))


# ---- facts


def positive(input: Tensor) -> Tensor:
    """input itself. **Raises** RuntimeError for bools."""
    check_tensor("positive", input=input)
    if input.dtype.category == BOOL:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def isreal(input: Tensor) -> Tensor:
    """True everywhere: there are no complex tensors."""
    check_tensor("isreal", input=input)
    return input.new_ones(input.shape, dtype=dtypes.bool_)


def is_tensor(obj: Any) -> bool:
    """True if `obj` is a Tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """True if the dtype is a floating point one."""
    check_tensor("is_floating_point", input=input)
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """False: there are no complex tensors."""
    check_tensor("is_complex", input=input)
    return False


def is_signed(input: Tensor) -> bool:
    """True if the dtype has negative numbers."""
    check_tensor("is_signed", input=input)
    return input.is_signed()


def is_nonzero(input: Tensor) -> bool:
    """True if the one element is not 0. **Raises** RuntimeError for another number of elements."""
    check_tensor("is_nonzero", input=input)
    return bool(input)


promote_types = dtypes.promote

METHODS: dict[str, Any] = {
    "frexp": frexp,
    "add": add,
    "add_": _add_,
    "sub": sub,
    "sub_": _sub_,
    "subtract": sub,
    "subtract_": _sub_,
    "div": div,
    "div_": _div_,
    "divide": div,
    "divide_": _div_,
    "true_divide": true_divide,
    "true_divide_": _div_,
    "floor_divide": floor_divide,
    "floor_divide_": _floor_divide_,
    "remainder": remainder,
    "fmod": fmod,
    "pow": pow,
    "float_power": float_power,
    "float_power_": _float_power_,
    "clamp": clamp,
    "clamp_": _clamp_,
    "clip": clamp,
    "clip_": _clamp_,
    "round": round,
    "round_": in_place(round),
    "nan_to_num": nan_to_num,
    "nan_to_num_": in_place(nan_to_num),
    "logit": logit,
    "logit_": in_place(logit),
    "addcmul": addcmul,
    "addcmul_": _addcmul_,
    "addcdiv": addcdiv,
    "addcdiv_": _addcdiv_,
    "where": _where_method,
    "masked_fill": masked_fill,
    "masked_fill_": _masked_fill_,
    "positive": positive,
    "__pos__": positive,
    "polygamma": lambda self, n: polygamma(n, self),
    "mvlgamma": mvlgamma,
    "mvlgamma_": in_place(mvlgamma),
    "ldexp": ldexp,
    "ldexp_": in_place(ldexp),
    "isreal": isreal,
    "is_nonzero": is_nonzero,
}
OPERATORS: dict[str, Any] = {
    "__pow__": _pow_operator,
    "__floordiv__": _floordiv,
    "__rfloordiv__": _rfloordiv,
    "__mod__": _mod,
    "__rdiv__": _rdiv,
    "__pos__": positive,
}
ALIASES = {
    "multiply": "mul",
    "absolute": "abs",
    "negative": "neg",
    "fix": "trunc",
    "arccos": "acos",
    "arcsin": "asin",
    "arctan": "atan",
    "arctan2": "atan2",
    "arccosh": "acosh",
    "arcsinh": "asinh",
    "arctanh": "atanh",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "not_equal": "ne",
}
