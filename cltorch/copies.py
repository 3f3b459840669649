"""Movement that copies: clone, contiguous, conversions, copy_, cat, stack, repeat, roll, flip; fills; and new tensors like another.

Floor 6. All are recorded as pointwise copies into views of a fresh storage, so they fuse with what comes before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import dtypes
from .autograd import history
from .autograd.graph import CallNode, ManyNode, Node, connect
from .autograd.modes import state
from .device import device as Device
from .device import storage_device
from .dispatch import cast, copy_into, empty, fill_into, full, resize, result_stride, store_out
from .dtypes import FLOAT, DType
from .engine import Storage, read
from .engine import write as write_values
from .shapes import Layout, contiguous_stride, layout, wrap_dim
from .tensor import Tensor, from_array, make
from .views import _shape_argument


class memory_format:
    """How dimensions are ordered in memory; `channels_last` puts dim 1 innermost."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")


def format_stride(shape: tuple[int, ...], wanted: memory_format, like: Layout | None = None) -> tuple[int, ...] | None:
    """Strides of a fresh tensor in a memory format; None for C order. `like`: what preserve_format preserves."""
    if wanted is preserve_format:
        return None if like is None else result_stride(shape, (like,))
    if wanted is contiguous_format:
        return None
    dims = 4 if wanted is channels_last else 5
    if len(shape) != dims:
        raise RuntimeError(f"required rank {dims} tensor to use {wanted.name} format, got {len(shape)} dimensions")
    order = (0, *range(2, dims), 1)
    natural = contiguous_stride(tuple(shape[d] for d in order))
    stride = [0] * dims
    for d, s in zip(order, natural):
        stride[d] = s
    return tuple(stride)


def is_contiguous(self: Tensor, memory_format: memory_format = contiguous_format) -> bool:
    """True if the elements lie without gaps in C order, or in that of `memory_format`."""
    lay = self._layout
    if memory_format in (contiguous_format, preserve_format):
        return lay.contiguous
    if len(lay.shape) != (4 if memory_format is channels_last else 5):
        return False
    stride = format_stride(lay.shape, memory_format)
    assert stride is not None
    return all(n == 1 or s == w for n, s, w in zip(lay.shape, lay.stride, stride))


def clone(self: Tensor, *, memory_format: memory_format = preserve_format) -> Tensor:
    """A copy; gradients flow through it."""
    lay = self._layout
    return _copied(self, lay.dtype, format_stride(lay.shape, memory_format, lay), "CloneBackward0")


def _copied(t: Tensor, dtype: DType, stride: tuple[int, ...] | None, label: str) -> Tensor:
    """A copy of `t` as `dtype` with the given strides, and its node."""
    lay = t._layout
    key = ("copied", dtype, stride)
    found = lay.memo.get(key)
    if found is None:
        found = lay.memo[key] = layout(dtype, lay.shape, stride)
    storage = Storage(t._storage.device, found.nbytes)
    copy_into(storage, found, t)
    out = make(storage, found)
    if t._requires_grad and state.grad and dtype.category == FLOAT:
        before = lay.dtype
        out._set_history(CallNode(label, t, (lambda g: g) if dtype is before else (lambda g: cast(g, before))), 0)
    return out


def contiguous(self: Tensor, memory_format: memory_format = contiguous_format) -> Tensor:
    """The tensor itself if it is contiguous, else a copy that is."""
    if memory_format is contiguous_format and self._layout.contiguous or is_contiguous(self, memory_format):
        return self
    if memory_format is preserve_format:
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    return clone(self, memory_format=memory_format)


# ---- conversions


def to(self: Tensor, *args: Any, **named: Any) -> Tensor:
    """The tensor with another dtype or on another device; itself if nothing changes.

    `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`, each with `non_blocking`, `copy` and `memory_format`.
    """
    dtype, device = named.pop("dtype", None), named.pop("device", None)
    wanted = named.pop("memory_format", preserve_format)
    copy, rest = named.pop("copy", False), list(args)
    named.pop("non_blocking", None)
    if named:
        raise TypeError(f"to() received an invalid keyword argument: {next(iter(named))!r}")
    if "other" in named:
        rest.insert(0, named.pop("other"))
    if rest and isinstance(rest[0], Tensor):
        other = rest.pop(0)
        dtype, device = other._layout.dtype, other.device
    elif rest and isinstance(rest[0], (str, int, Device)) and not isinstance(rest[0], bool):
        device = rest.pop(0)
        if rest and (isinstance(rest[0], DType) or rest[0] is None):
            dtype = rest.pop(0)
    elif rest and (isinstance(rest[0], DType) or rest[0] is None):
        dtype = rest.pop(0) or dtype
        if rest and isinstance(rest[0], (str, int, Device)) and not isinstance(rest[0], bool):
            device = rest.pop(0)
    if len(rest) > 1:
        copy = bool(rest[1])
    if rest and not isinstance(rest[0], bool):
        raise TypeError(f"to() received an invalid combination of arguments - got {type(rest[0]).__name__}")
    if dtype is not None and not isinstance(dtype, DType):
        dtype = dtypes.by_name(str(dtype).rpartition(".")[2]) if not isinstance(dtype, type) else _python_type(dtype)
    lay = self._layout
    dtype = dtype or lay.dtype
    target = self._storage.device if device is None else storage_device(device)
    if target is not self._storage.device:
        return _moved(self, target, dtype)
    stride = format_stride(lay.shape, wanted, lay)
    same = dtype is lay.dtype and (wanted is preserve_format or is_contiguous(self, wanted))
    if same and not copy:
        return self
    return _copied(self, dtype, stride, "ToCopyBackward0")


def _python_type(given: type) -> DType:
    found = {float: dtypes.get_default_dtype(), int: dtypes.int64, bool: dtypes.bool_}.get(given)
    if found is None:
        raise TypeError(f"to(): dtype: got {given.__name__}, wanted a dtype")
    return found


def _moved(t: Tensor, device: Any, dtype: DType) -> Tensor:
    """`t` on another device, through the host."""
    source = cast(t, dtype) if dtype.itemsize < t._layout.dtype.itemsize else t
    array = read(source._storage, source._layout)
    out = make(Storage.from_numpy(device, array), layout(source._layout.dtype, source._layout.shape))
    if dtype is not out._layout.dtype:
        out = cast(out, dtype)
    if t._requires_grad and state.grad and dtype.category == FLOAT:
        back, before = t._storage.device, t._layout.dtype
        out._set_history(CallNode("ToCopyBackward0", t, lambda g: _moved(g, back, before)), 0)
    return out


def type_of(self: Tensor, dtype: Any = None, non_blocking: bool = False, **named: Any) -> Any:
    """PyTorch's name of the tensor's type ('torch.FloatTensor'), or the tensor converted to `dtype`."""
    if dtype is None:
        return "torch." + _TYPE_NAMES[self._layout.dtype.name]
    if isinstance(dtype, str):
        name = dtype.rpartition(".")[2]
        dtype = next((dtypes.by_name(k) for k, v in _TYPE_NAMES.items() if v == name), None)
        if dtype is None:
            raise ValueError(f"type(): dtype: got {name!r}, wanted the name of a tensor type such as 'torch.FloatTensor'")
    return to(self, dtype)


_TYPE_NAMES = {
    "float32": "FloatTensor", "float64": "DoubleTensor", "float16": "HalfTensor", "bfloat16": "BFloat16Tensor", "int64": "LongTensor",
    "int32": "IntTensor", "int16": "ShortTensor", "int8": "CharTensor", "uint8": "ByteTensor", "bool": "BoolTensor",
}  # fmt: skip


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """Converted to the dtype of `other`."""
    return to(self, other)


def _converter(dtype: DType) -> Callable[..., Tensor]:
    def method(self: Tensor, memory_format: memory_format = preserve_format) -> Tensor:
        return to(self, dtype, memory_format=memory_format)

    method.__doc__ = f"Converted to {dtype.name}."
    return method


def cpu(self: Tensor, memory_format: memory_format = preserve_format) -> Tensor:
    """On the cpu device."""
    return to(self, "cpu")


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: memory_format = preserve_format) -> Tensor:
    """On an OpenCL device (the name is PyTorch's)."""
    return to(self, "cl" if device is None else device)


# ---- writing into a tensor


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
    if pad < 0 and any(n != 1 for n in given[:-pad]) or any(a != b and b != 1 for a, b in zip(shape[::-1], given[::-1])):
        raise RuntimeError(
            f"copy_: output with shape {list(shape)} doesn't match the broadcast shape of a source of size {list(given)}"
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
            "copy_: unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please clone() the "
            "tensor before performing the operation."
        )
    _check_fits(lay.shape, src._layout.shape)
    if src is self or (src._storage is self._storage and src._layout is lay):
        return self
    value = src
    if value._storage.trace is not self._storage.trace:
        value = _moved(value.detach(), self._storage.device, value._layout.dtype)
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
        return (first, None if self.targets[1] is None else cast(g.sum_to_size(()), self.dtype))


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set all elements to `value`, a number or a 0-d tensor."""
    tensor = isinstance(value, Tensor)
    if tensor and value._layout.shape:
        raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {len(value._layout.shape)} dimensions.")
    if not tensor and not isinstance(value, (bool, int, float, np.generic)):
        raise TypeError(f"fill_(): argument 'value' (position 1) must be Number, not {type(value).__name__}")
    gradient = state.grad and (self._requires_grad or (tensor and value._requires_grad))
    history.check_in_place("fill_", self, gradient)
    lay = self._layout
    if tensor:
        copy_into(self._storage, lay, value if value._storage.trace is self._storage.trace else to(value.detach(), self.device))
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


def zero_(self: Tensor) -> Tensor:
    """Set all elements to 0."""
    return fill_(self, 0)


def resize_(self: Tensor, *sizes: Any, memory_format: memory_format = contiguous_format) -> Tensor:
    """Give the tensor another shape in C order, with a larger storage if needed; new elements are undefined."""
    if self._requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    return resize(self, _shape_argument("resize_", sizes))


def resize_as_(self: Tensor, other: Tensor) -> Tensor:
    """`resize_` to the shape of `other`."""
    return resize_(self, other._layout.shape)


def set_(self: Tensor, source: Tensor | None = None, storage_offset: int = 0, size: Any = None, stride: Any = None) -> Tensor:
    """Let the tensor be a view of the storage of `source`."""
    if source is None:
        self._storage, self._layout = Storage(self._storage.device, 0), layout(self._layout.dtype, (0,))
    elif size is None:
        self._storage, self._layout = source._storage, source._layout
    else:
        size = tuple(size)
        self._storage = source._storage
        self._layout = layout(source._layout.dtype, size, contiguous_stride(size) if stride is None else tuple(stride), storage_offset)
    return self


def write_array(t: Tensor, array: np.ndarray) -> None:
    """Overwrite the values of `t` with a NumPy array of its shape; no history."""
    write_values(t._storage, t._layout, array)
    t._bump()


# ---- joining


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
                f"{name}: Expected all tensors to be on the same device, but found at least two devices, {found[0].device} and {t.device}!"
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
                f"Sizes of tensors must match except in dimension {d}. Expected size {list(first)} but got size {list(shape)} for tensor number {i} in the list."
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
    if state.grad and dtype.category == FLOAT and any([t._requires_grad for t in parts]):
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
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad.")
    return store_out(name, out, made)


def stack(tensors: Any, dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """The tensors, all of one shape, along a new dim `dim`."""
    given = _joined("stack", tensors)
    shape = given[0]._layout.shape
    for i, t in enumerate(given):
        if t._layout.shape != shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and {list(t._layout.shape)} at entry {i}")
    d = wrap_dim("stack", dim, len(shape) + 1)
    return cat([t.unsqueeze(d) for t in given], d, out=out)  # type: ignore[attr-defined]


# ---- repetition and order


def repeat(self: Tensor, *repeats: Any) -> Tensor:
    """The tensor `repeats[d]` times along each dim d; more repeats than dims add dims in front."""
    times = _shape_argument("repeat", repeats)
    shape = self._layout.shape
    if len(times) < len(shape):
        raise RuntimeError(
            f"Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: got {len(times)} and {len(shape)}"
        )
    if any(n < 0 for n in times):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(times)}: {list(times)}")
    padded = (1,) * (len(times) - len(shape)) + shape
    between = tuple(n for pair in zip((1,) * len(padded), padded) for n in pair)
    spread = tuple(n for pair in zip(times, padded) for n in pair)
    view = self.reshape(between).expand(spread)  # type: ignore[attr-defined]
    return _copied(view, self._layout.dtype, None, "RepeatBackward0").view(tuple(a * b for a, b in zip(times, padded)))  # type: ignore[attr-defined]


def tile(self: Tensor, *dims: Any) -> Tensor:
    """As `repeat`, with missing repeats taken as 1."""
    times = _shape_argument("tile", dims)
    return repeat(self, (1,) * (self.ndim - len(times)) + times)


def roll(self: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved by `shifts` along `dims`, those beyond the end to the begin; without dims, of the flattened tensor."""
    moves = tuple(shifts) if isinstance(shifts, (tuple, list)) else (shifts,)
    if dims is None or dims == ():
        if len(moves) != 1:
            raise RuntimeError(f"roll: shifts and dimensions must align. shifts: {len(moves)}, dims:0")
        return roll(self.reshape(-1), moves, (0,)).view(self._layout.shape)  # type: ignore[attr-defined]
    places = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    if len(places) != len(moves):
        raise RuntimeError(f"roll: shifts and dimensions must align. shifts: {len(moves)}, dims:{len(places)}")
    found = self
    for shift, dim in zip(moves, places):
        shape = found._layout.shape
        d = wrap_dim("roll", dim, len(shape), "dims")
        n = shape[d] if shape else 1
        k = shift % n if n else 0
        found = cat([found.narrow(d, n - k, k), found.narrow(d, 0, n - k)], d) if k else clone(found)  # type: ignore[attr-defined]
    return found


def flip(self: Tensor, *dims: Any) -> Tensor:
    """The order of elements reversed along `dims`."""
    given = _shape_argument("flip", dims)
    shape = self._layout.shape
    places = [wrap_dim("flip", d, len(shape), "dims") for d in given]
    if len(set(places)) != len(places):
        raise RuntimeError(f"dim {next(d for d in places if places.count(d) > 1)} appears multiple times in the list of dims")
    found = self
    for d in places:
        if shape and shape[d] > 1:
            found = found.index_select(d, _descending(shape[d], self._storage.device))  # type: ignore[attr-defined]
    return clone(self) if found is self else found


def _descending(n: int, device: Any) -> Tensor:
    return make(Storage.from_numpy(device, np.arange(n - 1, -1, -1, dtype=np.int64)), layout(dtypes.int64, (n,)))


def rot90(self: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by `k` quarters in the plane of two dims, from the first towards the second."""
    n = self.ndim
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if n < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {n}")
    a, b = (wrap_dim("rot90", d, n, "dims") for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    k %= 4
    if k == 0:
        return clone(self)
    if k == 2:
        return flip(self, a, b)
    return clone(flip(self, b).transpose(a, b) if k == 1 else flip(self, a).transpose(a, b))  # type: ignore[attr-defined]


def fliplr(self: Tensor) -> Tensor:
    """`flip` along dim 1."""
    if self.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(self, 1)


def flipud(self: Tensor) -> Tensor:
    """`flip` along dim 0."""
    if self.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(self, 0)


# ---- new tensors like this one


def _made(t: Tensor, size: tuple[Any, ...], value: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    shape = _shape_argument("size", size)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    where = t._storage.device if device is None else storage_device(device)
    kind = dtype or t._layout.dtype
    out = empty(shape, kind, where) if value is None else full(shape, number_for(kind, value), kind, where)
    if requires_grad:
        out.requires_grad = True
    return out


def new_zeros(self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any) -> Tensor:
    """Zeros of the given size, with this tensor's dtype and device unless given."""
    return _made(self, size, 0, dtype, device, requires_grad)


def new_ones(self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any) -> Tensor:
    """Ones of the given size, with this tensor's dtype and device unless given."""
    return _made(self, size, 1, dtype, device, requires_grad)


def new_empty(self: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any) -> Tensor:
    """A tensor of the given size with undefined values, with this tensor's dtype and device unless given."""
    return _made(self, size, None, dtype, device, requires_grad)


def new_full(self: Tensor, size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any) -> Tensor:
    """A tensor of the given size filled with a number, with this tensor's dtype and device unless given."""
    return _made(self, (size,), fill_value, dtype, device, requires_grad)


def new_tensor(self: Tensor, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any) -> Tensor:
    """A tensor with copied data, with this tensor's dtype and device unless given."""
    kind = dtype or self._layout.dtype
    array = data.detach().numpy() if isinstance(data, Tensor) else np.array(data)
    where = self.device if device is None else device
    if kind is dtypes.bfloat16:
        out = cast(from_array(array.astype(np.float32), device=where), kind)
    else:
        out = from_array(np.array(array, dtype=kind.numpy), kind, where)
    out.requires_grad = requires_grad
    return out


FUNCTIONS = {
    f.__name__: f for f in (clone, cat, stack, tile, roll, flip, rot90, fliplr, flipud)
} | {"concat": cat, "concatenate": cat, "is_contiguous": is_contiguous}  # fmt: skip
METHODS = {
    f.__name__: f
    for f in (
        is_contiguous, clone, contiguous, to, type_as, cpu, cuda, copy_, fill_, zero_, resize_, resize_as_, set_, repeat, tile, roll, flip, rot90,
        fliplr, flipud, new_zeros, new_ones, new_empty, new_full, new_tensor,
    )
}  # fmt: skip
METHODS |= {"type": type_of}
METHODS |= {
    name: _converter(dtype)
    for name, dtype in {
        "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "bfloat16": dtypes.bfloat16, "long": dtypes.int64,
        "int": dtypes.int32, "short": dtypes.int16, "char": dtypes.int8, "byte": dtypes.uint8, "bool": dtypes.bool_,
    }.items()
}  # fmt: skip
for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
Tensor.cat, Tensor.stack = staticmethod(cat), staticmethod(stack)  # type: ignore[attr-defined]
