"""Hand-written backward passes of composites: one node where the chain of primitives would record many.

Floor 6. Backward functions are written with Tensor methods, so they may be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.graph import SECOND_TIME, Node, Saved, modified, refuse_inference, sequence_numbers
from ..autograd.modes import counts, state
from ..tensor import Tensor

__all__ = ["differentiates", "give_backward"]


class CompositeNode(Node):
    """A node with one output: `backward(g, *saved)` gives the gradient of each operand.

    `saved` holds tensors, `versions` their storages' versions when they were saved; -1 where a Saved stands for one.
    """

    __slots__ = ("label", "backward", "saved", "versions")

    label: str
    backward: Callable[..., Any]
    saved: tuple[Any, ...] | None
    versions: tuple[int, ...]

    def name(self) -> str:
        return self.label

    def run(self, grads: list[Any]) -> Sequence[Any]:
        saved = self.saved
        if saved is None:
            raise RuntimeError(SECOND_TIME)
        if grads[0] is None:
            return (None,) * len(self.targets)
        for t, version in zip(saved, self.versions):
            if version < 0:
                saved = tuple([s.get(self) if type(s) is Saved else s for s in saved])
            elif t._storage.version != version:
                raise modified(t, version, t._node, t._output_number)
        found = self.backward(grads[0], *saved)
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
    if not state.grad:
        return out
    targets: list[Any] = []
    slots: list[int] = []
    reached = False
    for t in operands:
        if isinstance(t, Tensor) and t._requires_grad:
            reached = True
            targets.append(t._node or t)
            slots.append(t._output_number)
        else:
            targets.append(None)
            slots.append(0)
    if not reached:
        return out
    if out._base is not None:
        out = out.detach()  # it was computed as a view without history; it gets one now
    node = CompositeNode()
    node.targets, node.slots, node.more = tuple(targets), tuple(slots), None
    node.sequence = next(sequence_numbers)
    node.label, node.backward = label, backward
    out._set_history(node, 0)
    if counts.special or keep_out:
        kept = [Saved(t) for t in saves]
        if keep_out:
            kept.append(Saved(out, 0))
        node.saved, node.versions = tuple(kept), (-1,) * len(kept)
    else:
        for t in saves:
            if t._extra is not None:
                refuse_inference(t)
        node.saved, node.versions = tuple(saves), tuple([t._storage.version for t in saves])
    return out
