"""How the in-place and `out=` forms of a composite function are made from the function itself.

Floor 6. Operations of the table have real in-place entries (dispatch.apply_); these are for composites.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..autograd.modes import state
from ..dispatch import can_cast, store_out
from ..tensor import Tensor

__all__ = ["with_out", "in_place", "check_tensor"]


def _differentiates(operands: Any) -> bool:
    return state.grad and any(isinstance(x, Tensor) and x._requires_grad for x in operands)


def store(name: str, out: Any, result: Any) -> Any:
    """Put a result, or a tuple of results, into `out`."""
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise TypeError(
                f"{name}(): argument 'out': got {type(out).__name__}, wanted a tuple of {len(result)} tensors"
            )
        return (
            type(result)(*(store_out(name, o, r.detach()) for o, r in zip(out, result)))
            if hasattr(result, "_fields")
            else tuple(store_out(name, o, r.detach()) for o, r in zip(out, result))
        )
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    return store_out(name, out, result.detach())


def with_out(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with a keyword argument `out`, a tensor (or tuple of them) that takes the result."""

    @functools.wraps(function)
    def wrapped(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return function(*args, **kwargs)
        name = function.__name__
        outs = out if isinstance(out, (tuple, list)) else (out,)
        if _differentiates((*args, *outs)):
            raise RuntimeError(
                f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
                "arguments requires grad."
            )
        return store(name, out, function(*args, **kwargs))

    return wrapped


def in_place(function: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """The method `name_` that overwrites its tensor with `function` of it."""
    name = name or function.__name__

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        source = self.clone() if state.grad and self._requires_grad else self
        result = function(source, *args, **kwargs)
        if not can_cast(result.dtype, self.dtype):
            raise RuntimeError(
                f"{name}_: result type {result.dtype} can't be cast to the desired output type {self.dtype}"
            )
        if result.shape != self.shape:
            raise RuntimeError(
                f"{name}_: output with shape {list(self.shape)} doesn't match the broadcast shape {list(result.shape)}"
            )
        return self.copy_(result)

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"`{name}` in place."
    return method


def check_tensor(op: str, **arguments: Any) -> None:
    """Raise TypeError for the first argument that is not a Tensor."""
    for position, (name, value) in enumerate(arguments.items(), 1):
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{op}(): argument '{name}' (position {position}) must be Tensor, not {type(value).__name__}"
            )
