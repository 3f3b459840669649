"""From a call to an entry in the trace: promotion, broadcasting, checks, layout of the result, recording, the autograd node.

Floor 6. For one op and one combination of operand layouts (and types of Python numbers) all of that is decided once and kept as a Plan; a
repeated call looks the plan up, makes a Storage and a Tensor and records. `fast.py` is that path written out for one and two operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes
from .autograd import history
from .autograd.graph import Context, OpNode, Saved, WideOpNode, connect, refuse_inference
from .autograd.modes import counts, state
from .autograd.probe import MISSING, Probe, needed
from .dtypes import BOOL, FLOAT, INTEGER, DType, promote
from .engine import Storage, make_spec, record
from .ops.table import CONTRACTION, CUSTOM, POINTWISE, REDUCTION, TABLE, Op
from .shapes import Layout, broadcast, contiguous_stride, layout
from .tensor import Tensor, make

_LETTERS = {BOOL: "b", INTEGER: "i", FLOAT: "f"}
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
    """

    __slots__ = (
        "op", "attrs", "casts", "spec", "outs", "out", "nbytes", "tensors", "shapes", "differentiable", "reduces", "keeps", "bound", "single",
    )  # fmt: skip

    def keep(self, mask: int) -> tuple[bool, ...] | None:
        """What to save when the operands in `mask` need gradients; None for nothing."""
        if mask in self.keeps:
            return self.keeps[mask]
        op, arity = self.op, len(self.shapes)
        kept: frozenset | None = frozenset(op.saves)
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
        """Zeros for the outputs without gradient, where others have one; None for outputs that are not floating point."""
        example = next(g for g in grads if g is not None)
        return [
            example.new_zeros(o.shape, dtype=o.dtype) if g is None and o.dtype.category == FLOAT else g for g, o in zip(grads, self.outs)
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


# ---- promotion


def result_type(*operands: Any) -> DType:
    """PyTorch's `result_type`: tensors with dimensions come before 0-d tensors, those before Python numbers, unless of a lower category."""
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


# ---- plans


def _key(operands: Sequence[Any], attrs: tuple) -> Any:
    parts = [x._layout if isinstance(x, Tensor) else type(x) for x in operands]
    if attrs:
        return (*parts, attrs)
    return parts[0] if len(parts) == 1 else tuple(parts)


def _make_plan(op: Op, operands: Sequence[Any], attrs: tuple) -> Plan:
    plan = Plan()
    plan.op, plan.attrs, plan.casts, plan.bound, plan.keeps = op, attrs, (), None, {}
    plan.tensors = tuple(i for i, x in enumerate(operands) if isinstance(x, Tensor))
    plan.shapes = tuple(x._layout.shape if isinstance(x, Tensor) else () for x in operands)
    if op.kind == POINTWISE:
        _plan_pointwise(plan, operands)
    elif op.kind == REDUCTION:
        _plan_reduction(plan, operands)
    else:
        ins = tuple(x._layout if isinstance(x, Tensor) else dtypes.of_number(x) for x in operands)
        assert op.infer is not None
        _set_outs(plan, ins, tuple(layout(dtype, tuple(shape)) for dtype, shape in op.infer(ins, attrs)))
        plan.reduces = False
    return plan


def _set_outs(plan: Plan, ins: tuple[Layout | DType, ...], outs: tuple[Layout, ...]) -> None:
    plan.outs, plan.out, plan.nbytes, plan.single = outs, outs[0], outs[0].nbytes, len(outs) == 1
    plan.spec = make_spec(plan.op, ins, outs, plan.attrs)
    plan.differentiable = plan.op.grad is not None and any(o.dtype.category == FLOAT for o in outs)


def _computing(op: Op, operands: Sequence[Any]) -> DType | None:
    """The dtype in which `op` computes, or None where operands stay as they are. Raises for a category it is not defined on."""
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
        return RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported. Use the `^` or `logical_xor()` operator instead.")
    if op.name == "neg" and dtype.category == BOOL:
        return RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. Use the `~` or `logical_not()` operator instead.")
    if op.name == "bitwise_not":
        return TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return NotImplementedError(f"{op.name}: dtype: got {dtype}, wanted {wanted}; \"{op.name}\" not implemented for '{_type_word(dtype)}'")


def _number_dtype(op: Op, operands: Sequence[Any]) -> DType:
    """The dtype of Python numbers among operands that are not promoted: that of the other values, the first of three being a condition."""
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
    ins = tuple(x._layout.broadcast_to(shape) if isinstance(x, Tensor) else numbers for x in operands)
    dtype = _result_dtype(op, computing, [x.dtype if isinstance(x, Layout) else x for x in ins])
    stride = result_stride(shape, [operands[i]._layout for i in plan.tensors])
    _set_outs(plan, ins, (layout(dtype, shape, stride),))
    plan.reduces = any(plan.shapes[i] != shape for i in plan.tensors)
    if numbers is not None and numbers.category == INTEGER and len(plan.tensors) < len(operands):
        facts = np.iinfo(numbers.numpy)
        plan.bound = (int(facts.min), int(facts.max))


def result_stride(shape: tuple[int, ...], operands: Sequence[Layout]) -> tuple[int, ...] | None:
    """Strides of a pointwise result: in the order of dimensions of the first operand of that shape, without gaps; None for C order."""
    for given in operands:
        if given.shape == shape:
            if given.contiguous:
                return None
            if any(s == 0 and n > 1 for s, n in zip(given.stride, shape)):
                continue
            order = sorted(range(len(shape)), key=lambda d: (-given.stride[d], d) if shape[d] != 1 else (-given.stride[d], d))
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
    shape = reduced_shape(given.shape, dims, keepdim)
    _set_outs(plan, (given,), (layout(_result_dtype(op, computing, [given.dtype]), shape),))
    plan.reduces = False


def reduced_shape(shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    """The shape after reducing `dims` (counted from the front)."""
    if keepdim:
        return tuple(1 if d in dims else n for d, n in enumerate(shape))
    return tuple(n for d, n in enumerate(shape) if d not in dims)


# ---- operands


def _checked(op: Op, operands: Sequence[Any]) -> list[Any]:
    """Operands as Tensors of one device and Python numbers. Raises TypeError and RuntimeError as PyTorch does."""
    found: list[Any] = []
    first = None
    for i, x in enumerate(operands):
        if isinstance(x, Tensor):
            if first is None or (not first._layout.shape and x._layout.shape):
                first = x
        elif isinstance(x, (bool, int, float)):
            if type(x) not in (bool, int, float):
                x = x.__int__() if isinstance(x, int) else x.__float__()
        elif isinstance(x, np.generic) and x.dtype.kind in "biuf":
            x = x.item()
        elif not isinstance(x, Probe):
            name = op.names[i] if i < len(op.names) else f"operand {i}"
            raise TypeError(f"{op.name}(): argument '{name}' (position {i + 1}) must be Tensor, not {type(x).__name__}")
        found.append(x)
    if first is None:
        if op.kind != POINTWISE or op.promote != "none":
            name = op.names[0] if op.names else "input"
            raise TypeError(f"{op.name}(): argument '{name}' (position 1) must be Tensor, not {type(operands[0]).__name__}")
        return found
    trace = first._storage.trace
    for i, x in enumerate(found):
        if isinstance(x, Tensor) and x._storage.trace is not trace:
            if x._layout.shape:
                raise RuntimeError(
                    f"{op.name}: Expected all tensors to be on the same device, but found at least two devices, {first.device} and {x.device}!"
                )
            found[i] = x.to(first.device)  # type: ignore[attr-defined]
    return found


def find_plan(op: Op, operands: Sequence[Any], attrs: tuple = ()) -> tuple[Plan, list[Any]]:
    """The plan for `operands`, and the operands checked and cast as it wants them."""
    given = _checked(op, operands)
    known = plans_of(op)
    key = _key(given, attrs)
    plan = known.get(key)
    if plan is None:
        plan = known[key] = _make_plan(op, given, attrs)
    if plan.casts:
        for i, dtype in plan.casts:
            given[i] = cast(given[i], dtype)
        key = _key(given, attrs)
        plan = known.get(key)
        if plan is None:
            plan = known[key] = _make_plan(op, given, attrs)
    if plan.bound is not None:
        given = [x if isinstance(x, Tensor) else _wrapped(x, *plan.bound) for x in given]
    return plan, given


def _wrapped(number: int, low: int, high: int) -> int:
    """An integer as C would store it in the dtype with these bounds. Raises OverflowError if it has more than 64 bits."""
    if low <= number <= high:
        return number
    if not -(1 << 63) <= number < 1 << 64:
        raise OverflowError("int too big to convert")
    return (number - low) % (high - low + 1) + low


# ---- applying


def apply(op: Op, operands: Sequence[Any], attrs: tuple = (), out: Any = None) -> Any:
    """Record `op` on Tensors and Python numbers.

    Args:
        attrs: static attributes, hashable, as the op's record defines them.
        out: a tensor (or tuple, for several outputs) that takes the result.

    Returns:
        A Tensor, or a tuple of Tensors for an op with several outputs.
    """
    if any(isinstance(x, Probe) for x in operands):
        return MISSING
    plan, given = find_plan(op, operands, attrs)
    if out is not None:
        return _apply_out(plan, given, out)
    tensors = [given[i] for i in plan.tensors]
    storages = tuple([t._storage for t in tensors])
    device = storages[0].device if storages else None
    fresh = tuple([Storage(device, o.nbytes) for o in plan.outs])
    record(plan.spec, storages, fresh, () if len(tensors) == len(given) else tuple([x for x in given if not isinstance(x, Tensor)]))
    made = tuple([make(s, o) for s, o in zip(fresh, plan.outs)])
    if plan.differentiable and state.grad and any([t._requires_grad for t in tensors]):
        _attach(plan, given, made)
    return made[0] if plan.single else made


def _attach(plan: Plan, operands: Sequence[Any], made: tuple[Tensor, ...]) -> None:
    """Give fresh results their node."""
    node = make_node(plan, operands)
    for i, t in enumerate(made):
        if t._layout.dtype.category == FLOAT:
            t._requires_grad, t._node, t._output_number = True, node, i
    save_results(node, made)


def make_node(plan: Plan, operands: Sequence[Any]) -> OpNode:
    """A node for one application of a plan, with the operands saved that its backward needs."""
    node: Any
    if plan.single:
        node = OpNode()
    else:
        node = WideOpNode()
        node.width = len(plan.outs)
    node.plan = plan
    connect(node, operands)
    mask = 0
    for i, t in enumerate(node.targets):
        if t is not None:
            mask |= 1 << i
    keep = plan.keep(mask)
    node.inputs = node.versions = node.out = None
    if keep is None:
        return node
    if any(keep[:-1]):
        if counts.special and state.hooks:
            node.inputs = tuple([(Saved(x) if isinstance(x, Tensor) else x) if k else MISSING for x, k in zip(operands, keep)])
        else:
            for x, k in zip(operands, keep):
                if k and isinstance(x, Tensor) and x._extra is not None:
                    refuse_inference(x)
            node.inputs = tuple([x if k else MISSING for x, k in zip(operands, keep)])
            node.versions = tuple([x._storage.version if k and isinstance(x, Tensor) else -1 for x, k in zip(operands, keep)])
    if keep[-1]:
        node.out = True
    return node


def save_results(node: Any, made: Sequence[Tensor]) -> None:
    """Complete a node of `make_node` whose backward needs the results."""
    if node.out is True:
        node.out = Saved(made[0], 0) if len(made) == 1 else tuple([Saved(t, i) for i, t in enumerate(made)])


def cast(t: Tensor, dtype: DType) -> Tensor:
    """`t` converted to `dtype`, recorded; `t` itself if it has that dtype."""
    given = t._layout
    if given.dtype is dtype:
        return t
    op = TABLE["cast"]
    known = plans_of(op)
    key = (given, dtype)
    plan = known.get(key)
    if plan is None:
        plan = Plan()
        plan.op, plan.attrs, plan.casts, plan.bound, plan.keeps, plan.reduces = op, (), (), None, {}, False
        plan.tensors, plan.shapes = (0,), (given.shape,)
        _set_outs(plan, (given,), (layout(dtype, given.shape, result_stride(given.shape, (given,))),))
        plan.differentiable = dtype.category == FLOAT and given.dtype.category == FLOAT
        known[key] = plan
    storage = Storage(t._storage.device, plan.nbytes)
    record(plan.spec, (t._storage,), (storage,))
    made = make(storage, plan.out)
    if t._requires_grad and state.grad and plan.differentiable:
        made._set_history(CastNode(t), 0)
    return made


class CastNode(OpNode):
    """Backward of a cast: the gradient in the operand's dtype."""

    __slots__ = ("dtype",)

    def __init__(self, t: Tensor):
        self.dtype = t._layout.dtype
        connect(self, (t,))

    def name(self) -> str:
        return "ToCopyBackward0"

    def run(self, grads: list[Any]) -> Sequence[Any]:
        return (None if grads[0] is None else cast(grads[0], self.dtype),)

    def release(self) -> None:
        pass


def copy_into(storage: Storage, lay: Layout, src: Tensor) -> None:
    """Record `storage[lay] = src`, broadcast and converted; no history, no checks."""
    given = src._layout.broadcast_to(lay.shape)
    record(make_spec(TABLE["copy"], (given,), (lay,)), (src._storage,), (storage,))


def fill_into(storage: Storage, lay: Layout, value: Any) -> None:
    """Record `storage[lay] = value` for a Python number."""
    record(make_spec(TABLE["fill"], (lay.dtype,), (lay,)), (), (storage,), (value,))


def full(shape: tuple[int, ...], value: Any, dtype: DType, device: Any) -> Tensor:
    """A fresh tensor of the runtime device `device` with all elements `value`."""
    lay = layout(dtype, shape)
    storage = Storage(device, lay.nbytes)
    fill_into(storage, lay, value)
    return make(storage, lay)


def empty(shape: tuple[int, ...], dtype: DType, device: Any, stride: tuple[int, ...] | None = None) -> Tensor:
    """A fresh tensor without defined contents. `stride`, if given, must leave no gaps."""
    lay = layout(dtype, shape, stride)
    return make(Storage(device, lay.nbytes), lay)


# ---- in place, and out=


def _overlap(op: str, t: Tensor, operands: Sequence[Any]) -> list[Any]:
    """Operands safe to read while `t` is written: partly overlapping ones are an error where that is certain, else copied."""
    target = t._layout
    if history.overlapping(target):
        raise RuntimeError(
            f"{op}: unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please clone() the "
            "tensor before performing the operation."
        )
    found = list(operands)
    for i, x in enumerate(operands):
        if isinstance(x, Tensor) and x._storage is t._storage and x._layout is not target and x._layout.numel:
            given = x._layout
            if given.shape == target.shape and given.stride == target.stride and given.offset == target.offset:
                continue
            low, high = given.extent()
            first, last = target.extent()
            scale, other = given.dtype.itemsize, target.dtype.itemsize
            if (high + 1) * scale <= first * other or (last + 1) * other <= low * scale:
                continue
            if given.dense() and target.dense() and given.numel == target.numel:
                raise RuntimeError(
                    f"{op}: unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location. "
                    "Please clone() the tensor before performing the operation."
                )
            found[i] = clone_plain(x)
    return found


def clone_plain(t: Tensor) -> Tensor:
    """A contiguous copy without history."""
    lay = layout(t._layout.dtype, t._layout.shape)
    storage = Storage(t._storage.device, lay.nbytes)
    copy_into(storage, lay, t)
    return make(storage, lay)


def apply_(op: Op, t: Tensor, others: Sequence[Any] = (), attrs: tuple = ()) -> Tensor:
    """Record `op` on `t` and `others` with the result written into `t`; returns `t`."""
    if not isinstance(t, Tensor):
        raise TypeError(f"{op.name}_(): argument 'input' (position 1) must be Tensor, not {type(t).__name__}")
    operands: list[Any] = [t, *others]
    gradient = state.grad and any([isinstance(x, Tensor) and x._requires_grad for x in operands])
    history.check_in_place(op.name + "_", t, gradient)
    operands = _overlap(op.name + "_", t, _checked(op, operands))
    old = operands[0]
    plan, given = find_plan(op, operands, attrs)
    target = t._layout
    if plan.out.shape != target.shape:
        raise RuntimeError(
            f"{op.name}_: output with shape {list(target.shape)} doesn't match the broadcast shape {list(plan.out.shape)}"
        )
    if not can_cast(plan.out.dtype, target.dtype):
        raise RuntimeError(f"{op.name}_: result type {_type_word(plan.out.dtype)} can't be cast to the desired output type {_type_word(target.dtype)}")
    node = None
    if gradient and plan.differentiable and target.dtype.category == FLOAT:
        mask = sum(1 << i for i, x in enumerate(given) if isinstance(x, Tensor) and x._requires_grad)
        keep = plan.keep(mask)
        if keep is not None and keep[0] and given[0] is t:
            given[0] = _snapshot(t)  # backward needs the value that is about to be overwritten
        node = make_node(plan, given)
    write(plan, given, t._storage, target)
    t._bump()
    if node is not None:
        if plan.out.dtype is target.dtype:
            t._rebase(node, 0)
            save_results(node, (t,))
        else:
            middle = make(t._storage, plan.out, True, node, 0)
            if node.out is True:
                node.out = Saved(apply(op, [x.detach() if isinstance(x, Tensor) else x for x in given], attrs), 0)
            back = CastNode(middle)
            t._rebase(back, 0)
    del old
    return t


def _snapshot(t: Tensor) -> Tensor:
    """A copy of `t` with `t`'s place in the graph, to be saved while `t` itself moves on."""
    kept = clone_plain(t)
    kept._requires_grad, kept._node, kept._output_number = t._requires_grad, t._node, t._output_number
    return kept


def write(plan: Plan, given: Sequence[Any], storage: Storage, target: Layout) -> None:
    """Record a single-output plan with its result stored at `target`."""
    storages = tuple([given[i]._storage for i in plan.tensors])
    numbers = tuple([x for x in given if not isinstance(x, Tensor)])
    if plan.op.kind == POINTWISE and plan.out.dtype is target.dtype:
        record(make_spec(plan.op, plan.spec.ins, (target,), plan.attrs), storages, (storage,), numbers)
        return
    fresh = Storage(storage.device, plan.nbytes)
    record(plan.spec, storages, (fresh,), numbers)
    copy_into(storage, target, make(fresh, plan.out))


def _type_word(dtype: DType) -> str:
    words = {
        "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long", "int32": "Int",
        "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
    }  # fmt: skip
    return words[dtype.name]


def _apply_out(plan: Plan, given: Sequence[Any], out: Any) -> Any:
    outs = out if isinstance(out, (tuple, list)) else (out,)
    name = plan.op.name
    if len(outs) != len(plan.outs):
        raise TypeError(f"{name}(): argument 'out': got {len(outs)} tensors, wanted {len(plan.outs)}")
    for o in outs:
        if not isinstance(o, Tensor):
            raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(o).__name__}")
    if state.grad and any(isinstance(x, Tensor) and x._requires_grad for x in (*given, *outs)):
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad.")
    results = apply(plan.op, given, plan.attrs)
    for o, result in zip(outs, results if isinstance(results, tuple) else (results,)):
        store_out(name, o, result)
    return out if not isinstance(out, list) else tuple(out)


def store_out(name: str, out: Tensor, result: Tensor) -> Tensor:
    """Put `result` into an `out=` tensor: checks device and dtype, resizes where the shape differs."""
    if out._storage.trace is not result._storage.trace:
        raise RuntimeError(f"{name}: out: got a tensor on {out.device}, wanted one on {result.device}")
    if not can_cast(result._layout.dtype, out._layout.dtype):
        raise RuntimeError(
            f"{name}: result type {_type_word(result._layout.dtype)} can't be cast to the desired output type {_type_word(out._layout.dtype)}"
        )
    if out._layout.shape != result._layout.shape:
        resize(out, result._layout.shape)
    if history.overlapping(out._layout):
        raise RuntimeError(f"{name}: out: unsupported operation: more than one element of the written-to tensor refers to a single memory location.")
    copy_into(out._storage, out._layout, result)
    out._bump()
    return out


def resize(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Give `t` another shape, in C order; its storage grows (contents kept) if it is too small."""
    lay = layout(t._layout.dtype, shape, contiguous_stride(shape), t._layout.offset)
    end = (lay.offset + lay.numel) * lay.dtype.itemsize
    if end > t._storage.nbytes:
        grown = Storage(t._storage.device, end)
        have = t._storage.nbytes // lay.dtype.itemsize
        if have:
            whole = layout(lay.dtype, (have,))
            copy_into(grown, whole, make(t._storage, whole))
        grown.version = t._storage.version
        t._storage = grown
    t._layout = lay
    return t


__all__ = [
    "CONTRACTION", "CUSTOM", "Plan", "apply", "apply_", "can_cast", "cast", "clone_plain", "copy_into", "empty", "fill_into", "find_plan",
    "full", "plans_of", "reduced_shape", "resize", "result_type", "set_default_dtype", "store_out",
]  # fmt: skip
