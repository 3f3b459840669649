"""Jacobians, Hessians and products with them, by repeated backward passes.

Floor 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import engine
from .modes import enable_grad


def _prepared(inputs: Any, create_graph: bool) -> tuple[Any, ...]:
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    if create_graph:
        return tuple(t.view_as(t) if t._requires_grad else t.detach().requires_grad_() for t in given)
    return tuple(t.detach().requires_grad_() for t in given)


def _zeros(t: Any) -> Any:
    return t.detach().new_zeros(t._layout.shape)


def _gradients(
    outputs: tuple[Any, ...], inputs: tuple[Any, ...], given: tuple[Any, ...], create_graph: bool, strict: bool = False
) -> list[Any]:
    pairs = [(o, g) for o, g in zip(outputs, given) if o._requires_grad]
    if not pairs:
        found: list[Any] = [None] * len(inputs)
    else:
        found = engine.run([o for o, _ in pairs], [g for _, g in pairs], True, create_graph, inputs, accumulate=False)
    if strict and any(g is None for g in found):
        raise RuntimeError(
            "functional: strict: an output is independent of an input, so that its gradient is always zero"
        )
    return [_zeros(t) if g is None else g for g, t in zip(found, inputs)]


def _called(func: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], bool]:
    out = func(*inputs)
    return (out, True) if isinstance(out, tuple) else ((out,), False)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """d func_i / d input_j, of shape output shape + input shape; nested tuples where there are several outputs or
    inputs.

    >>> cltorch.autograd.functional.jacobian(lambda x: x * x, cltorch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    several = isinstance(inputs, tuple)
    with enable_grad():
        ins = _prepared(inputs, create_graph)
        outs, many = _called(func, ins)
        rows = []
        for out in outs:
            shape = out._layout.shape
            flat = out.reshape(-1)
            columns: list[list[Any]] = [[] for _ in ins]
            for i in range(flat._layout.shape[0]):
                one = flat.detach().new_zeros(flat._layout.shape)
                one[i] = 1
                for column, g in zip(columns, _gradients((flat,), ins, (one,), create_graph, strict)):
                    column.append(g)
            rows.append(
                tuple(
                    type(t).stack(column).reshape(shape + t._layout.shape)
                    if column
                    else t.new_zeros(shape + t._layout.shape)
                    for column, t in zip(columns, ins)
                )
            )
    found = tuple(row if several else row[0] for row in rows)
    return found if many else found[0]


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a scalar function.

    >>> cltorch.autograd.functional.hessian(lambda x: (x * x * x).sum(), cltorch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    several = isinstance(inputs, tuple)

    def gradient(*ins: Any) -> Any:
        found = jacobian(func, ins, create_graph=True)
        return tuple(g.reshape(t._layout.shape) for g, t in zip(found, ins))

    found = jacobian(gradient, inputs if several else (inputs,), create_graph=create_graph, strict=strict)
    return found if several else found[0][0]


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(outputs, v times Jacobian)."""
    several = isinstance(inputs, tuple)
    with enable_grad():
        ins = _prepared(inputs, create_graph)
        outs, many = _called(func, ins)
        given = _vector(v, outs)
        found = tuple(_gradients(outs, ins, given, create_graph, strict))
    shown = outs if create_graph else tuple(o.detach() for o in outs)
    return (shown if many else shown[0]), (found if several else found[0])


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(outputs, Jacobian times v), by differentiating the vjp with respect to its vector."""
    with enable_grad():
        ins = _prepared(inputs, create_graph)
        outs, many = _called(func, ins)
        given = _vector(v, ins)
        dummies = tuple(_zeros(o).requires_grad_() for o in outs)
        first = _gradients(outs, ins, dummies, True, strict)
        found = tuple(_gradients(tuple(first), dummies, given, create_graph))
    shown = outs if create_graph else tuple(o.detach() for o in outs)
    return (shown if many else shown[0]), (found if many else found[0])


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(output, v times Hessian) of a scalar function."""
    several = isinstance(inputs, tuple)
    with enable_grad():
        ins = _prepared(inputs, create_graph)
        outs, _ = _called(func, ins)
        first = _gradients(outs, ins, tuple(o.detach().new_ones(o._layout.shape) for o in outs), True, strict)
        found = tuple(_gradients(tuple(first), ins, _vector(v, ins), create_graph))
    return (outs[0] if create_graph else outs[0].detach()), (found if several else found[0])


hvp = vhp  # the Hessian is symmetric


def _vector(v: Any, like: tuple[Any, ...]) -> tuple[Any, ...]:
    if v is None:
        if len(like) != 1 or like[0]._layout.numel != 1:
            raise RuntimeError(
                "functional: v: The vector v can only be None if the function has one output or input with a single "
                "element"
            )
        return (like[0].detach().new_ones(like[0]._layout.shape),)
    given = v if isinstance(v, tuple) else (v,)
    for i, (g, t) in enumerate(zip(given, like)):
        if g._layout.shape != t._layout.shape:
            raise RuntimeError(
                f"functional: v: entry {i} has size {list(g._layout.shape)}, wanted {list(t._layout.shape)}"
            )
    return given
