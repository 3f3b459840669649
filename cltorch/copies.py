"""Writing into tensors and joining them: copy_, fill_, resize_, cat, stack.

Floor 6. Everything is recorded as pointwise copies and fills of views of a storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes
from .autograd import history
from .autograd.graph import ManyNode, Node, connect
from .autograd.modes import state
from .dispatch import cast, copy_into, fill_into, resize, store_out
from .dtypes import FLOAT, DType
from .engine import Storage
from .engine import write as write_values
from .formats import (
    channels_last,
    channels_last_3d,
    clone,
    contiguous_format,
    memory_format,
    moved,
    preserve_format,
    to,
)
from .shapes import contiguous_stride, layout, wrap_dim
from .tensor import Tensor, make
from .views import shape_argument

__all__ = [
    "cat", "channels_last", "channels_last_3d", "contiguous_format", "copy_", "fill_", "memory_format", "number_for",
    "preserve_format", "stack", "write_array",
]  # fmt: skip


class CopyNode(Node):
    """Backward of copy_: nothing for the old contents, the gradient for the source."""

    __slots__ = ("dtype", "shape")

    def __init__(self, t: Tensor, src: Tensor):
        self.dtype, self.shape = src._layout.dtype, src._layout.shape
        connect(self, (t, src))

    def name(self) -> str:
        return "CopyBackwards"

    def run(self, grads: list[Any]) -> Sequence[Any]:
        g = grads[0]
        if g is None:
            return (None, None)
        first = None if self.targets[0] is None else g.new_zeros(g._layout.shape)
        if self.targets[1] is None:
            return (first, None)
        if g._layout.dtype is not self.dtype:
            g = cast(g, self.dtype)
        extra = len(self.shape) - len(g._layout.shape)
        return (first, g.reshape(self.shape) if extra > 0 else g.sum_to_size(self.shape))


def _check_fits(shape: tuple[int, ...], given: tuple[int, ...]) -> None:
    pad = len(shape) - len(given)
    if (
        pad < 0
        and any(n != 1 for n in given[:-pad])
        or any(a != b and b != 1 for a, b in zip(shape[::-1], given[::-1]))
    ):
        raise RuntimeError(
            f"copy_: output with shape {list(shape)} doesn't match the broadcast shape of a source of size "
            f"{list(given)}"
        )


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Write `src`, broadcast and converted, into the tensor."""
    if not isinstance(src, Tensor):
        if isinstance(src, (bool, int, float)):
            return fill_(self, src)
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}")
    gradient = state.grad and (self._requires_grad or src._requires_grad)
    history.check_in_place("copy_", self, gradient)
    lay = self._layout
    if history.overlapping(lay):
        raise RuntimeError(
            "copy_: unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location. Please clone() the "
            "tensor before performing the operation."
        )
    _check_fits(lay.shape, src._layout.shape)
    if src is self or (src._storage is self._storage and src._layout is lay):
        return self
    value = src
    if value._storage.trace is not self._storage.trace:
        value = moved(value.detach(), self._storage.device, value._layout.dtype)
    elif value._storage is self._storage:
        value = clone(value.detach())
    if len(value._layout.shape) > len(lay.shape):
        value = value.detach().view(value._layout.shape[len(value._layout.shape) - len(lay.shape) :])  # type: ignore[attr-defined]
    copy_into(self._storage, lay, value)
    self._bump()
    if gradient and lay.dtype.category == FLOAT:
        self._rebase(CopyNode(self, src), 0)
    return self


class FillNode(Node):
    """Backward of fill_: the old contents have no influence; a 0-d value tensor gets the sum."""

    __slots__ = ("dtype",)

    def __init__(self, t: Tensor, value: Any):
        self.dtype = value._layout.dtype if isinstance(value, Tensor) else None
        connect(self, (t, value))

    def name(self) -> str:
        return "FillBackward0"

    def run(self, grads: list[Any]) -> Sequence[Any]:
        g = grads[0]
        if g is None:
            return (None, None)
        first = None if self.targets[0] is None else g.new_zeros(g._layout.shape)
        return (first, None if self.targets[1] is None else cast(g.sum_to_size(()), self.dtype or g._layout.dtype))


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set all elements to `value`, a number or a 0-d tensor."""
    tensor = isinstance(value, Tensor)
    if tensor and value._layout.shape:
        raise RuntimeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with {len(value._layout.shape)} dimensions."
        )
    if not tensor and not isinstance(value, (bool, int, float, np.generic)):
        raise TypeError(f"fill_(): argument 'value' (position 1) must be Number, not {type(value).__name__}")
    gradient = state.grad and (self._requires_grad or (tensor and value._requires_grad))
    history.check_in_place("fill_", self, gradient)
    lay = self._layout
    if tensor:
        copy_into(
            self._storage,
            lay,
            value if value._storage.trace is self._storage.trace else to(value.detach(), self.device),
        )
    else:
        if isinstance(value, np.generic):
            value = value.item()
        fill_into(self._storage, lay, number_for(lay.dtype, value))
    self._bump()
    if gradient and lay.dtype.category == FLOAT:
        self._rebase(FillNode(self, value), 0)
    return self


def number_for(dtype: DType, value: Any) -> Any:
    """A Python number as one that `dtype` can hold. Raises RuntimeError for an integer out of its range."""
    if dtype.category == FLOAT:
        return float(value)
    if dtype.category == dtypes.BOOL:
        return bool(value)
    if value != value or value in (float("inf"), float("-inf")):
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow: got {value}")
    value = int(value)
    facts = np.iinfo(dtype.numpy)
    if not facts.min <= value <= facts.max:
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow: got {value}")
    return value


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like `input` with all elements `value`, a number or a 0-d tensor."""
    return clone(input).fill_(value)  # type: ignore[attr-defined]


def zero_(self: Tensor) -> Tensor:
    """Set all elements to 0."""
    return fill_(self, 0)


def resize_(self: Tensor, *sizes: Any, memory_format: memory_format = contiguous_format) -> Tensor:
    """Give the tensor another shape in C order, with a larger storage if needed; new elements are undefined."""
    if self._requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    return resize(self, shape_argument("resize_", sizes))


def resize_as_(self: Tensor, other: Tensor) -> Tensor:
    """`resize_` to the shape of `other`."""
    return resize_(self, other._layout.shape)


def set_(
    self: Tensor, source: Tensor | None = None, storage_offset: int = 0, size: Any = None, stride: Any = None
) -> Tensor:
    """Let the tensor be a view of the storage of `source`."""
    if source is None:
        self._storage, self._layout = Storage(self._storage.device, 0), layout(self._layout.dtype, (0,))
    elif size is None:
        self._storage, self._layout = source._storage, source._layout
    else:
        size = tuple(size)
        self._storage = source._storage
        self._layout = layout(
            source._layout.dtype, size, contiguous_stride(size) if stride is None else tuple(stride), storage_offset
        )
    return self


def write_array(t: Tensor, array: np.ndarray) -> None:
    """Overwrite the values of `t` with a NumPy array of its shape; no history."""
    write_values(t._storage, t._layout, array)
    t._bump()


def _joined(name: str, tensors: Any) -> list[Tensor]:
    if isinstance(tensors, Tensor):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    found = list(tensors)
    if not found:
        if name == "stack":
            raise RuntimeError("stack expects a non-empty TensorList")
        raise ValueError(f"{name}(): expected a non-empty list of Tensors")
    for i, t in enumerate(found):
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}(): expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
        if t._storage.trace is not found[0]._storage.trace:
            raise RuntimeError(
                f"{name}: Expected all tensors to be on the same device, but found at least two devices, "
                f"{found[0].device} and {t.device}!"
            )
    return found


def _common_dtype(tensors: Sequence[Tensor]) -> DType:
    dtype = tensors[0]._layout.dtype
    for t in tensors[1:]:
        dtype = dtypes.promote(dtype, t._layout.dtype)
    return dtype


def cat(tensors: Any, dim: int = 0, *, out: Tensor | None = None, axis: int | None = None) -> Tensor:
    """The tensors one after the other along `dim`. Shapes must agree elsewhere; empty 1-D tensors are left out."""
    given = _joined("cat", tensors)
    if axis is not None:
        dim = axis
    for i, t in enumerate(given):
        if not t._layout.shape:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    dtype = _common_dtype(given)
    parts = [t for t in given if t._layout.shape != (0,)]
    if not parts:
        parts = given[:1]
    first = parts[0]._layout.shape
    d = wrap_dim("cat", dim, len(first))
    for i, t in enumerate(parts):
        shape = t._layout.shape
        if len(shape) != len(first):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(shape)}")
        if shape[:d] != first[:d] or shape[d + 1 :] != first[d + 1 :]:
            raise RuntimeError(
                f"Sizes of tensors must match except in dimension {d}. Expected size {list(first)} but got size "
                f"{list(shape)} for tensor number {i} in the list."
            )
    sizes = [t._layout.shape[d] for t in parts]
    shape = (*first[:d], sum(sizes), *first[d + 1 :])
    whole = layout(dtype, shape)
    storage = Storage(parts[0]._storage.device, whole.nbytes)
    at = 0
    for t, n in zip(parts, sizes):
        copy_into(storage, layout(dtype, t._layout.shape, whole.stride, at * whole.stride[d]), t)
        at += n
    made = make(storage, whole)
    if state.grad and dtype.category == FLOAT and any(t._requires_grad for t in parts):
        kinds = [t._layout.dtype for t in parts]

        def backward(g: Tensor) -> tuple[Any, ...]:
            found, begin = [], 0
            for n, kind in zip(sizes, kinds):
                found.append(cast(g.narrow(d, begin, n), kind) if kind.category == FLOAT else None)  # type: ignore[attr-defined]
                begin += n
            return tuple(found)

        made._set_history(ManyNode("CatBackward0", parts, backward), 0)
    return made if out is None else _out("cat", out, made)


def _out(name: str, out: Tensor, made: Tensor) -> Tensor:
    if state.grad and (made._requires_grad or out._requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            f"arguments requires grad."
        )
    return store_out(name, out, made)


def stack(tensors: Any, dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The tensors, all of one shape, along a new dim `dim`."""
    given = _joined("stack", tensors)
    shape = given[0]._layout.shape
    for i, t in enumerate(given):
        if t._layout.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(t._layout.shape)} at entry {i}"
            )
    d = wrap_dim("stack", dim, len(shape) + 1)
    return cat([t.unsqueeze(d) for t in given], d, out=out)  # type: ignore[attr-defined]


FUNCTIONS: dict[str, Any] = {"cat": cat, "concat": cat, "concatenate": cat, "stack": stack, "fill": fill}
METHODS = {f.__name__: f for f in (copy_, fill_, zero_, resize_, resize_as_, set_)}
for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
Tensor.cat, Tensor.stack = staticmethod(cat), staticmethod(stack)  # type: ignore[attr-defined]
