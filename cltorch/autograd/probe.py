"""Which saved values does a gradient need? Found by running it once on objects that only remember what they came from.

Floor 5. A gradient of the table computes all operands' gradients; where only some are wanted (`x * constant`),
keeping everything in `saves` would hold memory for nothing and raise version errors that PyTorch does not raise.
`needed` runs the gradient on Probes; at run time MISSING, a Probe too, stands for what was not kept, and whatever is
computed from it is MISSING and thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_TENSOR_FIELDS = frozenset(("_storage", "_layout", "_node", "_requires_grad", "_output_number", "_base", "_extra"))


class Probe:
    """Absorbs every operation; `deps` are the numbers of the operands (or 'out') that it came from."""

    __slots__ = ("deps", "shape", "dtype")

    def __init__(self, deps: frozenset = frozenset(), shape: Any = (), dtype: Any = None):
        self.deps, self.shape, self.dtype = deps, shape, dtype

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in _TENSOR_FIELDS:
            raise AttributeError(name)
        if name == "ndim":
            return len(self.shape)

        def method(*args: Any, **kwargs: Any) -> Probe:
            return self._with(*args, *kwargs.values())

        return method

    def _with(self, *others: Any) -> Probe:
        found = set(self.deps)
        for other in others:
            if isinstance(other, Probe):
                found |= other.deps
            elif isinstance(other, (tuple, list)):
                found |= self._with(*other).deps
        return Probe(frozenset(found), self.shape, self.dtype)

    def dim(self) -> int:
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def stride(self, dim: int | None = None) -> Any:
        return (1,) * len(self.shape) if dim is None else 1

    def numel(self) -> int:
        n = 1
        for s in self.shape:
            n *= s
        return n

    def is_floating_point(self) -> bool:
        return True

    def __bool__(self) -> bool:
        raise TypeError("a gradient may not look at values")

    def __iter__(self) -> Any:
        raise TypeError("a gradient may not look at values")

    __hash__ = object.__hash__


def _operator(self: Probe, *others: Any) -> Probe:
    return self._with(*others)


for _name in (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul rmatmul and rand or ror "
    "xor rxor lshift rlshift "
    "rshift rrshift neg pos abs invert eq ne lt le gt ge getitem"
).split():
    setattr(Probe, f"__{_name}__", _operator)
Probe.__hash__ = object.__hash__  # type: ignore[method-assign, assignment]

MISSING: Any = Probe()


def needed(grad: Callable[..., Any], ctx: Any, saves: tuple, outputs: int, shape: Any, dtype: Any) -> frozenset | None:
    """Which of `saves` the wanted gradients (`ctx.needs`) depend on, or None if the gradient cannot be followed.

    `ctx` is filled with Probes here; it comes with `attrs`, `needs` and `shapes`.
    """
    ctx.inputs = tuple(Probe(frozenset((i,)), s, dtype) if i in saves else MISSING for i, s in enumerate(ctx.shapes))
    out = Probe(frozenset(("out",)), shape, dtype)
    ctx.out = None if "out" not in saves else out if outputs == 1 else (out,) * outputs
    try:
        found = grad(ctx, *(Probe(frozenset(), shape, dtype) for _ in range(outputs)))
    except Exception:  # it does something with values that only tensors can answer: keep everything
        return None
    if not isinstance(found, tuple):
        found = (found,)
    deps: set = set()
    for g, need in zip(found, ctx.needs):
        if need and isinstance(g, Probe):
            deps |= g.deps
    return frozenset(deps)
