"""The graph: nodes made by recorded operations, the values they save for backward, and hooks.

Floor 5. Knows no kernels, and Tensors only by their attributes (`_storage`, `_layout`, `_node`, `_requires_grad`,
`_output_number`); tensor.py registers how one is made. An edge is a pair (target, slot): the target is the Node that
made an operand and the slot which of its outputs, or the target is the leaf Tensor itself, into whose `.grad` the
gradient goes; None where no gradient is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from .modes import saved_tensors_hooks, state
from .probe import MISSING

__all__ = ["Node", "RemovableHandle", "saved_tensors_hooks", "save_on_cpu", "get_gradient_edge", "GradientEdge"]

sequence_numbers = count(1)

SECOND_TIME = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
    "been freed). Saved "
    "intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to "
    "backward through the graph a second time or if you need to access saved tensors after calling backward."
)

_make_tensor: list[Callable[..., Any]] = []


def register_tensor(make: Callable[..., Any]) -> None:
    """tensor.py says here how a Tensor is made: `make(storage, layout, requires_grad, node, output_number)`."""
    _make_tensor[:] = [make]


class RemovableHandle:
    """What registering a hook returns; `remove()` takes the hook out again."""

    _numbers = count()

    def __init__(self, hooks: dict[int, Any]):
        self.hooks: dict[int, Any] | None = hooks
        self.id = next(RemovableHandle._numbers)

    def remove(self) -> None:
        if self.hooks is not None:
            self.hooks.pop(self.id, None)
            self.hooks = None

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def add_hook(hooks: dict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


class _More:
    """What few nodes have: hooks and the user's metadata."""

    __slots__ = ("tensor_hooks", "retain_hooks", "prehooks", "hooks", "metadata")

    def __init__(self) -> None:
        self.tensor_hooks: dict[int, dict[int, Any]] = {}  # by slot: hook(grad) -> grad or None
        self.retain_hooks: dict[int, Any] = {}  # by slot: hook(grad)
        self.prehooks: dict[int, Any] = {}
        self.hooks: dict[int, Any] = {}
        self.metadata: dict[Any, Any] = {}


class Node:
    """A step of the backward pass: gradients of outputs in, gradients of inputs out.

    Attributes:
        targets, slots: the edges.
        sequence: a node's operands were made before it, so they have smaller numbers: the engine goes from high to low.
        width: number of outputs whose gradients it takes.
    """

    __slots__ = ("targets", "slots", "sequence", "more", "__weakref__")
    width = 1

    targets: tuple[Any, ...]
    slots: tuple[int, ...]
    sequence: int
    more: _More | None

    def name(self) -> str:
        return type(self).__name__

    def run(self, grads: list[Any]) -> Sequence[Any]:
        """The gradients for `targets`, given those of the outputs (None where there is none)."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of what was saved for backward."""

    @property
    def extras(self) -> _More:
        if self.more is None:
            self.more = _More()
        return self.more

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        return tuple(
            (t if t is None or isinstance(t, Node) else AccumulateGrad(t), s) for t, s in zip(self.targets, self.slots)
        )

    @property
    def metadata(self) -> dict[Any, Any]:
        return self.extras.metadata

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """`hook(grad_inputs, grad_outputs)` runs after the node; what it returns replaces the gradients of its
        inputs."""
        return add_hook(self.extras.hooks, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """`hook(grad_outputs)` runs before the node; what it returns replaces the gradients of its outputs."""
        return add_hook(self.extras.prehooks, hook)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class AccumulateGrad:
    """How a leaf looks from `next_functions`: `variable` is the tensor whose `.grad` receives the gradient."""

    __slots__ = ("variable",)
    next_functions: tuple[()] = ()

    def __init__(self, variable: Any):
        self.variable = variable

    def name(self) -> str:
        return "AccumulateGrad"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return hash(id(self.variable))

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """`hook(grad_inputs, grad_outputs)` runs after the gradient was accumulated; both tuples are empty or hold
        it."""
        return self.variable.register_post_accumulate_grad_hook(lambda variable: hook((), (variable.grad,)))

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        def before(grad: Any) -> Any:
            changed = hook((grad,))
            return changed[0] if isinstance(changed, tuple) else changed

        return self.variable.register_hook(before)

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self.variable):#x}>"


def connect(node: Node, operands: Sequence[Any]) -> None:
    """Set a fresh node's edges to `operands` (Tensors, or anything else for None) and give it its number."""
    targets, slots = [], []
    for t in operands:
        if getattr(t, "_requires_grad", False):
            targets.append(t if t._node is None else t._node)
            slots.append(t._output_number)
        else:
            targets.append(None)
            slots.append(0)
    node.targets, node.slots = tuple(targets), tuple(slots)
    node.more = None
    node.sequence = next(sequence_numbers)


class Saved:
    """A value kept for backward: the tensor with the version it had, or what the pack hook made of it.

    An output of the node itself is kept without its node, so that no circle holds its memory.
    """

    __slots__ = ("tensor", "version", "packed", "unpack", "slot")

    def __init__(self, tensor: Any, own_slot: int = -1):
        self.slot = own_slot
        self.version = tensor._storage.version
        if own_slot < 0 and tensor._extra is not None:
            refuse_inference(tensor)
        self.tensor = tensor if own_slot < 0 else _make_tensor[0](tensor._storage, tensor._layout, False, None, 0)
        self.packed = self.unpack = None
        if state.hooks:
            pack, self.unpack = state.hooks[-1]
            before, state.hooks = state.hooks, []
            try:
                self.packed, self.tensor = pack(self.tensor), None
            finally:
                state.hooks = before

    def get(self, node: Node) -> Any:
        if self.unpack is not None:
            return self.unpack(self.packed)
        t = self.tensor
        if t._storage.version != self.version:
            raise modified(
                t, self.version, node if self.slot >= 0 else t._node, self.slot if self.slot >= 0 else t._output_number
            )
        if self.slot < 0:
            return t
        return _make_tensor[0](t._storage, t._layout, True, node, self.slot)


def refuse_inference(tensor: Any) -> None:
    """Raise RuntimeError if `tensor` was made in inference mode: it has no version that could be checked."""
    if tensor._extra is not None and tensor._extra.inference:
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. To work around you can make a clone to get a normal "
            "tensor and use it in autograd."
        )


def modified(tensor: Any, expected: int, node: Any, slot: int) -> RuntimeError:
    """The error for a saved tensor that an in-place operation has changed since."""
    made_by = f", which is output {slot} of {node.name()}," if isinstance(node, Node) else ""
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{tensor.type()} {list(tensor._layout.shape)}]{made_by} is at version {tensor._storage.version}; expected "
        f"version "
        f"{expected} instead. Hint: save a clone() of it before the inplace operation."
    )


class Context:
    """What an op record's gradient sees: `inputs`, `out`, `attrs`, `needs`, `shapes` (see ops/table.py)."""

    __slots__ = ("inputs", "out", "attrs", "needs", "shapes")

    inputs: tuple[Any, ...]
    out: Any
    attrs: tuple[Any, ...]
    needs: tuple[bool, ...]
    shapes: tuple[tuple[int, ...], ...]


_FREED: Any = "freed"


class OpNode(Node):
    """The node of an operation of the table.

    `plan` is dispatch's: `op`, `attrs`, `shapes` (per operand), `reduces` (an operand was broadcast). `inputs` holds,
    per operand, the saved tensor, a number, or MISSING; `versions` the storages' versions when they were saved.
    """

    __slots__ = ("plan", "inputs", "versions", "out")

    plan: Any
    inputs: Any
    versions: tuple[int, ...] | None
    out: Any

    def name(self) -> str:
        return "".join(part.capitalize() for part in self.plan.op.name.split("_")) + "Backward0"

    def run(self, grads: list[Any]) -> Sequence[Any]:
        plan = self.plan
        ctx = Context()
        ctx.attrs, ctx.shapes, ctx.out = plan.attrs, plan.shapes, None
        ctx.needs = needs = tuple([t is not None for t in self.targets])
        inputs = self.inputs
        if inputs is None:
            ctx.inputs = (MISSING,) * len(needs)
        elif inputs is _FREED:
            raise RuntimeError(SECOND_TIME)
        else:
            if self.versions is not None:
                for t, version in zip(inputs, self.versions):
                    if version >= 0 and t._storage.version != version:
                        raise modified(t, version, t._node, t._output_number)
                ctx.inputs = inputs
            else:
                ctx.inputs = tuple([x.get(self) if type(x) is Saved else x for x in inputs])
        if self.out is not None:
            ctx.out = self.out.get(self) if type(self.out) is Saved else tuple([o.get(self) for o in self.out])
        if self.width > 1:
            if all(g is None for g in grads):
                return (None,) * len(needs)
            grads = plan.fill_gradients(grads)
        elif grads[0] is None:
            return (None,) * len(needs)
        found = plan.op.grad(ctx, *grads)
        if type(found) is not tuple:
            found = tuple(found) if isinstance(found, list) else (found,)
        if plan.reduces:
            found = tuple(
                [
                    g if g is None or not need or g._layout.shape == shape else g.sum_to_size(shape)
                    for g, need, shape in zip(found, needs, plan.shapes)
                ]
            )
        return found

    def release(self) -> None:
        if self.inputs is not None or self.out is not None:
            self.inputs, self.out = _FREED, None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_saved_"):
            return self._saved(name[len("_saved_") :])
        raise AttributeError(name)

    def _saved(self, name: str) -> Any:
        if self.inputs is _FREED:
            raise RuntimeError(SECOND_TIME)
        if name == "result" and self.out is not None:
            return self.out.get(self) if type(self.out) is Saved else self.out[0].get(self)
        names = {"self": 0, **{n: i for i, n in enumerate(self.plan.op.names)}}
        if self.inputs is not None and name in names and names[name] < len(self.inputs):
            kept = self.inputs[names[name]]
            if kept is not MISSING:
                return kept.get(self) if type(kept) is Saved else kept
        raise AttributeError(f"{self.name()} has saved no {name!r}")


class WideOpNode(OpNode):
    """The node of an operation with several outputs."""

    __slots__ = ("width",)


class CallNode(Node):
    """A node whose backward is a function: `function(grad) -> gradient of the one operand`, written with Tensor
    methods."""

    __slots__ = ("function", "label")

    def __init__(self, label: str, operand: Any, function: Callable[[Any], Any]):
        self.label, self.function = label, function
        self.targets = (operand if operand._node is None else operand._node,)
        self.slots = (operand._output_number,)
        self.more = None
        self.sequence = next(sequence_numbers)

    def name(self) -> str:
        return self.label

    def run(self, grads: list[Any]) -> Sequence[Any]:
        return (None if grads[0] is None else self.function(grads[0]),)


class ManyNode(Node):
    """A node with several operands or outputs: `function(*grads) -> tuple` of gradients, one per operand."""

    __slots__ = ("function", "label", "width")

    def __init__(self, label: str, operands: Sequence[Any], function: Callable[..., Any], width: int = 1):
        self.label, self.function, self.width = label, function, width
        connect(self, operands)

    def name(self) -> str:
        return self.label

    def run(self, grads: list[Any]) -> Sequence[Any]:
        if all(g is None for g in grads):
            return (None,) * len(self.targets)
        return self.function(*grads)


class GradientEdge:
    """The place of a tensor in the graph: `node` and `output_nr`."""

    __slots__ = ("node", "output_nr", "target")

    def __init__(self, target: Any, output_nr: int):
        self.target, self.output_nr = target, output_nr
        self.node = target if isinstance(target, Node) else AccumulateGrad(target)

    def __iter__(self) -> Any:
        return iter((self.node, self.output_nr))


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The edge to which gradients of `tensor` go. Raises RuntimeError if it requires none."""
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients.")
    return GradientEdge(tensor if tensor._node is None else tensor._node, tensor._output_number)


class save_on_cpu(saved_tensors_hooks):
    """Within it, what backward needs is kept on the cpu device and brought back when backward asks for it."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cl"):
        super().__init__(lambda t: (t.device, t.to("cpu", copy=True)), lambda packed: packed[1].to(packed[0]))
