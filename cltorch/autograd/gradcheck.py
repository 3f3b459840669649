"""Checks gradients against finite differences.

Floor 5. Every element of every floating input is moved by `eps`; the differences must agree with what backward gives.
For double precision.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import engine
from .modes import enable_grad, no_grad


class GradcheckError(RuntimeError):
    """The gradients disagree."""


def _tensors(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _floating(t: Any) -> bool:
    return hasattr(t, "_storage") and t._layout.dtype.is_floating_point


def _checked_inputs(inputs: tuple[Any, ...], raise_exception: bool) -> None:
    wanted = [t for t in inputs if hasattr(t, "_storage") and t.requires_grad]
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have "
            "requires_grad=True."
        )
    for i, t in enumerate(inputs):
        if hasattr(t, "_storage") and t.requires_grad:
            if t._layout.dtype.name != "float64":
                warnings.warn(
                    f"Input #{i} requires gradient and is not a double precision floating point. This check will "
                    f"likely fail if all the inputs are "
                    "not of double precision floating point.",
                    stacklevel=3,
                )
            if any(s == 0 and n > 1 for s, n in zip(t._layout.stride, t._layout.shape)):
                raise RuntimeError(
                    f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                    f"non-overlapping."
                )


def _evaluate(func: Callable[..., Any], inputs: tuple[Any, ...]) -> list[Any]:
    return [o for o in _tensors(func(*inputs)) if _floating(o)]


def _numeric(func: Callable[..., Any], inputs: tuple[Any, ...], k: int, eps: float) -> list[np.ndarray]:
    """d output / d input k, one array (input elements, output elements) per output."""
    t = inputs[k]
    values = t.detach().numpy()
    columns: list[list[np.ndarray]] = []
    for index in np.ndindex(*values.shape):
        sides = []
        for sign in (1, -1):
            moved = values.copy()
            moved[index] += sign * eps
            given = list(inputs)
            given[k] = t.detach().clone()
            given[k].copy_(given[k].new_tensor(moved))
            given[k].requires_grad_(True)
            with enable_grad():
                sides.append([o.detach().numpy().reshape(-1).astype(np.float64) for o in _evaluate(func, tuple(given))])
        columns.append([(a - b) / (2 * eps) for a, b in zip(*sides)])
    if not columns:
        return [np.zeros((0, o._layout.numel)) for o in _evaluate(func, inputs)]
    return [np.stack(rows) for rows in zip(*columns)]


def _analytic(
    func: Callable[..., Any], inputs: tuple[Any, ...], wanted: Sequence[int], fast: bool = False
) -> list[list[np.ndarray]]:
    """Per output, per wanted input: the Jacobian from backward, (input elements, output elements)."""
    found: list[list[np.ndarray]] = []
    with enable_grad():
        outputs = _evaluate(func, inputs)
        for out in outputs:
            n = out._layout.numel
            jacobians = [np.zeros((inputs[k]._layout.numel, n)) for k in wanted]
            if out.requires_grad:
                for i in range(n):
                    one = np.zeros(n)
                    one[i] = 1
                    g = out.detach().new_tensor(one.reshape(out._layout.shape))
                    grads = engine.run([out], [g], True, False, [inputs[k] for k in wanted], accumulate=False)
                    for jacobian, grad, k in zip(jacobians, grads, wanted):
                        if grad is not None:
                            if grad._layout.shape != inputs[k]._layout.shape:
                                raise GradcheckError(
                                    f"Analytical gradient has incorrect size: got {list(grad._layout.shape)}, wanted "
                                    f"{list(inputs[k]._layout.shape)}"
                                )
                            if grad._layout.dtype is not inputs[k]._layout.dtype:
                                raise GradcheckError(
                                    f"Analytical gradient has incorrect dtype: got {grad.dtype}, wanted "
                                    f"{inputs[k].dtype}"
                                )
                            jacobian[:, i] = grad.detach().numpy().reshape(-1)
            found.append(jacobians)
    return found


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare the gradients of `func` with central differences.

    Args:
        func: takes Tensors, returns one or several.
        inputs: a Tensor or a tuple; those that require grad, in float64, are checked.
        eps: how far inputs are moved. atol, rtol: allowed differences.
        raise_exception: raise GradcheckError where they disagree, else return False.
        nondet_tol: how far two backward passes may differ.
        check_undefined_grad: accepted, as are the remaining arguments, for PyTorch programs.

    **Source** central differences: (f(x + eps) - f(x - eps)) / (2 eps).

    >>> x = cltorch.tensor([1.0, 2.0], dtype=cltorch.float64, requires_grad=True)
    >>> cltorch.autograd.gradcheck(lambda x: x * x, x)
    True
    """
    try:
        return _check(func, _tensors(inputs), eps, atol, rtol, nondet_tol, raise_exception)
    except GradcheckError:
        if raise_exception:
            raise
        return False


def _check(
    func: Callable[..., Any],
    inputs: tuple[Any, ...],
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
    raise_exception: bool,
) -> bool:
    _checked_inputs(inputs, raise_exception)
    wanted = [k for k, t in enumerate(inputs) if hasattr(t, "_storage") and t.requires_grad]
    analytic = _analytic(func, inputs, wanted)
    again = _analytic(func, inputs, wanted)
    for i, (one, two) in enumerate(zip(analytic, again)):
        for k, a, b in zip(wanted, one, two):
            if a.size and np.nanmax(np.abs(a - b)) > nondet_tol:
                raise GradcheckError(
                    f"Backward is not reentrant, i.e., running backward with same input and grad_output multiple "
                    f"times gives different values, although "
                    f"analytical gradient matches numerical gradient. The tolerance for nondeterminism was "
                    f"{nondet_tol}. (output {i}, input {k})"
                )
    for place, k in enumerate(wanted):
        for i, numeric in enumerate(_numeric(func, inputs, k, eps)):
            found = analytic[i][place]
            if not np.allclose(found, numeric, rtol=rtol, atol=atol, equal_nan=True):
                raise GradcheckError(
                    f"Jacobian mismatch for output {i} with respect to input "
                    f"{k},\nnumerical:{numeric}\nanalytical:{found}\n"
                )
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Compare the gradients of the gradients of `func` with central differences; arguments as of `gradcheck`.

    Args:
        grad_outputs: gradients of the outputs at which to check; random ones if not given.
    """
    given = _tensors(inputs)
    with no_grad():
        outputs = _evaluate(func, given)
    if grad_outputs is None:
        generator = np.random.default_rng(0)
        grads = tuple(
            o.detach().new_tensor(generator.uniform(-1, 1, o._layout.shape), dtype=o.dtype).requires_grad_()
            for o in outputs
        )
    else:
        grads = tuple(g.detach().clone().requires_grad_() for g in _tensors(grad_outputs))
    count = len(given)

    def gradients(*args: Any) -> tuple[Any, ...]:
        args = tuple(a if not hasattr(a, "_storage") or a.requires_grad or not _floating(a) else a for a in args)
        ins, gs = args[:count], args[count:]
        with enable_grad():
            pairs = [(o, g) for o, g in zip(_evaluate(func, ins), gs) if o.requires_grad]
            wanted = [t for t in ins if hasattr(t, "_storage") and t.requires_grad]
            if not pairs:
                return ()
            found = engine.run([o for o, _ in pairs], [g for _, g in pairs], True, True, wanted, accumulate=False)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradients, given + grads, eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception, nondet_tol=nondet_tol
    )
