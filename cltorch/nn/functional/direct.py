"""Recording without history, and functions with one backward of their own: the short way of the layers that every network is made of.

Floor 7. A layer such as `linear` is several entries in the trace but one node in the graph. `run` records one entry with what dispatch decided
for these layouts the first time; backward functions use it too, unless a second derivative is wanted, and then go by Tensor methods.
"""

from __future__ import annotations

from typing import Any

from ...autograd.modes import no_grad, state
from ...dispatch import Plan, apply, find_plan
from ...engine import Storage
from ...functions.nodes import give_backward
from ...ops.table import Op
from ...shapes import Layout, layout
from ...tensor import Tensor, make

__all__ = ["Layout", "give_backward", "layout", "make", "no_grad", "run", "state", "transposed"]

_plans: dict[tuple, Plan | None] = {}


def run(op: Op, operands: tuple[Any, ...], attrs: tuple = ()) -> Any:
    """The result (or tuple of results) of `op` on tensors and Python numbers, outside the graph."""
    key = (op, attrs, *[x._layout if isinstance(x, Tensor) else x.__class__ for x in operands])
    plan = _plans.get(key, _plans)  # type: ignore[call-overload]
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
    """The plan to keep for `key`; None where operands must be cast or numbers checked, which dispatch does each time."""
    plan, given = find_plan(op, operands, attrs)
    usual = plan.bound is None and all(a is b for a, b in zip(given, operands))
    _plans[key] = plan if usual else None
    return _plans[key]


def transposed(t: Tensor) -> Tensor:
    """A matrix read with rows and columns exchanged, outside the graph."""
    given = t._layout
    found = given.memo.get("transposed")
    if found is None:
        (m, n), (s, d) = given.shape, given.stride
        found = given.memo["transposed"] = layout(given.dtype, (n, m), (d, s), given.offset)
    return make(t._storage, found)
