"""Clipping of gradients by norm and by value. Nothing here waits for the device unless asked to raise on a bad norm.

Floor 7. Norms of order 2 and infinity, and the scaling, take all gradients in one launch (ops/totals.py).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

from ...autograd import no_grad
from ...copies import stack
from ...direct import chain, run, update
from ...dtypes import float32, float64
from ...engine import make_spec, record
from ...functions.creation import tensor
from ...ops.pointwise import CLAMP
from ...ops.totals import SCALE_ALL, TOTAL
from ...tensor import Tensor

Tensors = Tensor | Iterable[Tensor]


def _listed(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _plain(tensors: list[Tensor]) -> bool:
    """True if the kernels over many tensors may take them: contiguous, of one float dtype, apart, on one device."""
    dtype, trace = tensors[0]._layout.dtype, tensors[0]._storage.trace
    if dtype is not float32 and dtype is not float64:
        return False
    if len({id(t._storage) for t in tensors}) < len(tensors):
        return False
    return all(
        t._layout.dtype is dtype and t._layout.contiguous and t._storage.trace is trace and not t._requires_grad
        for t in tensors
    )


def _scale_all(tensors: list[Tensor], factor: Tensor) -> None:
    """Multiply all tensors by the 0-dimensional `factor`, in place."""
    layouts = tuple([t._layout for t in tensors])
    spec = make_spec(SCALE_ALL, (factor._layout, *layouts), layouts)
    storages = tuple([t._storage for t in tensors])
    record(spec, (factor._storage, *storages), storages)
    for t in tensors:
        t._bump()


def get_total_norm(
    tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """The norm of all tensors as if they were one vector: the norm of their norms.

    Raises:
        RuntimeError: it is not finite and `error_if_nonfinite` is set (this waits for the device).
    """
    parts, kind = _listed(tensors), float(norm_type)
    if not parts:
        return tensor(0.0)
    with no_grad():
        if kind in (2.0, math.inf) and _plain(parts):
            total = run(TOTAL, tuple(parts), ("squares" if kind == 2.0 else "largest",))
            total = total.sqrt() if kind == 2.0 else total
        elif kind == 2.0:
            squares = [(part * part).sum() if part.dim() else part * part for part in parts]
            total = (stack(squares).sum() if len(squares) > 1 else squares[0]).sqrt()
        elif kind == math.inf:
            largest = [part.abs().amax() for part in parts]
            total = stack(largest).amax() if len(largest) > 1 else largest[0]
        else:
            total = stack([part.norm(kind) for part in parts]).norm(kind)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {kind} for gradients from `parameters` is non-finite, so it cannot be "
            f"clipped. To "
            "disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients by max_norm / (total_norm + 1e-6) where that is below 1, in place."""
    with no_grad():
        factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        grads = [param.grad for param in _listed(parameters) if param.grad is not None]
        if grads and _plain([*grads, factor]) and not factor.dim():
            _scale_all(grads, factor)
            return
        for grad in grads:
            grad.mul_(factor)


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of `parameters` in place so that their total norm is at most `max_norm`.

    Returns:
        the total norm before clipping.

    Raises:
        RuntimeError: the norm is not finite and `error_if_nonfinite` is set.
    """
    held = _listed(parameters)
    total = get_total_norm([param.grad for param in held if param.grad is not None], norm_type, error_if_nonfinite)
    clip_grads_with_norm_(held, max_norm, total)
    return total


def clip_grad_norm(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """`clip_grad_norm_` under its older name."""
    warnings.warn(
        "torch.nn.utils.clip_grad_norm is now deprecated in favor of torch.nn.utils.clip_grad_norm_.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite)


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Cut every element of the gradients to [-clip_value, clip_value], in place."""
    bound = float(clip_value)
    grads = [param.grad for param in _listed(parameters) if param.grad is not None]
    if grads:
        with no_grad():
            chain(_clamp_all, grads, (), (-bound, bound))


def _clamp_all(*given: Any) -> None:
    *grads, low, high = given
    for grad in grads:
        update(CLAMP, grad, (), (low, high))
