"""How in-place operations change history: of the tensor, of its base, of the other views of that base.

Floor 5. A view keeps its root `_base`; the base keeps weak references to its views. After an in-place operation on a
view, the base's new history is a CopySlices node (the operation seen from the base), and each living view's history
is "a view of the new base".
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from ..shapes import Layout
from .graph import Node, connect
from .modes import state


def watch(base: Any, view: Any) -> None:
    """Let `view` follow the history of `base`."""
    views = base._more.views
    views.append(weakref.ref(view))
    if len(views) >= 16 and not len(views) & (len(views) - 1):  # at powers of two: drop the dead ones
        views[:] = [v for v in views if v() is not None]


def check_in_place(op: str, t: Any, gradient: bool) -> None:
    """Raise RuntimeError if `t` may not be changed in place. `gradient`: the operation would be recorded."""
    extra = t._extra
    if extra is not None and extra.inference and not state.inference:
        raise RuntimeError(
            f"{op}: Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to "
            f"get a normal tensor "
            "before doing inplace update."
        )
    base = t._base
    if not state.grad or not (gradient or (base is not None and base._requires_grad)):
        return
    if t._requires_grad and t._node is None and (base is None or not base._requires_grad):
        raise RuntimeError(f"{op}: a leaf Variable that requires grad is being used in an in-place operation.")
    if base is not None:
        if base._requires_grad and base._node is None and (extra is None or not extra.kind):
            raise RuntimeError(
                f"{op}: a view of a leaf Variable that requires grad is being used in an in-place operation."
            )
        if extra is not None and extra.kind == "no_grad":
            raise RuntimeError(
                f"{op}: A view was created in no_grad mode and is being modified inplace with grad mode enabled. "
                f"Given that this use case is "
                "ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and "
                "the inplace either both "
                "inside the no_grad block (if you don't want the inplace to be tracked) or both outside (if you want "
                "the inplace to be tracked)."
            )
        if extra is not None and extra.kind == "multiple":
            name = t._node.name() if t._node is not None else "a function"
            raise RuntimeError(
                f"{op}: Output {t._output_number} of {name} is a view and is being modified inplace. This view is the "
                f"output of a function that "
                "returns multiple views. Such functions do not allow the output views to be modified inplace. You "
                "should replace the inplace "
                "operation by an out-of-place one."
            )


def rebase(t: Any, node: Node, output_number: int) -> None:
    """`node` has just changed `t` in place; its first edge is that of the old `t`."""
    base = t._base
    if base is None or (t._extra is not None and t._extra.kind):
        _move_retain(t, node, output_number)
        t._requires_grad, t._node, t._output_number = True, node, output_number
        refresh(t)
        return
    slices = CopySlices(base, t._layout, node, output_number)
    _move_retain(base, slices, 0)
    base._requires_grad, base._node, base._output_number = True, slices, 0
    refresh(base)


def refresh(base: Any) -> None:
    """Make each living view of `base` a view of what `base` is now."""
    extra = base._extra
    if extra is None or not extra.views:
        return
    for reference in extra.views:
        view = reference()
        if (
            view is None
            or view._storage is not base._storage
            or (view._extra is not None and view._extra.kind == "no_grad")
        ):
            continue
        node = ViewOfBase(base, view._layout)
        _move_retain(view, node, 0)
        view._requires_grad, view._node, view._output_number = True, node, 0


def retain(t: Any) -> None:
    """Have the gradient of the non-leaf `t` put into its `.grad`."""
    reference = weakref.ref(t)

    def keep(gradient: Any) -> None:
        tensor = reference()
        if tensor is not None:
            tensor._set_grad(gradient if tensor.grad is None else tensor.grad + gradient)

    t._more.retain = keep
    t._node.extras.retain_hooks[t._output_number] = keep


def _move_retain(t: Any, node: Node, output_number: int) -> None:
    if t._extra is not None and t._extra.retain is not None and t._node is not None:
        hook = t._node.extras.retain_hooks.pop(t._output_number, None)
        if hook is not None:
            node.extras.retain_hooks[output_number] = hook


def overlapping(lay: Layout) -> bool:
    """True if two elements of the view may be the same memory (certain where strides nest)."""
    reach = 0
    for s, n in sorted((s, n) for s, n in zip(lay.stride, lay.shape) if n > 1):
        if s <= reach:
            return True
        reach += s * (n - 1)
    return False


class ViewOfBase(Node):
    """Backward of a view whose history was replaced: scatters the gradient to the base's shape."""

    __slots__ = ("base", "view")

    def __init__(self, base: Any, view: Layout):
        self.base, self.view = base._layout, view
        connect(self, (base,))

    def name(self) -> str:
        return "AsStridedBackward0"

    def run(self, grads: list[Any]) -> Sequence[Any]:
        return (None if grads[0] is None else grads[0]._strided_gradient(self.base, self.view),)


class CopySlices(Node):
    """An in-place operation on a view, seen from the base: edges are the base's old history, then the operation's
    other operands."""

    __slots__ = ("base", "view", "inner", "output_number")

    def __init__(self, base: Any, view: Layout, inner: Node, output_number: int):
        self.base, self.view, self.inner, self.output_number = base._layout, view, inner, output_number
        connect(self, (base,))
        self.targets += tuple(inner.targets[1:])
        self.slots += tuple(inner.slots[1:])

    def name(self) -> str:
        return "CopySlices"

    def run(self, grads: list[Any]) -> Sequence[Any]:
        g = grads[0]
        if g is None:
            return (None,) * len(self.targets)
        base, view = self.base, self.view
        extent = base.extent()[1] - base.offset + 1
        whole = g.new_zeros((extent,))
        whole.as_strided(base.shape, base.stride, 0).copy_(g)
        window = whole.as_strided(view.shape, view.stride, view.offset - base.offset)
        inner_grads: list[Any] = [None] * self.inner.width
        inner_grads[self.output_number] = window.clone()
        results = list(self.inner.run(inner_grads))
        first = None
        if self.targets[0] is not None:
            if results[0] is None:
                window.zero_()
            else:
                window.copy_(results[0])
            first = whole.as_strided(base.shape, base.stride, 0)
        return (first, *results[1:])

    def release(self) -> None:
        self.inner.release()
