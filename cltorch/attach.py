"""What is derived from the table: methods, in-place methods, operators and functions.

Floor 6. `attach_table()` runs after all records are registered. A name that a room has already put on Tensor or into
FUNCTIONS (a composite with more arguments than the record's) is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import copies, fast, formats, movement, parts, strided, views
from .autograd.probe import Probe
from .dispatch import apply, apply_
from .ops.table import POINTWISE, TABLE, Op
from .tensor import Tensor, from_array

_ALSO_FUNCTIONS = (
    "adjoint as_strided as_strided_scatter broadcast_to chunk clone conj diagonal dsplit flatten flip fliplr flipud "
    "hsplit is_conj "
    "moveaxis movedim narrow permute "
    "ravel real reshape resolve_conj resolve_neg roll rot90 select split split_with_sizes squeeze swapaxes swapdims t "
    "tensor_split tile "
    "transpose unbind unflatten unsqueeze vsplit"
).split()

FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: function
    for room in (views, parts, strided, formats, movement)
    for name, function in room.METHODS.items()
    if name in _ALSO_FUNCTIONS
}
FUNCTIONS |= copies.FUNCTIONS
FUNCTIONS |= {name: getattr(Tensor, name) for name in ("fill_", "zero_", "resize_as_")}
FUNCTIONS |= {"is_conj": Tensor.is_conj, "is_neg": Tensor.is_neg, "numel": Tensor.numel, "detach": Tensor.detach}

_OPERATORS = {
    "add": "__add__", "sub": "__sub__", "mul": "__mul__", "div": "__truediv__", "pow": "__pow__",
    "remainder": "__mod__",
    "floor_divide": "__floordiv__", "eq": "__eq__", "ne": "__ne__", "lt": "__lt__", "le": "__le__", "gt": "__gt__",
    "ge": "__ge__",
    "bitwise_and": "__and__", "bitwise_or": "__or__", "bitwise_xor": "__xor__", "bitwise_left_shift": "__lshift__",
    "bitwise_right_shift": "__rshift__", "neg": "__neg__", "abs": "__abs__", "bitwise_not": "__invert__",
    "positive": "__pos__",
}  # fmt: skip
_COMMUTATIVE = ("add", "mul", "bitwise_and", "bitwise_or", "bitwise_xor")
_REFLECTED = ("sub", "div", "pow", "remainder", "floor_divide", "bitwise_left_shift", "bitwise_right_shift")
_IN_PLACE = (
    "add", "sub", "mul", "div", "pow", "remainder", "floor_divide", "bitwise_and", "bitwise_or", "bitwise_xor",
    "bitwise_left_shift",
    "bitwise_right_shift",
)  # fmt: skip


def _copying(name: str) -> Callable[..., Any]:
    """The function `name_copy`: the view `name`, copied."""
    view = getattr(Tensor, name)

    def function(input: Tensor, *args: Any, **named: Any) -> Any:
        found = view(input, *args, **named)
        return tuple(x.clone() for x in found) if isinstance(found, tuple) else found.clone()

    function.__name__ = function.__qualname__ = f"{name}_copy"
    function.__doc__ = f"What `{name}` gives, as a copy."
    return function


for _name in (
    "alias as_strided diagonal expand narrow permute select split split_with_sizes squeeze t transpose unbind unfold "
    "unsqueeze view"
).split():
    FUNCTIONS[f"{_name}_copy"] = _copying(_name)


def attach_table() -> None:
    """Derive methods and functions from every record that asks for them."""
    for op in tuple(TABLE.values()):
        attach(op)


def attach(op: Op) -> None:
    """Derive what `op` asks for."""
    name = op.name
    if op.method and name not in Tensor.__dict__:
        setattr(Tensor, name, method_of(op))
    if op.inplace and name + "_" not in Tensor.__dict__:
        setattr(Tensor, name + "_", in_place_of(op))
    if op.function and name not in FUNCTIONS:
        FUNCTIONS[name] = function_of(op)
    operator = _OPERATORS.get(name)
    if operator is not None:
        _attach_operators(op, operator)


def _attach_operators(op: Op, operator: str) -> None:
    if op.arity == 1:
        _give(operator, _described(fast.unary(op), op, operator))
        return
    plain = _described(fast.binary(op, NotImplemented), op, operator)
    _give(operator, plain)
    if op.name in _COMMUTATIVE:
        _give("__r" + operator[2:], plain)
    elif op.name in _REFLECTED:
        _give("__r" + operator[2:], _described(_reflected(op), op, "__r" + operator[2:]))
    if op.name in _IN_PLACE:
        _give("__i" + operator[2:], _described(_augmented(op), op, "__i" + operator[2:]))


def _give(operator: str, method: Callable[..., Any]) -> None:
    """Put an operator on Tensor, unless a room has put a better informed one there."""
    if operator not in Tensor.__dict__:
        setattr(Tensor, operator, method)


def _reflected(op: Op) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            other = from_array(other, device=self.device)
        elif not isinstance(other, (bool, int, float, Tensor, np.generic, Probe)):
            return NotImplemented
        return apply(op, (other, self))

    return method


def _augmented(op: Op) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, np.ndarray):
            other = from_array(other, device=self.device)
        elif not isinstance(other, (bool, int, float, Tensor, np.generic)):
            return NotImplemented
        return apply_(op, self, (other,))

    return method


def method_of(op: Op) -> Callable[..., Any]:
    """The Tensor method: other operands, then the record's attributes, by position."""
    if op.kind == POINTWISE and op.arity == 1:
        return _described(fast.unary(op), op, op.name)
    if op.kind == POINTWISE and op.arity == 2:
        return _described(_named_second(fast.binary(op), op), op, op.name)
    arity = op.arity

    def method(self: Tensor, *args: Any) -> Any:
        if len(args) < arity - 1:
            raise _missing(op, len(args) + 1)
        return apply(op, (self, *args[: arity - 1]), tuple(args[arity - 1 :]))

    quick = fast.several(op)

    def pointwise(self: Tensor, *args: Any, **named: Any) -> Any:
        return quick(self, *_operands(op, args, named))

    return _described(pointwise if op.kind == POINTWISE else method, op, op.name)


def _named_second(plain: Callable[..., Any], op: Op) -> Callable[..., Any]:
    """Let the second operand be given by its name too; `plain` stays the usual way."""
    second = op.names[1] if len(op.names) > 1 else "other"
    if second == "other":

        def method(self: Tensor, other: Any) -> Any:
            return plain(self, other)

        return method

    def renamed(self: Tensor, *args: Any, **named: Any) -> Any:
        return plain(self, *_operands(op, args, named))

    return renamed


def _operands(op: Op, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """Operands after the first, by position or name. Raises TypeError for missing or unknown ones."""
    found = list(args)
    for name in op.names[1 + len(args) : op.arity]:
        if name in named:
            found.append(named.pop(name))
        else:
            raise _missing(op, 1 + len(found))
    if named:
        raise TypeError(f"{op.name}() got an unexpected keyword argument '{next(iter(named))}'")
    if len(found) != op.arity - 1:
        raise TypeError(f"{op.name}() takes {op.arity} positional arguments but {len(found) + 1} were given")
    return tuple(found)


def _missing(op: Op, position: int) -> TypeError:
    name = op.names[position] if position < len(op.names) else f"operand {position}"
    return TypeError(f'{op.name}() missing 1 required positional arguments: "{name}"')


def in_place_of(op: Op) -> Callable[..., Any]:
    """The in-place method: the result is written into the tensor itself."""

    def method(self: Tensor, *args: Any, **named: Any) -> Tensor:
        return apply_(op, self, _operands(op, args, named))

    return _described(method, op, op.name + "_")


def function_of(op: Op) -> Callable[..., Any]:
    """The module function: operands by position or name, then attributes, and `out=` by name."""
    if op.kind == POINTWISE and op.arity == 1:
        quick = fast.unary(op)

        def one(input: Any, *, out: Any = None) -> Any:
            if out is None and isinstance(input, Tensor):
                return quick(input)
            return apply(op, (input,), out=out)

        return _described(one, op, op.name)
    if op.kind == POINTWISE and op.arity == 2 and op.names[:2] == ("input", "other"):
        pair = fast.binary(op)

        def two(input: Any, other: Any, *, out: Any = None) -> Any:
            if out is None and isinstance(input, Tensor):
                return pair(input, other)
            return apply(op, (input, other), out=out)

        return _described(two, op, op.name)

    def many(*args: Any, out: Any = None, **named: Any) -> Any:
        if op.kind != POINTWISE:
            return apply(op, args[: op.arity], tuple(args[op.arity :]), out=out)
        if not args:
            if op.names[0] not in named:
                raise _missing(op, 0)
            args = (named.pop(op.names[0]),)
        return apply(op, (args[0], *_operands(op, args[1:], named)), out=out)

    return _described(many, op, op.name)


def _described(made: Callable[..., Any], op: Op, name: str) -> Callable[..., Any]:
    made.__name__ = name
    made.__qualname__ = name
    source = f"\n\n**Source** {op.source}" if op.source else ""
    categories = {"b": "bool", "i": "integers", "f": "floats"}
    made.__doc__ = f"{op.doc}\n\n**Dtypes** {', '.join(categories[c] for c in op.categories)}.{source}"
    made.op = op  # type: ignore[attr-defined]
    return made
