"""Handles that take a hook out again, and the tap through which a module's backward hooks see its gradients.

Floor 7. Knows modules only as the first argument that it hands to hooks.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any

from ..autograd import Function
from ..tensor import Tensor


class RemovableHandle:
    """Returned by every `register_*_hook`: `remove()` takes the hook out; as a context manager it does so at the end.

    Args:
        hooks: the dictionary that will hold the hook under `handle.id`.
        also: further dictionaries or sets keyed by the same id, cleaned together with it.
    """

    _ids = count()

    def __init__(self, hooks: OrderedDict, also: tuple[OrderedDict, ...] = ()) -> None:
        self.id = next(RemovableHandle._ids)
        self._holders = tuple(weakref.ref(d) for d in (hooks, *also))

    def remove(self) -> None:
        """Take the hook out; does nothing if it is out already or its owner is gone."""
        for holder in self._holders:
            hooks = holder()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self) -> tuple:
        return self.id, tuple(holder() for holder in self._holders)

    def __setstate__(self, state: tuple) -> None:
        self.id = state[0]
        self._holders = tuple(weakref.ref(OrderedDict() if d is None else d) for d in state[1])

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class _Tap(Function):
    """The identity on some tensors; its backward shows their gradients to `see` and passes on what that returns."""

    @staticmethod
    def forward(ctx: Any, see: Callable[[tuple], tuple], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.see = see
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        return (None, *ctx.see(grads))


def tapped(values: Any, see: Callable[[tuple], tuple]) -> tuple[Any, bool]:
    """`values` with a tap on its tensors that require a gradient, and whether there were any.

    `values` is a tensor, or a tuple, list or dict with tensors among its members (deeper ones are not seen, as in
    PyTorch).
    `see` gets one gradient (or None) per member and returns as many.
    """
    if isinstance(values, Tensor):
        (out,), found = _tapped_members((values,), see)
        return out, found
    if isinstance(values, dict):
        members, found = _tapped_members(tuple(values.values()), see)
        return (type(values)(zip(values, members)), found) if found else (values, False)
    if isinstance(values, (tuple, list)):
        members, found = _tapped_members(tuple(values), see)
        if not found:
            return values, False
        return (type(values)(*members) if hasattr(values, "_fields") else type(values)(members)), True
    return values, False


def _tapped_members(members: tuple, see: Callable[[tuple], tuple]) -> tuple[tuple, bool]:
    places = [i for i, v in enumerate(members) if isinstance(v, Tensor) and v.requires_grad]
    if not places:
        return members, False

    def spread(grads: tuple) -> tuple:
        full = [None] * len(members)
        for place, grad in zip(places, grads):
            full[place] = grad
        seen = see(tuple(full))
        return tuple(seen[place] for place in places)

    out = list(members)
    for place, tensor in zip(places, _Tap.apply(spread, *(members[i] for i in places))):
        out[place] = tensor
    return tuple(out), True


class BackwardTaps:
    """One call of a module between two taps: on its inputs and on its outputs.

    The output tap sees the gradients first: it runs the pre-hooks and keeps what they leave. The input tap then runs
    the hooks with both
    gradients; where no input requires a gradient, the output tap runs them with a None per input.
    """

    def __init__(self, module: Any, hooks: list[Callable], pre_hooks: list[Callable]) -> None:
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.grad_output: tuple = ()
        self.inputs, self.inputs_tapped = 0, False

    def on_inputs(self, args: tuple) -> tuple:
        self.inputs = len(args)
        args, self.inputs_tapped = tapped(args, self._see_inputs)
        return args

    def on_output(self, result: Any) -> Any:
        return tapped(result, self._see_outputs)[0]

    def _see_outputs(self, grads: tuple) -> tuple:
        for hook in self.pre_hooks:
            given = hook(self.module, grads)
            if given is not None:
                grads = _as_grads("full_backward_pre_hook", given, len(grads))
        self.grad_output = grads
        if not self.inputs_tapped:
            for hook in self.hooks:
                if hook(self.module, (None,) * self.inputs, grads) is not None:
                    raise RuntimeError(
                        "full_backward_hook: the hook returned gradients for the inputs of a module none of "
                        "whose inputs "
                        "requires a gradient; it should return None there"
                    )
        return grads

    def _see_inputs(self, grads: tuple) -> tuple:
        for hook in self.hooks:
            given = hook(self.module, grads, self.grad_output)
            if given is not None:
                grads = _as_grads("full_backward_hook", given, len(grads))
        return grads


def _as_grads(kind: str, given: Any, wanted: int) -> tuple:
    grads = given if isinstance(given, tuple) else (given,)
    if len(grads) != wanted:
        raise RuntimeError(f"{kind}: got {len(grads)} gradients from the hook, wanted {wanted}")
    return grads
