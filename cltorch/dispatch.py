"""From a call to an entry in the trace: checks, casts, recording, the autograd node; in place and with `out=` too.

Floor 6. What can be known from the operands' layouts is in a Plan (plans.py); here are the operands themselves.
fast.py is `apply` written out for one and two operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .autograd import history
from .autograd.graph import OpNode, Saved, WideOpNode, connect, refuse_inference
from .autograd.modes import counts, state
from .autograd.probe import MISSING, Probe
from .device import storage_device
from .dtypes import FLOAT, DType
from .engine import Spec, Storage, make_spec, record
from .ops.pointwise import CAST, COPY, FILL
from .ops.table import POINTWISE, Op
from .plans import (
    Plan,
    can_cast,
    key_of,
    make_plan,
    plans_of,
    reduced_shape,
    result_stride,
    result_type,
    set_default_dtype,
    set_outs,
    type_word,
)
from .shapes import Layout, contiguous_stride, layout
from .tensor import Tensor, make

__all__ = [
    "Plan", "apply", "apply_", "can_cast", "cast", "clone_plain", "copy_into", "empty", "fill_into", "find_plan",
    "full",
    "make_node", "plans_of", "reduced_shape", "resize", "result_stride", "result_type", "save_results",
    "set_default_dtype", "store_out", "write",
]  # fmt: skip


_copies: dict[tuple[Layout, Layout], Spec] = {}
_fills: dict[Layout, Spec] = {}
_in_place: dict[tuple[Any, ...], Spec] = {}


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
            raise TypeError(
                f"{op.name}(): argument '{name}' (position 1) must be Tensor, not {type(operands[0]).__name__}"
            )
        return found
    trace = first._storage.trace
    for i, x in enumerate(found):
        if isinstance(x, Tensor) and x._storage.trace is not trace:
            if x._layout.shape:
                raise RuntimeError(
                    f"{op.name}: Expected all tensors to be on the same device, but found at least two devices, "
                    f"{first.device} and {x.device}!"
                )
            found[i] = x.to(first.device)  # type: ignore[attr-defined]
    return found


def find_plan(op: Op, operands: Sequence[Any], attrs: tuple = ()) -> tuple[Plan, list[Any]]:
    """The plan for `operands`, and the operands checked and cast as it wants them."""
    given = _checked(op, operands)
    known = plans_of(op)
    key = key_of(given, attrs)
    plan = known.get(key)
    if plan is None:
        plan = known[key] = make_plan(op, given, attrs)
    if plan.casts:
        for i, dtype in plan.casts:
            given[i] = cast(given[i], dtype)
        key = key_of(given, attrs)
        plan = known.get(key)
        if plan is None:
            plan = known[key] = make_plan(op, given, attrs)
    if plan.bound is not None:
        given = [x if isinstance(x, Tensor) else _wrapped(x, *plan.bound) for x in given]
    return plan, given


def _wrapped(number: int, low: int, high: int) -> int:
    """An integer as C would store it in the dtype with these bounds. Raises OverflowError if it has more than 64
    bits."""
    if low <= number <= high:
        return number
    if not -(1 << 63) <= number < 1 << 64:
        raise OverflowError("int too big to convert")
    return (number - low) % (high - low + 1) + low


def apply(op: Op, operands: Sequence[Any], attrs: tuple = (), out: Any = None) -> Any:
    """Record `op` on Tensors and Python numbers.

    Args:
        attrs: static attributes, hashable, as the op's record defines them.
        out: a tensor (or tuple, for several outputs) that takes the result.

    Returns:
        A Tensor, or a tuple of Tensors for an op with several outputs.
    """
    plan = plans_of(op).get(key_of(operands, attrs))
    if plan is None or plan.casts or plan.bound is not None or out is not None:
        if any(isinstance(x, Probe) for x in operands):
            return MISSING
        plan, given = find_plan(op, operands, attrs)
        if out is not None:
            return _apply_out(plan, given, out)
    else:
        given = list(operands)  # the key holds only what _checked lets pass, but for devices
        if len(plan.tensors) > 1:
            trace = given[plan.tensors[0]]._storage.trace
            for i in plan.tensors:
                if given[i]._storage.trace is not trace:
                    given = _checked(op, given)
                    break
    tensors = [given[i] for i in plan.tensors]
    storages = tuple([t._storage for t in tensors])
    device = storages[0].device if storages else storage_device(None)
    fresh = tuple([Storage(device, o.nbytes) for o in plan.outs])
    if plan.constant is not None:
        fill_into(fresh[0], plan.out, plan.constant)
    else:
        numbers = () if len(tensors) == len(given) else tuple([x for x in given if not isinstance(x, Tensor)])
        record(plan.spec, storages, fresh, numbers)
    made = tuple([make(s, o) for s, o in zip(fresh, plan.outs)])
    if plan.differentiable and state.grad and any(t._requires_grad for t in tensors):
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
            node.inputs = tuple(
                [(Saved(x) if isinstance(x, Tensor) else x) if k else MISSING for x, k in zip(operands, keep)]
            )
        else:
            for x, k in zip(operands, keep):
                if k and isinstance(x, Tensor) and x._extra is not None:
                    refuse_inference(x)
            node.inputs = tuple([x if k else MISSING for x, k in zip(operands, keep)])
            node.versions = tuple(
                [x._storage.version if k and isinstance(x, Tensor) else -1 for x, k in zip(operands, keep)]
            )
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
    op = CAST
    known = plans_of(op)
    key = (given, dtype)
    plan = known.get(key)
    if plan is None:
        plan = Plan()
        plan.op, plan.attrs, plan.casts, plan.bound, plan.keeps, plan.reduces = op, (), (), None, {}, False
        plan.constant = None
        plan.tensors, plan.shapes = (0,), (given.shape,)
        set_outs(plan, (given,), (layout(dtype, given.shape, result_stride(given.shape, (given,))),))
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
    key = (src._layout, lay)
    spec = _copies.get(key)
    if spec is None:
        spec = _copies[key] = make_spec(COPY, (src._layout.broadcast_to(lay.shape),), (lay,))
    record(spec, (src._storage,), (storage,))


def fill_into(storage: Storage, lay: Layout, value: Any) -> None:
    """Record `storage[lay] = value` for a Python number."""
    spec = _fills.get(lay)
    if spec is None:
        spec = _fills[lay] = make_spec(FILL, (lay.dtype,), (lay,))
    record(spec, (), (storage,), (value,))


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


def _overlap(op: str, t: Tensor, operands: Sequence[Any]) -> list[Any]:
    """Operands safe to read while `t` is written: partly overlapping ones are an error where that is certain, else
    copied."""
    target = t._layout
    if history.overlapping(target):
        raise RuntimeError(
            f"{op}: unsupported operation: more than one element of the written-to tensor refers to a single memory "
            f"location. Please clone() the "
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
                    f"{op}: unsupported operation: some elements of the input tensor and the written-to tensor refer "
                    f"to a single memory location. "
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
    key = (op, *[x._layout if isinstance(x, Tensor) else type(x) for x in operands], attrs)
    spec = _in_place.get(key)
    if spec is not None and _simple(t, operands):
        record(
            spec, tuple([x._storage for x in operands if isinstance(x, Tensor)]), (t._storage,),
            () if spec.numbers == 0 else tuple([x for x in operands if not isinstance(x, Tensor)]),
        )  # fmt: skip
        t._bump()
        return t
    gradient = state.grad and any(isinstance(x, Tensor) and x._requires_grad for x in operands)
    history.check_in_place(op.name + "_", t, gradient)
    operands = _overlap(op.name + "_", t, _checked(op, operands))
    plan, given = find_plan(op, operands, attrs)
    target = t._layout
    if plan.out.shape != target.shape:
        raise RuntimeError(
            f"{op.name}_: output with shape {list(target.shape)} doesn't match the broadcast shape "
            f"{list(plan.out.shape)}"
        )
    if not can_cast(plan.out.dtype, target.dtype):
        raise RuntimeError(
            f"{op.name}_: result type {type_word(plan.out.dtype)} can't be cast to the desired output type "
            f"{type_word(target.dtype)}"
        )
    node = None
    if gradient and plan.differentiable and target.dtype.category == FLOAT:
        mask = sum(1 << i for i, x in enumerate(given) if isinstance(x, Tensor) and x._requires_grad)
        keep = plan.keep(mask)
        if keep is not None and keep[0] and given[0] is t:
            given[0] = _snapshot(t)  # backward needs the value that is about to be overwritten
        node = make_node(plan, given)
    write(plan, given, t._storage, target)
    t._bump()
    if _repeatable(plan, given, operands, target):
        _in_place[key] = make_spec(op, plan.spec.ins, (target,), attrs)
    if node is not None:
        if plan.out.dtype is target.dtype:
            t._rebase(node, 0)
            save_results(node, (t,))
        else:
            middle = make(t._storage, plan.out, True, node, 0)
            if node.out is True:
                node.out = Saved(apply(op, [x.detach() if isinstance(x, Tensor) else x for x in given], attrs), 0)
            t._rebase(CastNode(middle), 0)
    return t


def _simple(t: Tensor, operands: Sequence[Any]) -> bool:
    """True if an in-place op that was done before on such layouts needs no more than its entry: no graph, no overlap,
    one device."""
    storage = t._storage
    trace = storage.trace
    if t._extra is not None and t._extra.inference:
        return False
    for x in operands:
        if isinstance(x, Tensor):
            if x is not t and (x._storage is storage or x._storage.trace is not trace):
                return False
            if x._requires_grad and state.grad:
                return False
    return t._base is None or not (state.grad and t._base._requires_grad)


def _repeatable(plan: Plan, given: Sequence[Any], operands: Sequence[Any], target: Layout) -> bool:
    """True if the entry just written needed no casts, no copies and no wrapping of numbers."""
    same = all(a is b for a, b in zip(given, operands))
    return same and plan.op.kind == POINTWISE and plan.out.dtype is target.dtype and plan.bound is None


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


def _apply_out(plan: Plan, given: Sequence[Any], out: Any) -> Any:
    outs = out if isinstance(out, (tuple, list)) else (out,)
    name = plan.op.name
    if len(outs) != len(plan.outs):
        raise TypeError(f"{name}(): argument 'out': got {len(outs)} tensors, wanted {len(plan.outs)}")
    for o in outs:
        if not isinstance(o, Tensor):
            raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(o).__name__}")
    if state.grad and any(isinstance(x, Tensor) and x._requires_grad for x in (*given, *outs)):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            f"arguments requires grad."
        )
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
            f"{name}: result type {type_word(result._layout.dtype)} can't be cast to the desired output type "
            f"{type_word(out._layout.dtype)}"
        )
    if out._layout.shape != result._layout.shape:
        resize(out, result._layout.shape)
    if history.overlapping(out._layout):
        raise RuntimeError(
            f"{name}: out: unsupported operation: more than one element of the written-to tensor refers to a single "
            f"memory location."
        )
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
