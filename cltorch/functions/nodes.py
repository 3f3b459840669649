"""Hand-written backward passes of composites: one node where the chain of primitives would record many.

Floor 6. Backward functions are written with Tensor methods, so they may be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.graph import SECOND_TIME, Node, Saved, connect
from ..autograd.modes import state
from ..tensor import Tensor

__all__ = ["differentiates", "give_backward"]


class CompositeNode(Node):
    """A node with one output: `backward(g, *saved)` gives the gradient of each operand."""

    __slots__ = ("label", "backward", "saved")

    label: str
    backward: Callable[..., Any]
    saved: list[Saved] | None

    def name(self) -> str:
        return self.label

    def run(self, grads: list[Any]) -> Sequence[Any]:
        if self.saved is None:
            raise RuntimeError(SECOND_TIME)
        if grads[0] is None:
            return (None,) * len(self.targets)
        found = self.backward(grads[0], *[s.get(self) for s in self.saved])
        return found if isinstance(found, tuple) else (found,)

    def release(self) -> None:
        if self.saved:
            self.saved = None


def differentiates(*operands: Any) -> bool:
    """True if an operation on `operands` has to go into the graph now."""
    return state.grad and any(isinstance(x, Tensor) and x._requires_grad for x in operands)


def give_backward(
    label: str,
    operands: Sequence[Any],
    out: Tensor,
    backward: Callable[..., Any],
    saves: Sequence[Tensor] = (),
    keep_out: bool = False,
) -> Tensor:
    """Make `out`, computed without history, the result of `operands` with this backward; returns `out`.

    Args:
        label: the name that `grad_fn` shows.
        backward: `(g, *saves, out if keep_out)` -> gradient, or tuple of one per operand.
        saves: tensors that backward needs.
        keep_out: backward also needs the result.
    """
    if not differentiates(*operands):
        return out
    if out._base is not None:
        out = out.detach()  # it was computed as a view without history; it gets one now
    node = CompositeNode()
    connect(node, operands)
    node.label, node.backward = label, backward
    out._set_history(node, 0)
    node.saved = [*(Saved(t) for t in saves), *([Saved(out, 0)] if keep_out else [])]
    return out
