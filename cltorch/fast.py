"""The short way from `a + b` to the trace: dispatch.apply written out for pointwise ops, matrix products (`binary`
serves them too) and reductions.

Floor 6. Everything that can be known from the layouts is in the Plan. What is left per call: look the plan up, make a
Storage and a Tensor, record, and fill in a node if an operand requires a gradient. Whatever is unusual (casts, other
devices, hooks, a first call) goes to `dispatch.apply`, which decides the same questions slowly. Two microseconds of
Python are spent here for every operation of every user, so this room repeats itself instead of calling functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .autograd.graph import OpNode, Saved, refuse_inference, sequence_numbers
from .autograd.modes import counts, state
from .autograd.probe import MISSING, Probe
from .dispatch import apply, plans_of, save_results
from .engine import Storage
from .ops.table import Op
from .tensor import Tensor, from_array

_new = object.__new__
_get = getattr


def unary(op: Op) -> Callable[[Tensor], Tensor]:
    """`method(self)` for a pointwise op of one operand."""
    plans = plans_of(op)

    def method(self: Tensor) -> Tensor:
        plan = plans.get(self._layout)
        if plan is None or plan.casts or counts.special:
            return apply(op, (self,))
        source = self._storage
        trace = source.trace
        storage = Storage(trace.device, plan.nbytes)
        trace.record(plan.spec, (source,), (storage,))
        out = _new(Tensor)
        out._storage = storage
        out._layout = plan.out
        out._base = out._extra = None
        out._output_number = 0
        if self._requires_grad and plan.differentiable and state.grad:
            node = _new(OpNode)
            node.plan = plan
            node.targets = (self._node or self,)
            node.slots = (self._output_number,)
            node.more = None
            node.sequence = next(sequence_numbers)
            out._requires_grad = True
            out._node = node
            keep: Any = plan.keeps.get(1, MISSING)
            if keep is MISSING:
                keep = plan.keep(1)
            if keep is None:
                node.inputs = node.versions = node.out = None
            else:
                if keep[0]:
                    if self._extra is not None:
                        refuse_inference(self)
                    node.inputs = (self,)
                    node.versions = (source.version,)
                else:
                    node.inputs = node.versions = None
                node.out = Saved(out, 0) if keep[1] else None
        else:
            out._requires_grad = False
            out._node = None
        return out

    return method


def binary(op: Op, unsupported: Any = None) -> Callable[[Tensor, Any], Tensor]:
    """`method(self, other)` for a pointwise op of two operands. `unsupported` is returned for operands of other types,
    if given."""
    plans = plans_of(op)

    def method(self: Tensor, other: Any) -> Any:
        targets: tuple[Any, Any]
        kind = type(other)
        if kind is float or kind is int:
            plan = plans.get((self._layout, kind))
            if plan is None or plan.casts or counts.special:
                return apply(op, (self, other))
            if plan.bound is not None and not plan.bound[0] <= other <= plan.bound[1]:
                return apply(op, (self, other))  # wraps the number around
            source = self._storage
            trace = source.trace
            storage = Storage(trace.device, plan.nbytes)
            trace.record(plan.spec, (source,), (storage,), (other,))
            mask = 1 if self._requires_grad else 0
            if mask and plan.differentiable and state.grad:
                node = _new(OpNode)
                node.plan = plan
                node.targets = (self._node or self, None)
                node.slots = (self._output_number, 0)
            else:
                node = None
        else:
            lay = _get(other, "_layout", None)
            if lay is None:
                if unsupported is not None and kind is not bool:
                    if isinstance(other, np.ndarray):
                        return apply(op, (self, from_array(other, device=self.device)))
                    if not isinstance(other, (int, float, np.generic, Probe)):
                        return unsupported
                return apply(op, (self, other))
            plan = plans.get((self._layout, lay))
            source = self._storage
            trace = source.trace
            second = other._storage
            if plan is None or plan.casts or counts.special or second.trace is not trace:
                return apply(op, (self, other))
            storage = Storage(trace.device, plan.nbytes)
            trace.record(plan.spec, (source, second), (storage,))
            if self._requires_grad:
                if other._requires_grad:
                    mask = 3
                    targets = (self._node or self, other._node or other)
                else:
                    mask = 1
                    targets = (self._node or self, None)
            elif other._requires_grad:
                mask = 2
                targets = (None, other._node or other)
            else:
                mask = 0
            if mask and plan.differentiable and state.grad:
                node = _new(OpNode)
                node.plan = plan
                node.targets = targets
                node.slots = (self._output_number, other._output_number)
            else:
                node = None
        out = _new(Tensor)
        out._storage = storage
        out._layout = plan.out
        out._base = out._extra = None
        out._output_number = 0
        out._node = node
        if node is None:
            out._requires_grad = False
            return out
        out._requires_grad = True
        node.more = None
        node.sequence = next(sequence_numbers)
        keep: Any = plan.keeps.get(mask, MISSING)
        if keep is MISSING:
            keep = plan.keep(mask)
        if keep is None:
            node.inputs = node.versions = node.out = None
            return out
        first, also, result = keep
        if first and self._extra is not None:
            refuse_inference(self)
        if also:
            if kind is float or kind is int:
                version = -1
            else:
                version = second.version
                if other._extra is not None:
                    refuse_inference(other)
            node.inputs = (self if first else MISSING, other)
            node.versions = (source.version if first else -1, version)
        elif first:
            node.inputs = (self, MISSING)
            node.versions = (source.version, -1)
        else:
            node.inputs = node.versions = None
        if result:
            node.out = True
            save_results(node, (out,))
        else:
            node.out = None
        return out

    return method


def reduction(op: Op) -> Callable[[Tensor, tuple[int, ...], bool], Tensor]:
    """`method(x, dims, keepdim)` for a reduction; `dims` counted from the front."""
    plans = plans_of(op)

    def method(self: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
        attrs = (dims, keepdim)
        plan = plans.get((self._layout, attrs))
        if plan is None or plan.casts or plan.constant is not None or counts.special:
            return apply(op, (self,), attrs)
        source = self._storage
        trace = source.trace
        storage = Storage(trace.device, plan.nbytes)
        trace.record(plan.spec, (source,), (storage,))
        out = _new(Tensor)
        out._storage = storage
        out._layout = plan.out
        out._base = out._extra = None
        out._output_number = 0
        if self._requires_grad and plan.differentiable and state.grad:
            _history(plan, (self,), out)
        else:
            out._requires_grad = False
            out._node = None
        return out

    return method


def several(op: Op) -> Callable[..., Tensor]:
    """`function(a, b, c, …)` for a pointwise op of more than two operands, tensors or Python numbers."""
    plans = plans_of(op)

    def function(*operands: Any) -> Any:
        plan = plans.get(tuple([_get(x, "_layout", None) or x.__class__ for x in operands]))
        if plan is None or plan.casts or plan.bound is not None or counts.special or not plan.tensors:
            return apply(op, operands)
        storages = tuple([operands[i]._storage for i in plan.tensors])
        trace = storages[0].trace
        for s in storages:
            if s.trace is not trace:
                return apply(op, operands)
        storage = Storage(trace.device, plan.nbytes)
        if len(storages) == len(operands):
            trace.record(plan.spec, storages, (storage,))
        else:
            tensors = plan.tensors
            trace.record(
                plan.spec, storages, (storage,), tuple([x for i, x in enumerate(operands) if i not in tensors])
            )
        out = _new(Tensor)
        out._storage = storage
        out._layout = plan.out
        out._base = out._extra = None
        out._output_number = 0
        if plan.differentiable and state.grad:
            for i in plan.tensors:
                if operands[i]._requires_grad:
                    _history(plan, operands, out)
                    return out
        out._requires_grad = False
        out._node = None
        return out

    return function


def _history(plan: Any, operands: tuple[Any, ...], out: Tensor) -> None:
    """Give `out`, one result of `operands`, its node; there are no hooks on saved tensors."""
    node = _new(OpNode)
    node.plan = plan
    node.more = None
    node.sequence = next(sequence_numbers)
    mask, bit = 0, 1
    targets: list[Any] = []
    slots = []
    for x in operands:
        if isinstance(x, Tensor) and x._requires_grad:
            mask |= bit
            targets.append(x._node or x)
            slots.append(x._output_number)
        else:
            targets.append(None)
            slots.append(0)
        bit <<= 1
    node.targets, node.slots = tuple(targets), tuple(slots)
    out._requires_grad = True
    out._node = node
    keep: Any = plan.keeps.get(mask, MISSING)
    if keep is MISSING:
        keep = plan.keep(mask)
    node.inputs = node.versions = node.out = None
    if keep is None:
        return
    inputs, versions, any_kept = [], [], False
    for x, kept in zip(operands, keep):
        if not kept:
            inputs.append(MISSING)
            versions.append(-1)
            continue
        any_kept = True
        inputs.append(x)
        if isinstance(x, Tensor):
            if x._extra is not None:
                refuse_inference(x)
            versions.append(x._storage.version)
        else:
            versions.append(-1)
    if any_kept:
        node.inputs, node.versions = tuple(inputs), tuple(versions)
    if keep[-1]:
        node.out = Saved(out, 0)
