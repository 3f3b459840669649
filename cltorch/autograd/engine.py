"""The backward pass: walks the graph from outputs to leaves.

Floor 5. Nodes run in decreasing order of their sequence numbers, so a node runs after all that use its outputs; no
recursion, no dependency counting. Gradients are computed with ordinary Tensor operations, which are recorded like any
others: with `create_graph` they carry a graph too.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from sys import getrefcount
from typing import Any

from .graph import GradientEdge, Node, _More
from .modes import state


def run(
    roots: Sequence[Any],
    gradients: Sequence[Any],
    keep_graph: bool,
    create_graph: bool,
    wanted: Sequence[Any] | None = None,
    accumulate: bool = True,
) -> list[Any]:
    """Propagate `gradients` of the tensors `roots`.

    Args:
        keep_graph: leave saved values in place for another pass.
        create_graph: record the gradient computation itself.
        wanted: the tensors whose gradients are asked for (None: all leaves that are reached).
        accumulate: add gradients to `.grad`; otherwise return those of `wanted`, None where one is not reached.
    """
    before, state.grad = state.grad, bool(create_graph)
    try:
        return _run(roots, gradients, keep_graph, create_graph, wanted, accumulate)
    finally:
        state.grad = before


def _run(
    roots: Sequence[Any],
    gradients: Sequence[Any],
    keep_graph: bool,
    create_graph: bool,
    wanted: Sequence[Any] | None,
    accumulate: bool,
) -> list[Any]:
    heap: list[tuple[int, Node]] = []
    waiting: dict[Node, list[Any]] = {}
    leaves: dict[int, list[Any]] = {}  # id -> [leaf, gradient so far]
    useful: set[Any] | None = None
    captures: dict[Node, list[int]] = {}
    if wanted is not None:
        places = [_place(t) for t in wanted]
        for target, slot in places:
            if isinstance(target, Node):
                captures.setdefault(target, []).append(slot)
        useful = _leading_to({id(target) for target, _ in places}, [_place(r)[0] for r in roots])
    captured: dict[tuple[Node, int], Any] = {}

    for root, gradient in zip(roots, gradients):
        target, slot = _place(root)
        _deliver(target, slot, gradient, heap, waiting, leaves)

    while heap:
        node = heappop(heap)[1]
        grads = waiting.pop(node)
        more = node.more
        if more is not None:
            _before(more, grads)
        if node in captures:
            for slot in captures[node]:
                captured[node, slot] = grads[slot]
        if useful is not None and node not in useful:
            continue
        results = node.run(grads)
        if more is not None and more.hooks:
            results = _after(more, results, grads)
        if not keep_graph:
            node.release()
        for target, slot, gradient in zip(node.targets, node.slots, results):
            if target is None:
                continue
            if isinstance(target, Node):
                if useful is not None and target not in useful and target not in captures:
                    continue
                buffer = waiting.get(target)
                if buffer is None:
                    buffer = waiting[target] = [None] * target.width
                    heappush(heap, (-target.sequence, target))
                if gradient is not None:
                    have = buffer[slot]
                    buffer[slot] = gradient if have is None else have + gradient
            elif gradient is not None:
                entry = leaves.get(id(target))
                if entry is None:
                    leaves[id(target)] = [target, gradient]
                else:
                    entry[1] = entry[1] + gradient
        del results, grads
        gradient = buffer = entry = have = None  # so that an unshared gradient can be taken over

    if wanted is None:
        for key in list(leaves):
            entry = leaves.pop(key)
            _leaf_hooks(entry)
            if entry[0]._requires_grad:
                _accumulate(entry, create_graph)
        return []
    return _finish(wanted, places, leaves, captured, create_graph, accumulate)


def _finish(
    wanted: Sequence[Any],
    places: list[tuple[Any, int]],
    leaves: dict[int, list[Any]],
    captured: dict,
    create_graph: bool,
    accumulate: bool,
) -> list[Any]:
    found: list[Any] = []
    for leaf in leaves.values():
        _leaf_hooks(leaf)
    for t, (target, slot) in zip(wanted, places):
        if isinstance(target, Node):
            gradient = captured.get((target, slot))
        else:
            entry = leaves.get(id(target))
            gradient = None if entry is None else entry[1]
        if accumulate:
            if gradient is not None:
                _accumulate([t, gradient], create_graph)
        else:
            found.append(gradient)
    return found


def _place(t: Any) -> tuple[Any, int]:
    if isinstance(t, GradientEdge):
        return t.target, t.output_nr
    node = t._node
    return (t, 0) if node is None else (node, t._output_number)


def _deliver(target: Any, slot: int, gradient: Any, heap: list, waiting: dict, leaves: dict) -> None:
    if isinstance(target, Node):
        buffer = waiting.get(target)
        if buffer is None:
            buffer = waiting[target] = [None] * target.width
            heappush(heap, (-target.sequence, target))
        buffer[slot] = gradient if buffer[slot] is None else buffer[slot] + gradient
    else:
        entry = leaves.setdefault(id(target), [target, None])
        entry[1] = gradient if entry[1] is None else entry[1] + gradient


def _leading_to(goals: set[int], roots: list[Any]) -> set[Any]:
    """The nodes below `roots` from which one of `goals` can be reached by an edge."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack = [r for r in roots if isinstance(r, Node)]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        order.append(node)
        stack.extend(t for t in node.targets if isinstance(t, Node) and t not in seen)
    order.sort(key=lambda node: node.sequence)
    useful: set[Any] = set()
    for node in order:
        if any(t is not None and (id(t) in goals or (isinstance(t, Node) and t in useful)) for t in node.targets):
            useful.add(node)
    return useful


def _before(more: _More, grads: list[Any]) -> None:
    for slot, hooks in more.tensor_hooks.items():
        if grads[slot] is not None:
            for hook in tuple(hooks.values()):
                changed = hook(grads[slot])
                if changed is not None:
                    grads[slot] = changed
    for hook in tuple(more.prehooks.values()):
        changed = hook(tuple(grads))
        if changed is not None:
            grads[:] = changed if isinstance(changed, tuple) else (changed,)
    for slot, hook in more.retain_hooks.items():
        if grads[slot] is not None:
            hook(grads[slot])


def _after(more: _More, results: Sequence[Any], grads: list[Any]) -> Sequence[Any]:
    for hook in tuple(more.hooks.values()):
        changed = hook(tuple(results), tuple(grads))
        if changed is not None:
            results = changed if isinstance(changed, tuple) else (changed,)
    return results


def _leaf_hooks(entry: list[Any]) -> None:
    extra = entry[0]._extra
    if extra is not None and extra.hooks:
        for hook in tuple(extra.hooks.values()):
            changed = hook(entry[1])
            if changed is not None:
                entry[1] = changed


class _Holder:
    __slots__ = ("_storage",)

    _storage: object


def _references_of_unshared() -> tuple[int, int]:
    """What getrefcount says of an object held by one local variable, and of one held by one attribute."""
    holder = _Holder()
    holder._storage = object()
    storage = holder._storage
    return getrefcount(holder), getrefcount(storage)


_TENSOR, _STORAGE = _references_of_unshared()


def _accumulate(entry: list[Any], create_graph: bool) -> None:
    """Add to a leaf's `.grad`, given [leaf, gradient]. A fresh gradient becomes `.grad` itself if nobody else holds it
    or its memory."""
    gradient = entry.pop()
    leaf = entry[0]
    have = leaf.grad
    if have is None:
        if create_graph:
            leaf._set_grad(gradient)
        else:
            storage = gradient._storage
            unshared = getrefcount(gradient) <= _TENSOR and getrefcount(storage) <= _STORAGE + (
                1 if storage.pending else 0
            )
            lay = gradient._layout
            if (
                unshared
                and lay.stride == leaf._layout.stride
                and lay.nbytes == storage.nbytes
                and gradient._extra is None
            ):
                leaf._set_grad(gradient.detach() if gradient._requires_grad else gradient)
            else:
                leaf._set_grad(gradient.detach().clone())
    elif create_graph:
        leaf._set_grad(have + gradient)
    else:
        have.add_(gradient)
    extra = leaf._extra
    if extra is not None and extra.accumulated:
        for hook in tuple(extra.accumulated.values()):
            hook(leaf)
