"""`Function`: operations whose backward the user writes.

Floor 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .graph import _FREED, SECOND_TIME, Node, Saved, connect
from .modes import no_grad, state


class FunctionCtx:
    """What `forward` and `backward` share. In backward it is the node itself in PyTorch; here it belongs to the
    node."""

    def __init__(self, name: str, needs: tuple[bool, ...]):
        self._name = name
        self.needs_input_grad = needs
        self._to_save: tuple[Any, ...] = ()
        self._saved: Any = None
        self._node: Any = None
        self._dirty: tuple[Any, ...] = ()
        self._non_differentiable: tuple[Any, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or None) for backward; changing one in place afterwards is then an error."""
        for t in tensors:
            if t is not None and not hasattr(t, "_storage"):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument is of type {type(t).__name__}"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Accepted for PyTorch programs; forward-mode differentiation does not exist here."""

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        if self._saved is _FREED:
            raise RuntimeError(SECOND_TIME)
        if self._saved is None:
            return tuple(self._to_save)
        return tuple(None if s is None else s.get(self._node) for s in self._saved)

    def mark_dirty(self, *tensors: Any) -> None:
        """Name the inputs that forward changes in place; they must be returned."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Name the outputs that carry no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """False: backward gets None, not zeros, for an output without gradient."""
        self._materialize = value


class FunctionNode(Node):
    """The node of one application of a Function."""

    __slots__ = ("ctx", "function", "width", "outputs", "operands")

    ctx: FunctionCtx
    function: type[Function]
    outputs: tuple[Callable[[], Any] | None, ...]
    operands: tuple[Any, ...]

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def run(self, grads: list[Any]) -> Sequence[Any]:
        ctx = self.ctx
        if ctx._saved is _FREED:
            raise RuntimeError(SECOND_TIME)
        if ctx._materialize:
            grads = [make() if g is None and make is not None else g for g, make in zip(grads, self.outputs)]
        found = self.function.backward(ctx, *grads)
        if not isinstance(found, tuple):
            found = tuple(found) if isinstance(found, list) else (found,)
        wanted = len(self.targets)
        if len(found) > wanted and all(g is None for g in found[wanted:]):
            found = found[:wanted]
        if len(found) != wanted:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {wanted}, got "
                f"{len(found)})"
            )
        return tuple(self._checked(i, g, target) for i, (g, target) in enumerate(zip(found, self.targets)))

    def _checked(self, i: int, g: Any, target: Any) -> Any:
        if g is None or target is None:
            return None
        if not hasattr(g, "_storage"):
            raise RuntimeError(
                f"function {self.name()} returned a gradient of type {type(g).__name__} at index {i}, wanted a Tensor "
                f"or None"
            )
        shape, dtype = self.operands[i]
        if g._layout.shape != shape:
            try:
                g = g.sum_to_size(shape)
            except RuntimeError:
                raise RuntimeError(
                    f"Function {self.name()} returned an invalid gradient at index {i} - got {list(g._layout.shape)} "
                    f"but expected shape "
                    f"compatible with {list(shape)}"
                ) from None
        return g if g._layout.dtype is dtype else g.to(dtype)

    def release(self) -> None:
        if self.ctx._saved:
            self.ctx._saved = _FREED

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        return self.ctx.saved_tensors

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        return self.ctx.needs_input_grad


class Function:
    """An operation with its own backward: subclass it, write `forward` and `backward` as static methods, call `apply`.

    `forward(ctx, *args)` computes; or `forward(*args)` with `setup_context(ctx, inputs, output)` beside it.
    `backward(ctx, *grad_outputs)` returns one gradient, or None, per argument of forward.

    >>> class Double(cltorch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x + x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return 2 * g
    >>> x = cltorch.ones(1, requires_grad=True)
    >>> Double.apply(x).backward()
    >>> x.grad
    tensor([2.])
    """

    def __init__(self, *args: Any, **kwargs: Any):
        raise RuntimeError(
            f"{type(self).__name__} should not be instantiated. Methods on autograd functions are all static, so you "
            f"should invoke them on the "
            "class itself. Instantiating an autograd function is not supported; call .apply() of the class."
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward and attach the node."""
        if kwargs:
            raise TypeError(f"{cls.__name__}.apply() takes no keyword arguments")
        tensors = [a for a in args if hasattr(a, "_storage")]
        needs = tuple(bool(getattr(a, "_requires_grad", False)) if hasattr(a, "_storage") else False for a in args)
        record = state.grad and any(needs)
        ctx = FunctionCtx(cls.__name__, needs)
        node = FunctionNode()
        node.ctx, node.function = ctx, cls
        connect(node, args)  # before forward: in-place changes there must not count as made by this node
        separate = cls.setup_context is not Function.setup_context
        with no_grad():
            if separate:
                out = cls.forward(*args)
                cls.setup_context(ctx, args, out)
            else:
                out = cls.forward(ctx, *args)
        single = hasattr(out, "_storage")
        if not single and not isinstance(out, (tuple, list)):
            return out
        outputs = (out,) if single else tuple(out)
        node.operands = tuple((a._layout.shape, a._layout.dtype) if hasattr(a, "_storage") else None for a in args)
        finished = _outputs(ctx, node, outputs, tensors, record)
        if record:
            places = {id(o): i for i, o in enumerate(outputs)}
            ctx._node = node
            ctx._saved = tuple(
                None
                if t is None
                else Saved(finished[places[id(t)]], places[id(t)])
                if _is_output(t, places, tensors)
                else Saved(t)
                for t in ctx._to_save
            )
            ctx._to_save = ()
            ctx._dirty = ctx._non_differentiable = ()
        return finished[0] if single else tuple(finished)


def _is_output(t: Any, places: dict[int, int], tensors: list[Any]) -> bool:
    return id(t) in places and not any(t is given for given in tensors)


def _outputs(
    ctx: FunctionCtx, node: FunctionNode, outputs: tuple[Any, ...], tensors: list[Any], record: bool
) -> list[Any]:
    """Give the outputs their history: fresh ones the node, dirty inputs a new one, returned inputs become views of
    themselves."""
    dirty = {id(t) for t in ctx._dirty}
    plain = {id(t) for t in ctx._non_differentiable}
    makers: list[Callable[[], Any] | None] = []
    finished: list[Any] = []
    for i, t in enumerate(outputs):
        if not hasattr(t, "_storage"):
            makers.append(None)
            finished.append(t)
            continue
        differentiable = record and id(t) not in plain and t._layout.dtype.is_floating_point
        makers.append(_zeros_like(t) if t._layout.dtype.is_floating_point else None)
        given = any(t is x for x in tensors)
        if id(t) in dirty:
            t._bump()
            if differentiable:
                t._rebase(node, i)
        elif given:
            t = t.detach() if differentiable or record else t.detach() if not state.grad else t.view_as(t)
            if differentiable:
                t._set_history(node, i)
        elif differentiable:
            if t._requires_grad or t._base is not None and t._base._requires_grad:
                t = t.detach()
            t._set_history(node, i)
        finished.append(t)
    node.outputs, node.width = tuple(makers), max(len(outputs), 1)
    missing = [t for t in ctx._dirty if not any(t is o for o in outputs)]
    if missing and record:
        raise RuntimeError("Some elements marked as dirty during the forward method were not returned as output.")
    return finished


def _zeros_like(t: Any) -> Callable[[], Any]:
    example, shape = t.detach(), t._layout.shape
    if example._storage.nbytes > 64:  # keep what zeros need, not the output's memory
        example = example.new_zeros(())
    return lambda: example.new_zeros(shape)


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a Function's backward that is not differentiable itself: a second derivative raises instead of being
    wrong."""

    def wrapped(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            found = backward(ctx, *grads)
        if (
            not state.grad
            or not any(getattr(g, "_requires_grad", False) for g in grads)
            and not any(getattr(t, "_requires_grad", False) for t in ctx.saved_tensors if t is not None)
        ):
            return found
        single = not isinstance(found, tuple)
        node = _OnceNode()
        connect(node, grads)
        made = []
        for t in (found,) if single else found:
            if t is not None:
                t = t.detach()
                t._set_history(node, 0)
            made.append(t)
        return made[0] if single else tuple(made)

    return wrapped


class _OnceNode(Node):
    __slots__ = ()

    def name(self) -> str:
        return "OnceDifferentiable"

    def run(self, grads: list[Any]) -> Sequence[Any]:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
