"""In-place pointwise updates of many tensors, recorded with as little Python as can be.

Floor 7. What `dispatch.apply_` decides per call is decided here once per combination of layouts; anything unusual goes to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..dispatch import apply_
from ..engine import Spec, make_spec
from ..ops.table import Op
from ..tensor import Tensor

_specs: dict[tuple[Any, ...], Spec | None] = {}


def update(op: Op, target: Tensor, operands: tuple[Tensor, ...], numbers: tuple[float, ...]) -> None:
    """target = op(target, *operands, *numbers), outside the graph.

    Args:
        op: a pointwise record.
        operands: tensors of the target's shape.
        numbers: Python floats. Give the same objects for all parameters of a step: which numbers are shared is part of the plan.
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


def _spec(op: Op, target: Tensor, operands: Iterable[Tensor], numbers: int) -> Spec | None:
    """The entry's Spec, or None if a cast, a broadcast or a check is needed."""
    layout = target._layout
    if not layout.dtype.is_floating_point or not layout.dense():
        return None
    for t in operands:
        if t._layout.dtype is not layout.dtype or t._layout.shape != layout.shape:
            return None
    ins = (layout, *(t._layout for t in operands), *(layout.dtype,) * numbers)
    return make_spec(op, ins, (layout,))
