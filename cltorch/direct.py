"""Recording without history: one entry with what dispatch decided for these layouts the first time.

Floor 6. For code that has a backward of its own or needs none: the layers that every network is made of, and
optimizers. Anything unusual (casts, broadcasts that are not planned, several devices) goes through dispatch. `chain`
records what such a layer always does in one go: 0.6 us per entry instead of 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .autograd.modes import no_grad
from .dispatch import Plan, apply, apply_, find_plan
from .engine import Chain, Recording, Spec, Storage, make_spec, watching
from .ops.table import Op
from .shapes import Layout, layout
from .tensor import Tensor, make

_plans: dict[tuple, Plan | None] = {}
_specs: dict[tuple, Spec | None] = {}
_chains: dict[tuple, tuple[Chain, tuple[tuple[bool, int, Layout], ...], bool] | None] = {}


def run(op: Op, operands: tuple[Any, ...], attrs: tuple = ()) -> Any:
    """The result (or tuple of results) of `op` on tensors and Python numbers, outside the graph."""
    key = (op, attrs, *[x._layout if isinstance(x, Tensor) else x.__class__ for x in operands])
    plan: Any = _plans.get(key, _plans)  # type: ignore[call-overload]
    if plan is _plans:
        plan = _planned(key, op, operands, attrs)
    tensors = [x for x in operands if isinstance(x, Tensor)]
    storages = tuple([t._storage for t in tensors])
    trace = storages[0].trace
    for s in storages:
        if s.trace is not trace:
            plan = None
    if plan is None:
        with no_grad():
            return apply(op, operands, attrs)
    numbers = () if len(tensors) == len(operands) else tuple([x for x in operands if not isinstance(x, Tensor)])
    device = trace.device
    if plan.single:
        storage = Storage(device, plan.nbytes)
        trace.record(plan.spec, storages, (storage,), numbers)
        return make(storage, plan.out)
    fresh = tuple([Storage(device, out.nbytes) for out in plan.outs])
    trace.record(plan.spec, storages, fresh, numbers)
    return tuple([make(s, out) for s, out in zip(fresh, plan.outs)])


def _planned(key: tuple, op: Op, operands: tuple[Any, ...], attrs: tuple) -> Plan | None:
    """The plan to keep for `key`; None where operands must be cast or numbers checked, which dispatch does each
    time.
    """
    plan, given = find_plan(op, operands, attrs)
    usual = plan.bound is None and plan.constant is None and all(a is b for a, b in zip(given, operands))
    _plans[key] = plan if usual else None
    return _plans[key]


def chain(
    build: Callable[..., Any],
    operands: Sequence[Tensor],
    attrs: tuple = (),
    numbers: Sequence[float] = (),
) -> Any:
    """`build(*operands, *numbers, *attrs)`, outside the graph; with layouts that it has seen before, in one go.

    Args:
        build: a module-level function that records entries with `run`, `update` and views of its operands, and uses no
            other tensors. Returns a tensor, a tuple of tensors, or None.
        operands: tensors of one device.
        attrs: hashable facts that decide what is recorded.
        numbers: floats whose values may change from call to call.
    """
    key = (build, attrs, *[t._layout for t in operands])
    known: Any = _chains.get(key, _chains)  # type: ignore[call-overload]
    if known is None or known is _chains or watching():
        return _first(key, build, operands, attrs, numbers) if known is _chains else build(*operands, *numbers, *attrs)
    entries, results, single = known
    given = [t._storage for t in operands]
    trace = given[0].trace
    for s in given:
        if s.trace is not trace:
            return build(*operands, *numbers, *attrs)
    if entries.writes and len(set(given)) < len(given):
        return build(*operands, *numbers, *attrs)
    device = trace.device
    fresh = [Storage(device, n) for n in entries.nbytes]
    # numbers become objects of their own: which of them are one object must not differ from call to call
    trace.record_chain(entries, given, fresh, [n * 1.0 for n in numbers])
    if single:
        is_fresh, i, lay = results[0]
        return make(fresh[i] if is_fresh else given[i], lay)
    return tuple([make(fresh[i] if is_fresh else given[i], lay) for is_fresh, i, lay in results]) or None


def _first(
    key: tuple, build: Callable[..., Any], operands: Sequence[Tensor], attrs: tuple, numbers: Sequence[float]
) -> Any:
    """Run `build` and keep what it recorded, if that can be repeated."""
    given = [t._storage for t in operands]
    trace = given[0].trace
    epoch, recording = trace.epoch, Recording(trace)
    own_numbers = [n * 1.0 for n in numbers]  # objects of their own, to be told from constants of equal value
    found = build(*operands, *own_numbers, *attrs)
    if watching() or trace.epoch != epoch or any(s.trace is not trace for s in given):
        return found
    _chains[key] = None
    seen = recording.chain(given, own_numbers)
    if seen is not None:
        entries, fresh = seen
        results: list[tuple[bool, int, Layout]] = []
        made = () if found is None else (found,) if isinstance(found, Tensor) else found
        for t in made:
            at = fresh.get(id(t._storage))
            if at is not None:
                results.append((True, at, t._layout))
            else:
                place = next((i for i, s in enumerate(given) if s is t._storage), None)
                if place is None:
                    return found
                results.append((False, place, t._layout))
        _chains[key] = (entries, tuple(results), isinstance(found, Tensor))
    return found


def transposed(t: Tensor) -> Tensor:
    """A matrix read with rows and columns exchanged, outside the graph."""
    given = t._layout
    found = given.memo.get("transposed")
    if found is None:
        (m, n), (s, d) = given.shape, given.stride
        found = given.memo["transposed"] = layout(given.dtype, (n, m), (d, s), given.offset)
    return make(t._storage, found)


def update(op: Op, target: Tensor, operands: tuple[Tensor, ...], numbers: tuple[float, ...]) -> None:
    """target = op(target, *operands, *numbers), outside the graph.

    Args:
        op: a pointwise record.
        operands: tensors of the target's shape.
        numbers: Python floats. Give the same objects for all parameters of a step: which numbers are shared is part
        of the plan.
    """
    layout, storage = target._layout, target._storage
    key = (op, layout, *[t._layout for t in operands])
    spec = _specs.get(key, _specs)
    if spec is _specs:
        spec = _specs[key] = _spec(op, target, operands, len(numbers))
    trace = storage.trace
    given = tuple([t._storage for t in operands])
    for s, t in zip(given, operands):
        if s.trace is not trace or s is storage and t._layout is not layout:
            spec = None
    if spec is None:
        apply_(op, target, (*operands, *numbers))
        return
    trace.record(spec, (storage, *given), (storage,), numbers)  # type: ignore[arg-type]
    storage.version += 1


def _spec(op: Op, target: Tensor, operands: tuple[Tensor, ...], numbers: int) -> Spec | None:
    """The entry's Spec, or None if a cast, a broadcast or a check is needed."""
    layout = target._layout
    if not layout.dtype.is_floating_point or not layout.dense():
        return None
    for t in operands:
        if t._layout.dtype is not layout.dtype or t._layout.shape != layout.shape:
            return None
    ins: tuple[Any, ...] = (layout, *(t._layout for t in operands), *(layout.dtype,) * numbers)
    return make_spec(op, ins, (layout,))
