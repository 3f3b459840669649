"""Automatic differentiation: the graph, the backward pass, grad modes, user functions and their checks.

Floor 5. Imports the engine's floor and below; Tensors are known only by their attributes. `cltorch.autograd` offers
PyTorch's names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import engine, functional, graph
from .function import Function
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .modes import enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled

__all__ = [
    "Function", "GradcheckError", "Variable", "backward", "detect_anomaly", "enable_grad", "functional", "grad",
    "gradcheck", "gradgradcheck", "graph", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "no_grad",
    "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,)


def _gradients(outputs: tuple[Any, ...], given: tuple[Any, ...]) -> list[Any]:
    """A gradient per output: the given one, checked, or 1 for a scalar. Raises RuntimeError as PyTorch does."""
    found: list[Any] = []
    for i, (out, g) in enumerate(zip(outputs, given)):
        if isinstance(out, graph.GradientEdge):
            if g is None:
                raise RuntimeError(
                    "grad: grad_outputs: got None, wanted a gradient for the output that is a GradientEdge"
                )
            found.append(g)
            continue
        if not out._requires_grad:
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        if g is None:
            if out._layout.numel != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if not out._layout.dtype.is_floating_point:
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {out.dtype}")
            found.append(out.detach().new_ones(out._layout.shape))
        elif not hasattr(g, "_storage"):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        elif g._layout.shape != out._layout.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {g.shape} and output[{i}] has a shape of "
                f"{out.shape}."
            )
        else:
            found.append(g)
    return found


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` with respect to the graph's leaves to their `.grad`.

    Args:
        tensors: a tensor or a sequence of them.
        grad_tensors: the gradient of each; may be None for scalars.
        retain_graph: keep saved values, so that backward can run again (default: the value of `create_graph`).
        create_graph: record the computation of the gradients, for higher derivatives.
        inputs: accumulate only into these.

    Raises:
        RuntimeError: a tensor requires no gradient, is not a scalar and has no gradient given, or the graph was freed.

    >>> x = cltorch.tensor([2.0], requires_grad=True)
    >>> cltorch.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([4.])
    """
    if inputs is not None and isinstance(inputs, Sequence) and not inputs:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    given = grad_tensors if grad_tensors is not None else grad_variables
    outputs = _tuple(tensors)
    grads = _gradients(outputs, (None,) * len(outputs) if given is None else _tuple(given))
    keep = create_graph if retain_graph is None else retain_graph
    wanted = None if inputs is None else _checked(_tuple(inputs))
    engine.run(outputs, grads, keep, create_graph, wanted, accumulate=True)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs` with respect to `inputs`, without touching any `.grad`.

    Args:
        outputs, inputs: a tensor or a sequence of them.
        grad_outputs: the gradient of each output; may be None for scalars.
        retain_graph, create_graph: as of `backward`.
        allow_unused: give None for an input that was not used, instead of raising.
        is_grads_batched: the first dim of each of `grad_outputs` counts gradients; one pass runs per gradient.
        materialize_grads: give zeros for an input that was not used.

    Raises:
        RuntimeError: an input requires no gradient, or was not used and neither `allow_unused` nor `materialize_grads`
            is set.

    >>> x = cltorch.tensor(3.0, requires_grad=True)
    >>> cltorch.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    outs, ins = _tuple(outputs), _checked(_tuple(inputs))
    given = (None,) * len(outs) if grad_outputs is None else _tuple(grad_outputs)
    keep = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        return _batched(outs, ins, given, keep, create_graph, allow_unused, materialize_grads)
    found = engine.run(outs, _gradients(outs, given), keep, create_graph, ins, accumulate=False)
    for i, g in enumerate(found):
        if g is None:
            if materialize_grads:
                found[i] = ins[i].detach().new_zeros(ins[i]._layout.shape)
            elif not allow_unused:
                raise RuntimeError(
                    "One of the differentiated Tensors appears to not have been used in the graph. Set "
                    "allow_unused=True if this is the "
                    "desired behavior."
                )
    return tuple(found)


def _batched(
    outs: Any, ins: Any, given: Any, keep: bool, create_graph: bool, allow_unused: Any, materialize: bool
) -> tuple[Any, ...]:
    size = given[0]._layout.shape[0]
    rows = [
        grad(
            outs,
            ins,
            [None if g is None else g[i] for g in given],
            keep or i < size - 1,
            create_graph,
            True,
            allow_unused,
            False,
            materialize,
        )
        for i in range(size)
    ]
    return tuple(None if column[0] is None else type(column[0]).stack(column) for column in zip(*rows))


def _checked(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    for t in inputs:
        if not isinstance(t, graph.GradientEdge) and not getattr(t, "_requires_grad", False):
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    return inputs


class _VariableType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return hasattr(instance, "_storage")


class Variable(metaclass=_VariableType):
    """`Variable(tensor)` of old PyTorch programs: the tensor itself, outside the graph."""

    def __new__(cls, data: Any, requires_grad: bool = False, volatile: bool = False) -> Any:
        return data.detach().requires_grad_(requires_grad)


class set_detect_anomaly:
    """Kept for PyTorch programs: errors of a backward pass already name the operation; NaNs are not searched for."""

    def __init__(self, mode: bool = True, check_nan: bool = True):
        self.mode = mode

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        return None


class detect_anomaly(set_detect_anomaly):
    """As `set_detect_anomaly(True)`."""

    def __init__(self, check_nan: bool = True):
        super().__init__(True, check_nan)
