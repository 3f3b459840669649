"""Plans: what a call of an op on operands of given layouts amounts to. Promotion, broadcasting, layout of the result,
what backward needs.

Floor 6. A Plan is made once per op, operand layouts (or types of Python numbers) and attributes, and looked up from
then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes
from .autograd.graph import Context
from .autograd.probe import needed
from .dtypes import BOOL, FLOAT, INTEGER, DType, promote
from .engine import make_spec
from .ops.table import CONTRACTION, POINTWISE, REDUCTION, Op
from .shapes import Layout, broadcast, layout
from .tensor import Tensor

_LETTERS = {BOOL: "b", INTEGER: "i", FLOAT: "f"}
_IDENTITIES = {"_sum": 0, "_prod": 1, "_any": 0, "_all": 1}
_WORDS = {"b": "bool", "i": "integers", "f": "floats"}


class Plan:
    """What a call of an op on given layouts amounts to.

    Attributes:
        op, attrs: what is computed.
        casts: (position, dtype) of operands to convert first; then another plan, without casts, is looked up.
        spec: the engine's.
        outs: Layout per output, over fresh storages. `out`, `nbytes`: the first.
        tensors: positions of tensor operands.
        shapes: shape per operand, `()` for numbers.
        differentiable: the op has a gradient and a result that can carry one.
        reduces: some operand was broadcast, so its gradient is summed.
        keeps: per bit mask of operands that need a gradient, what is saved: (operand kept?, …, result kept?), or None.
        bound: (low, high) that a Python number must lie in, or None.
        constant: what a reduction of no elements gives, else None.
    """

    __slots__ = (
        "op", "attrs", "casts", "spec", "outs", "out", "nbytes", "tensors", "shapes", "differentiable", "reduces",
        "keeps", "bound", "constant", "single",
    )  # fmt: skip

    op: Op
    attrs: tuple[Any, ...]
    casts: tuple[tuple[int, DType], ...]
    spec: Any
    outs: tuple[Layout, ...]
    out: Layout
    nbytes: int
    single: bool
    tensors: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    differentiable: bool
    reduces: bool
    keeps: dict[int, tuple[bool, ...] | None]
    bound: tuple[int, int] | None
    constant: int | None

    def keep(self, mask: int) -> tuple[bool, ...] | None:
        """What to save when the operands in `mask` need gradients; None for nothing."""
        if mask in self.keeps:
            return self.keeps[mask]
        op, arity = self.op, len(self.shapes)
        assert op.grad is not None
        kept = frozenset(op.saves)
        if kept and mask != (1 << arity) - 1 or "out" in op.saves:
            ctx = Context()
            ctx.attrs, ctx.shapes = self.attrs, self.shapes
            ctx.needs = tuple(bool(mask >> i & 1) for i in range(arity))
            found = needed(op.grad, ctx, op.saves, len(self.outs), self.out.shape, self.out.dtype)
            kept = kept if found is None else found & kept
        flags = tuple(i in kept for i in range(arity)) + ("out" in kept,)
        self.keeps[mask] = flags if any(flags) else None
        return self.keeps[mask]

    def fill_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """Zeros for the outputs without gradient, where others have one; None for outputs that are not floating
        point."""
        example = next(g for g in grads if g is not None)
        return [
            example.new_zeros(o.shape, dtype=o.dtype) if g is None and o.dtype.category == FLOAT else g
            for g, o in zip(grads, self.outs)
        ]


plans: dict[Op, dict[Any, Plan]] = {}


def plans_of(op: Op) -> dict[Any, Plan]:
    """The plans of `op`, by key: a Layout, or a tuple of Layouts and number types (and attrs)."""
    found = plans.get(op)
    if found is None:
        found = plans[op] = {}
    return found


def set_default_dtype(dtype: DType) -> None:
    """See `dtypes.set_default_dtype`; plans made under another default are forgotten."""
    if isinstance(dtype, str):
        dtype = dtypes.by_name(dtype)
    dtypes.set_default_dtype(dtype)
    for known in plans.values():
        known.clear()


def result_type(*operands: Any) -> DType:
    """PyTorch's `result_type`: tensors with dimensions come before 0-d tensors, those before Python numbers, unless of
    a lower category."""
    dims: DType | None = None
    zero: DType | None = None
    number: DType | None = None
    for x in operands:
        if isinstance(x, Tensor):
            lay = x._layout
            if lay.shape:
                dims = lay.dtype if dims is None else promote(dims, lay.dtype)
            else:
                zero = lay.dtype if zero is None else promote(zero, lay.dtype)
        else:
            d = dtypes.of_number(x)
            number = d if number is None else promote(number, d)
    return _combine(_combine(dims, zero), number)  # type: ignore[return-value]


def _combine(higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None or lower is None:
        return higher or lower
    return promote(higher, lower) if lower.category > higher.category else higher


def can_cast(given: DType, wanted: DType) -> bool:
    """PyTorch's `can_cast`: not from floats to integers, and not to bool from anything else."""
    if given.category == FLOAT and wanted.category != FLOAT:
        return False
    return given.category == BOOL or wanted.category != BOOL


def type_word(dtype: DType) -> str:
    words = {
        "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long",
        "int32": "Int",
        "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
    }  # fmt: skip
    return words[dtype.name]


def key_of(operands: Sequence[Any], attrs: tuple) -> Any:
    parts = [x._layout if isinstance(x, Tensor) else type(x) for x in operands]
    if attrs:
        return (*parts, attrs)
    return parts[0] if len(parts) == 1 else tuple(parts)


def make_plan(op: Op, operands: Sequence[Any], attrs: tuple) -> Plan:
    plan = Plan()
    plan.op, plan.attrs, plan.casts, plan.bound, plan.keeps = op, attrs, (), None, {}
    plan.constant = None
    plan.tensors = tuple(i for i, x in enumerate(operands) if isinstance(x, Tensor))
    plan.shapes = tuple(x._layout.shape if isinstance(x, Tensor) else () for x in operands)
    if op.kind == POINTWISE:
        _plan_pointwise(plan, operands)
    elif op.kind == REDUCTION:
        _plan_reduction(plan, operands)
    else:
        ins = tuple(x._layout if isinstance(x, Tensor) else dtypes.of_number(x) for x in operands)
        assert op.infer is not None
        if op.kind == CONTRACTION:
            for x in ins:
                if isinstance(x, Layout) and _LETTERS[x.dtype.category] not in op.categories:
                    raise _undefined(op, x.dtype, " and ".join(_WORDS[c] for c in op.categories))
        set_outs(plan, ins, tuple(layout(dtype, tuple(shape)) for dtype, shape in op.infer(ins, attrs)))
        plan.reduces = False
    return plan


def set_outs(plan: Plan, ins: tuple[Layout | DType, ...], outs: tuple[Layout, ...]) -> None:
    plan.outs, plan.out, plan.nbytes, plan.single = outs, outs[0], outs[0].nbytes, len(outs) == 1
    plan.spec = make_spec(plan.op, ins, outs, plan.attrs)
    plan.differentiable = plan.op.grad is not None and any(o.dtype.category == FLOAT for o in outs)


def _computing(op: Op, operands: Sequence[Any]) -> DType | None:
    """The dtype in which `op` computes, or None where operands stay as they are. Raises for a category it is not
    defined on."""
    if op.promote == "none":
        return None
    dtype = result_type(*operands)
    if op.promote == "float" and dtype.category != FLOAT:
        dtype = dtypes.get_default_dtype()
    if _LETTERS[dtype.category] not in op.categories:
        wanted = " and ".join(_WORDS[c] for c in op.categories)
        raise _undefined(op, dtype, wanted)
    return dtype


def _undefined(op: Op, dtype: DType, wanted: str) -> Exception:
    if op.name == "sub" and dtype.category == BOOL:
        return RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. Use the `^` or `logical_xor()` "
            "operator instead."
        )
    if op.name == "neg" and dtype.category == BOOL:
        return RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. Use the `~` or `logical_not()` operator "
            "instead."
        )
    if op.name == "bitwise_not":
        return TypeError("bitwise_not: ~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return NotImplementedError(
        f"{op.name}: dtype: got {dtype}, wanted {wanted}; \"{op.name}\" not implemented for '{type_word(dtype)}'"
    )


def _number_dtype(op: Op, operands: Sequence[Any]) -> DType:
    """The dtype of Python numbers among operands that are not promoted: that of the other values, the first of three
    being a condition."""
    others = [x for x in (operands[1:] if len(operands) == 3 else operands) if isinstance(x, Tensor)]
    if others:
        return result_type(*others)
    return result_type(*(x for x in operands[-2:] if not isinstance(x, Tensor)))


def _result_dtype(op: Op, computing: DType | None, given: Sequence[DType]) -> DType:
    if callable(op.result):
        return op.result(*given)
    if op.result == "bool":
        return dtypes.bool_
    if op.result == "index":
        return dtypes.int64
    return computing if computing is not None else given[0]


def _plan_pointwise(plan: Plan, operands: Sequence[Any]) -> None:
    op = plan.op
    computing = _computing(op, operands)
    numbers = computing
    if computing is None and len(plan.tensors) < len(operands):
        numbers = _number_dtype(op, operands)
    if computing is not None:
        plan.casts = tuple((i, computing) for i in plan.tensors if operands[i]._layout.dtype is not computing)
        if plan.casts:
            return
    shape = broadcast(op.name, *(plan.shapes[i] for i in plan.tensors)) if plan.tensors else ()
    ins: tuple[Any, ...] = tuple(x._layout.broadcast_to(shape) if isinstance(x, Tensor) else numbers for x in operands)
    dtype = _result_dtype(op, computing, [x.dtype if isinstance(x, Layout) else x for x in ins])
    stride = result_stride(shape, [operands[i]._layout for i in plan.tensors])
    set_outs(plan, ins, (layout(dtype, shape, stride),))
    plan.reduces = any(plan.shapes[i] != shape for i in plan.tensors)
    if numbers is not None and numbers.category == INTEGER and len(plan.tensors) < len(operands):
        facts = np.iinfo(numbers.numpy)
        plan.bound = (int(facts.min), int(facts.max))


def result_stride(shape: tuple[int, ...], operands: Sequence[Layout]) -> tuple[int, ...] | None:
    """Strides of a pointwise result: in the order of dimensions of the first operand of that shape, without gaps; None
    for C order."""
    for given in operands:
        if given.shape == shape:
            if given.contiguous:
                return None
            if any(s == 0 and n > 1 for s, n in zip(given.stride, shape)):
                continue
            order = sorted(
                range(len(shape)), key=lambda d: (-given.stride[d], d) if shape[d] != 1 else (-given.stride[d], d)
            )
            stride, step = [0] * len(shape), 1
            for d in reversed(order):
                stride[d] = step
                step *= max(shape[d], 1)
            return tuple(stride)
    return None


def _plan_reduction(plan: Plan, operands: Sequence[Any]) -> None:
    op, given = plan.op, operands[0]._layout
    computing = _computing(op, operands)
    if computing is not None and given.dtype is not computing:
        plan.casts = ((0, computing),)
        return
    dims, keepdim = plan.attrs
    if not given.numel:
        plan.constant = _IDENTITIES.get(op.name)
    shape = reduced_shape(given.shape, dims, keepdim)
    set_outs(plan, (given,), (layout(_result_dtype(op, computing, [given.dtype]), shape),))
    plan.reduces = False


def reduced_shape(shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    """The shape after reducing `dims` (counted from the front)."""
    if keepdim:
        return tuple(1 if d in dims else n for d, n in enumerate(shape))
    return tuple(n for d, n in enumerate(shape) if d not in dims)
