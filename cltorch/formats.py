"""Memory formats and conversions: clone, contiguous, to another dtype or device.

Floor 6. A copy is recorded as a pointwise copy into a fresh storage, so it fuses with what comes before and after.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import dtypes
from .autograd.graph import CallNode
from .autograd.modes import state
from .device import device as Device
from .device import storage_device
from .dispatch import cast, copy_into, result_stride
from .dtypes import FLOAT, DType
from .engine import Storage, read
from .shapes import Layout, contiguous_stride, layout
from .tensor import Tensor, make


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


def clone(input: Tensor, *, memory_format: memory_format = preserve_format) -> Tensor:
    """A copy; gradients flow through it."""
    lay = input._layout
    return copied(input, lay.dtype, format_stride(lay.shape, memory_format, lay), "CloneBackward0")


def copied(t: Tensor, dtype: DType, stride: tuple[int, ...] | None, label: str) -> Tensor:
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
        return moved(self, target, dtype)
    stride = format_stride(lay.shape, wanted, lay)
    same = dtype is lay.dtype and (wanted is preserve_format or is_contiguous(self, wanted))
    if same and not copy:
        return self
    return copied(self, dtype, stride, "ToCopyBackward0")


def _python_type(given: type) -> DType:
    found = {float: dtypes.get_default_dtype(), int: dtypes.int64, bool: dtypes.bool_}.get(given)
    if found is None:
        raise TypeError(f"to(): dtype: got {given.__name__}, wanted a dtype")
    return found


def moved(t: Tensor, device: Any, dtype: DType) -> Tensor:
    """`t` on another device, through the host."""
    source = cast(t, dtype) if dtype.itemsize < t._layout.dtype.itemsize else t
    array = read(source._storage, source._layout)
    out = make(Storage.from_numpy(device, array), layout(source._layout.dtype, source._layout.shape))
    if dtype is not out._layout.dtype:
        out = cast(out, dtype)
    if t._requires_grad and state.grad and dtype.category == FLOAT:
        back, before = t._storage.device, t._layout.dtype
        out._set_history(CallNode("ToCopyBackward0", t, lambda g: moved(g, back, before)), 0)
    return out


def type_of(self: Tensor, dtype: Any = None, non_blocking: bool = False, **named: Any) -> Any:
    """PyTorch's name of the tensor's type ('torch.FloatTensor'), or the tensor converted to `dtype`."""
    if dtype is None:
        return "torch." + _TYPE_NAMES[self._layout.dtype.name]
    if isinstance(dtype, str):
        name = dtype.rpartition(".")[2]
        dtype = next((dtypes.by_name(k) for k, v in _TYPE_NAMES.items() if v == name), None)
        if dtype is None:
            raise ValueError(
                f"type(): dtype: got {name!r}, wanted the name of a tensor type such as 'torch.FloatTensor'"
            )
    return to(self, dtype)


_TYPE_NAMES = {
    "float32": "FloatTensor", "float64": "DoubleTensor", "float16": "HalfTensor", "bfloat16": "BFloat16Tensor",
    "int64": "LongTensor",
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


def cuda(
    self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: memory_format = preserve_format
) -> Tensor:
    """On an OpenCL device (the name is PyTorch's)."""
    return to(self, "cl" if device is None else device)


METHODS = {f.__name__: f for f in (is_contiguous, clone, contiguous, to, type_as, cpu, cuda)} | {"type": type_of}
METHODS |= {
    name: _converter(dtype)
    for name, dtype in {
        "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "bfloat16": dtypes.bfloat16,
        "long": dtypes.int64, "int": dtypes.int32, "short": dtypes.int16, "char": dtypes.int8, "byte": dtypes.uint8,
        "bool": dtypes.bool_,
    }.items()
}  # fmt: skip
for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
