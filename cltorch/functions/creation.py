"""Functions that make tensors: from data, filled, ranges, grids, triangles.

Floor 6. Filled tensors and integer ranges are recorded, so they fuse with what uses them; data and floating point
ranges start as host memory.
"""

from __future__ import annotations

import builtins
import itertools
import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.modes import state
from ..device import storage_device
from ..dispatch import apply, cast, store_out
from ..dispatch import empty as empty_on
from ..dispatch import full as full_on
from ..dtypes import BOOL, FLOAT, DType
from ..engine import Storage, make_spec, record
from ..ops import pointwise as records
from ..shapes import layout
from ..tensor import Tensor, from_array, make
from .derive import check_tensor, with_out
from .nodes import give_backward

__all__ = [
    "tensor",
    "as_tensor",
    "asarray",
    "from_numpy",
    "frombuffer",
    "scalar_tensor",
    "zeros",
    "ones",
    "full",
    "empty",
    "zeros_like",
    "ones_like",
    "full_like",
    "empty_like",
    "empty_strided",
    "empty_permuted",
    "fill",
    "arange",
    "range",
    "linspace",
    "logspace",
    "eye",
    "tril",
    "triu",
    "tril_indices",
    "triu_indices",
    "diag",
    "diag_embed",
    "diagflat",
    "one_hot",
    "meshgrid",
    "cartesian_prod",
    "combinations",
    "vander",
]
_py_range = builtins.range  # this room's own range shadows it

# ---- from data


def bfloat16_bits(values: np.ndarray) -> np.ndarray:
    """float32 values as bfloat16 bits: to nearest even, NaN kept."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), ((bits >> 16) | 0x40).astype(np.uint16), rounded)


def _lengths(data: Any) -> None:
    """Raise ValueError as PyTorch does where nested sequences are ragged."""

    def walk(x: Any, depth: int) -> tuple[int, ...]:
        if not isinstance(x, (list, tuple)):
            return tuple(getattr(x, "shape", ()))
        shapes = [walk(y, depth + 1) for y in x]
        for s in shapes[1:]:
            if s != shapes[0]:
                if s and shapes[0]:
                    raise ValueError(f"expected sequence of length {shapes[0][0]} at dim {depth + 1} (got {s[0]})")
                raise TypeError(
                    "tensor(): not a sequence of equal shapes" if s else f"expected sequence at dim {depth + 1}"
                )
        return (len(x), *(shapes[0] if shapes else ()))

    walk(data, 0)


def _leaf(data: Any) -> Any:
    while isinstance(data, (list, tuple)):
        if not data:
            return None
        data = data[0]
    return data


def _numbers(data: Any) -> Any:
    """Nested sequences with tensors replaced by their values."""
    if isinstance(data, Tensor):
        return data.detach().numpy() if data.dtype is not dtypes.bfloat16 else data.detach()._array()
    if isinstance(data, (list, tuple)):
        return [_numbers(x) for x in data] if any(isinstance(x, (Tensor, list, tuple)) for x in data) else data
    return data


def _array_of(data: Any, dtype: DType | None) -> tuple[np.ndarray, DType]:
    """An array of `data`, and the dtype that a tensor of it has."""
    if isinstance(data, np.ndarray):
        return data, dtype or dtypes.from_numpy(data.dtype)
    if isinstance(data, (list, tuple)):
        data = _numbers(data)
    try:
        array = np.array(data)
    except ValueError:
        _lengths(data)
        raise
    except OverflowError:
        raise RuntimeError("Overflow when unpacking long long") from None
    if array.dtype == object or array.dtype.kind not in "biuf":
        _lengths(data)
        leaf = _leaf(data)
        if isinstance(leaf, int) or array.dtype.kind == "O" and all(isinstance(x, int) for x in array.reshape(-1)):
            raise RuntimeError("Overflow when unpacking long long")
        if array.dtype.kind == "c":
            raise NotImplementedError("tensor: complex dtypes are not implemented yet")
        bad = next((x for x in array.reshape(-1) if not isinstance(x, (int, float, bool))), leaf)
        if isinstance(bad, str) and isinstance(data, (list, tuple)):
            raise ValueError("too many dimensions 'str'")
        if isinstance(bad, str):
            raise TypeError(f"new(): invalid data type '{type(bad).__name__}'")
        raise (
            RuntimeError(f"Could not infer dtype of {type(bad).__name__}")
            if not isinstance(data, (list, tuple)) or dtype is None
            else TypeError(f"must be real number, not {type(bad).__name__}")
        )
    if dtype is None:
        leaf = _leaf(data)
        if array.dtype.kind == "u" and array.dtype.itemsize == 8 and not isinstance(leaf, (np.generic, np.ndarray)):
            raise RuntimeError("Overflow when unpacking long long")
        if isinstance(data, np.generic) or (isinstance(leaf, (np.ndarray, np.generic)) and not isinstance(leaf, float)):
            dtype = dtypes.from_numpy(array.dtype)
        elif array.size == 0 or array.dtype.kind == "f":
            dtype = dtypes.get_default_dtype()
        else:
            dtype = dtypes.bool_ if array.dtype.kind == "b" else dtypes.int64
    return array, dtype


def _host(array: np.ndarray, dtype: DType, copy: bool) -> np.ndarray:
    """The bytes of a tensor of `dtype` with the values of `array`."""
    if dtype is dtypes.bfloat16:
        return bfloat16_bits(np.asarray(array, np.float32)).reshape(array.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return (
            np.array(array, dtype.numpy, order="C")
            if copy
            else np.ascontiguousarray(array, dtype.numpy).reshape(array.shape)
        )


def tensor(
    data: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """A leaf tensor with a copy of `data`: a number, nested sequences, an array or a tensor.

    **Dtypes** floats become the default dtype, ints int64, bools bool, arrays keep theirs.
    **Raises** ValueError for ragged sequences, TypeError and RuntimeError for what is no number.

    >>> cltorch.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    _check_dtype("tensor", dtype)
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone()."
            "requires_grad_(True), rather than torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        found = data.detach().clone().to(device=data.device if device is None else device, dtype=dtype or data.dtype)
    else:
        array, dtype = _array_of(data, dtype)
        found = from_array(_host(array, dtype, True), dtype, device)
    if requires_grad:
        found.requires_grad = True
    return found


def _check_dtype(op: str, dtype: Any) -> None:
    if dtype is not None and not isinstance(dtype, DType):
        raise TypeError(
            f"{op}(): argument 'dtype' must be dtype, not {getattr(dtype, '__name__', type(dtype).__name__)}"
        )


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """`data` as a tensor, without a copy where it is one already or an array of the right dtype."""
    _check_dtype("as_tensor", dtype)
    if isinstance(data, Tensor):
        return data.to(device=data.device if device is None else device, dtype=dtype or data.dtype)
    array, dtype = _array_of(data, dtype)
    found = from_array(_host(array, dtype, False), dtype, device)
    return _foreign(found) if isinstance(data, np.ndarray) else found


def asarray(
    obj: Any, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """`obj` as a tensor; a copy if `copy`, an error if False and one is needed."""
    if isinstance(obj, Tensor):
        found = obj.to(device=obj.device if device is None else device, dtype=dtype or obj.dtype)
        if found is not obj and copy is False:
            raise ValueError("can't alias tensor: a copy is needed for another dtype or device")
        found = obj.clone() if copy and found is obj else found
        if not requires_grad:
            found = found.detach()
    else:
        found = (
            tensor(obj, dtype=dtype, device=device)
            if copy or not isinstance(obj, np.ndarray)
            else as_tensor(obj, dtype, device)
        )
    if requires_grad and not found.requires_grad:
        found.requires_grad = True
    return found


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor over the memory of an array, until the first operation is recorded on it, which takes a copy: what it
    computes must not depend on what is written into the array later.

    **Raises** TypeError for what is no array or has a dtype no tensor has, ValueError for negative strides.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    if any(s < 0 for s in ndarray.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not "
            "currently supported. (You can "
            "probably work around this by making a copy of your array with array.copy().)"
        )
    return _foreign(from_array(ndarray))


def _foreign(made: Tensor) -> Tensor:
    """The tensor, whose memory belongs to the user."""
    made._storage.foreign = True
    return made


def frombuffer(buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A 1-D tensor over the bytes of `buffer`."""
    array = np.frombuffer(buffer, dtype.numpy, count, offset)
    found = _foreign(from_array(array, dtype))
    if requires_grad:
        found.requires_grad = True
    return found


def scalar_tensor(
    s: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """A 0-d tensor, of the default dtype unless given."""
    return full((), s, dtype=dtype or dtypes.get_default_dtype(), device=device, requires_grad=requires_grad)


# ---- filled


def sizes(op: str, size: Sequence[Any]) -> tuple[int, ...]:
    """The shape given as several ints or as one sequence. Raises TypeError and RuntimeError as PyTorch does."""
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = size[0]
    try:
        shape = tuple(operator.index(n) for n in size)
    except TypeError:
        bad = next(n for n in size if not hasattr(n, "__index__"))
        raise TypeError(
            f"{op}(): argument 'size' must be tuple of ints, but found element of type {type(bad).__name__}"
        ) from None
    for n in shape:
        if n < 0:
            raise RuntimeError(f"{op}: Trying to create tensor with negative dimension {n}: {list(shape)}")
    return shape


def _finish(op: str, found: Tensor, requires_grad: bool, out: Tensor | None = None) -> Tensor:
    if out is not None:
        return store_out(op, out, found)
    if requires_grad:
        found.requires_grad = True
    return found


def zeros(
    *size: Any,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    **_: Any,
) -> Tensor:
    """Zeros of a shape, given as ints or as a sequence."""
    shape = sizes("zeros", size or (_.get("size", ()),))
    kind = dtype or (out.dtype if out is not None else dtypes.get_default_dtype())
    return _finish("zeros", full_on(shape, _zero(kind), kind, storage_device(device)), requires_grad, out)


def ones(
    *size: Any,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    **_: Any,
) -> Tensor:
    """Ones of a shape, given as ints or as a sequence."""
    shape = sizes("ones", size or (_.get("size", ()),))
    kind = dtype or (out.dtype if out is not None else dtypes.get_default_dtype())
    return _finish("ones", full_on(shape, _ONE[kind.category], kind, storage_device(device)), requires_grad, out)


_ONE = (True, 1, 1.0)
_NUMBER = (bool, int, float)


def _zero(dtype: DType) -> Any:
    return (False, 0, 0.0)[dtype.category]


def fill_number(op: str, value: Any, dtype: DType) -> Any:
    """`value` as the Python number that fills a tensor of `dtype`. Raises where PyTorch does."""
    if isinstance(value, Tensor):
        value = value.item()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, complex):
        raise NotImplementedError(f"{op}: complex dtypes are not implemented yet")
    if not isinstance(value, (bool, int, float)):
        raise TypeError(f"{op}(): argument 'fill_value' must be Number, not {type(value).__name__}")
    if dtype.category == dtypes.INTEGER:
        if isinstance(value, float) and not math.isfinite(value):
            raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
        value = int(value)
        facts = np.iinfo(dtype.numpy)
        if not (facts.min <= value <= facts.max or (not dtype.is_signed and -facts.max <= value < 0)):
            raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
        return value if value >= 0 or dtype.is_signed else value + facts.max + 1
    return _NUMBER[dtype.category](value)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    **_: Any,
) -> Tensor:
    """A tensor of a shape with all elements `fill_value`; its dtype follows the value's type."""
    if dtype is None:
        dtype = (
            out.dtype
            if out is not None
            else fill_value.dtype
            if isinstance(fill_value, Tensor)
            else dtypes.of_number(fill_value.item() if isinstance(fill_value, np.generic) else fill_value)
        )
    shape = sizes("full", (size,) if isinstance(size, (tuple, list)) else (size,))
    return _finish(
        "full",
        full_on(shape, fill_number("full", fill_value, dtype), dtype, storage_device(device)),
        requires_grad,
        out,
    )


def empty(
    *size: Any,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    **_: Any,
) -> Tensor:
    """A tensor of a shape without defined values."""
    shape = sizes("empty", size or (_.get("size", ()),))
    if out is not None:
        return out.resize_(shape)
    return _finish("empty", empty_on(shape, dtype or dtypes.get_default_dtype(), storage_device(device)), requires_grad)


def empty_strided(
    size: Any, stride: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """A tensor without defined values, with these strides."""
    kind = dtype or dtypes.get_default_dtype()
    lay = layout(kind, tuple(size), tuple(stride))
    return _finish(
        "empty_strided",
        make(Storage(storage_device(device), (lay.extent()[1] + 1) * kind.itemsize), lay),
        requires_grad,
    )


def empty_permuted(
    size: Any,
    physical_layout: Sequence[int],
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """A tensor without defined values, dense, with dims in memory in the order `physical_layout` (outermost first)."""
    shape = sizes("empty_permuted", (size,))
    if sorted(physical_layout) != list(_py_range(len(shape))):
        raise RuntimeError(
            f"empty_permuted: Number of dimensions in size does not match the permutation physical_layout; got "
            f"{shape} and "
            f"{tuple(physical_layout)}"
        )
    stride, step = [0] * len(shape), 1
    for d in reversed(physical_layout):
        stride[d] = step
        step *= max(shape[d], 1)
    return empty_strided(shape, stride, dtype=dtype, device=device, requires_grad=requires_grad)


def _new_empty_strided(
    self: Tensor,
    size: Any,
    stride: Any,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """A tensor without defined values with these strides, and this tensor's dtype and device unless given."""
    where = self.device if device is None else device
    return empty_strided(size, stride, dtype=dtype or self.dtype, device=where, requires_grad=requires_grad)


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like `input` with all elements `value`, a number or a 0-d tensor."""
    check_tensor("fill", input=input)
    if isinstance(value, Tensor):
        if value.dim():
            raise RuntimeError(
                f"fill only supports 0-dimension value tensor but got tensor with {value.dim()} dimensions."
            )
        return cast(value.to(input.device), input.dtype).expand(input.shape).clone()
    found = full_like(input, value)
    return give_backward("FillBackward0", (input,), found, lambda g: g.new_zeros(g.shape))


def _like(input: Tensor, value: Any, dtype: DType | None, device: Any, requires_grad: bool) -> Tensor:
    check_tensor("like", input=input)
    target = input._storage.device if device is None else storage_device(device)
    kind = dtype or input.dtype
    shape = tuple(input._layout.shape)
    found = empty_on(shape, kind, target) if value is None else full_on(shape, value, kind, target)
    return _finish("like", found, requires_grad)


def zeros_like(
    input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """Zeros with the shape, dtype and device of `input`."""
    check_tensor("zeros_like", input=input)
    return _like(input, _zero(dtype or input.dtype), dtype, device, requires_grad)


def ones_like(
    input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """Ones with the shape, dtype and device of `input`."""
    check_tensor("ones_like", input=input)
    return _like(input, _ONE[(dtype or input.dtype).category], dtype, device, requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """`fill_value` everywhere, with the shape, dtype and device of `input`."""
    check_tensor("full_like", input=input)
    return _like(input, fill_number("full_like", fill_value, dtype or input.dtype), dtype, device, requires_grad)


def empty_like(
    input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """A tensor without defined values, with the shape, dtype and device of `input`."""
    return _like(input, None, dtype, device, requires_grad)


# ---- ranges


def counted(shape: tuple[int, ...], dtype: DType, device: Any) -> Tensor:
    """The C-order number of each element, on the runtime device `device`."""
    lay = layout(dtype, shape)
    storage = Storage(device, lay.nbytes)
    record(make_spec(records.INDEX, (), (lay,)), (), (storage,))
    return make(storage, lay)


def _bounds(op: str, *values: Any) -> list[Any]:
    found = [v.item() if isinstance(v, (Tensor, np.generic)) else v for v in values]
    for v in found:
        if not isinstance(v, (int, float)):
            raise TypeError(f"{op}(): bounds must be Number, not {type(v).__name__}")
        if isinstance(v, float) and not math.isfinite(v):
            raise RuntimeError(f"{op}: unsupported range: {found[0]} -> {found[1]}")
    return found


def _range_of(op: str, start: Any, step: Any, count: int, dtype: DType, device: Any) -> Tensor:
    """start + i * step: recorded for integers, computed in double on the host for floats."""
    whole = isinstance(start, int) and isinstance(step, int)
    if (
        count
        and whole
        and dtype.category != BOOL
        and (dtype.category != FLOAT or max(abs(start), abs(start + step * count)) < 1 << 24 and dtype.itemsize >= 4)
    ):
        found = counted((count,), dtype, storage_device(device))
        if step != 1:
            found = found * step
        return found + start if start else found
    index = np.arange(count)
    values = start + index * step if whole else np.float64(start) + index.astype(np.float64) * step
    return from_array(_host(values, dtype, True), dtype, device)


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    **_: Any,
) -> Tensor:
    """start, start + step, … up to but without `end`; `arange(end)` starts at 0.

    **Dtypes** int64 if all bounds are integers, else the default dtype.
    **Raises** RuntimeError for a step of 0 or of the wrong sign.
    """
    if end is None:
        start, end = 0, start
    start, end, step = _bounds("arange", start, end, step)
    if dtype is None:
        dtype = (
            out.dtype
            if out is not None
            else dtypes.int64
            if all(isinstance(v, int) for v in (start, end, step))
            else dtypes.get_default_dtype()
        )
    if step == 0:
        raise RuntimeError("arange: step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"arange: upper bound and lower bound inconsistent with step sign: got {start} -> {end} by {step}"
        )
    if dtype.category == dtypes.INTEGER:  # as PyTorch: the bounds are converted before anything is counted
        start, end, step = int(start), int(end), int(step)
        if step == 0:
            raise RuntimeError(f"arange: step must be nonzero as {dtype.name}")
        count = -(-(end - start) // step)
    else:
        count = math.ceil((end - start) / step)
    return _finish("arange", _range_of("arange", start, step, max(count, 0), dtype, device), requires_grad, out)


def range(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, … up to and with `end` (deprecated in PyTorch: `arange`)."""
    start, end, step = _bounds("range", start, end, step)
    count = math.floor((end - start) / step) + 1
    return _finish(
        "range", _range_of("range", start, step, count, dtype or dtypes.get_default_dtype(), device), requires_grad
    )


def _spaced(op: str, start: Any, end: Any, steps: int) -> np.ndarray:
    """Evenly spaced values in double, counted from both ends so that both are exact."""
    if not isinstance(steps, int):
        raise TypeError(f"{op}(): argument 'steps' must be int, not {type(steps).__name__}")
    if steps < 0:
        raise RuntimeError(f"{op}: number of steps must be non-negative, got {steps}")
    start, end = (float(v.item()) if isinstance(v, Tensor) else float(v) for v in (start, end))
    index = np.arange(steps, dtype=np.float64)
    step = (end - start) / (steps - 1) if steps > 1 else 0.0
    return (
        np.where(index < steps / 2, start + step * index, end - step * (steps - 1 - index))
        if steps > 1
        else np.full(steps, start)
    )


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    **_: Any,
) -> Tensor:
    """`steps` values from `start` to `end`, both included, evenly spaced."""
    kind = dtype or (out.dtype if out is not None else dtypes.get_default_dtype())
    return _finish(
        "linspace",
        from_array(_host(_spaced("linspace", start, end, steps), kind, True), kind, device),
        requires_grad,
        out,
    )


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    **_: Any,
) -> Tensor:
    """base ** x for x in `linspace(start, end, steps)`."""
    kind = dtype or (out.dtype if out is not None else dtypes.get_default_dtype())
    if kind.category == dtypes.INTEGER:
        start, end = int(start), int(end)
    exponents = _spaced("logspace", start, end, steps)
    with np.errstate(all="ignore"):
        values = np.power(float(base), exponents)
    return _finish("logspace", from_array(_host(values, kind, True), kind, device), requires_grad, out)


# ---- matrices


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    **_: Any,
) -> Tensor:
    """Ones on the diagonal of an n x m matrix of zeros."""
    rows, columns = n, n if m is None else m
    if rows < 0 or columns < 0:
        raise RuntimeError(f"eye: n and m must be greater or equal to 0, got {rows} and {columns}")
    kind = dtype or (out.dtype if out is not None else dtypes.get_default_dtype())
    target = storage_device(device)
    same = counted((rows, 1), dtypes.int64, target) == counted((columns,), dtypes.int64, target)
    return _finish("eye", cast(same, kind), requires_grad, out)


def _triangle(op: str, input: Tensor, diagonal: int, lower: bool) -> Tensor:
    check_tensor(op, input=input)
    if input.dim() < 2:
        raise RuntimeError(f"{op}: input tensor must have at least 2 dimensions, got {input.dim()}")
    rows, columns = input.shape[-2:]
    row = counted((rows, 1), dtypes.int32, input._storage.device)
    column = counted((columns,), dtypes.int32, input._storage.device)
    inside = column - row <= diagonal if lower else column - row >= diagonal
    return apply(records.WHERE, (inside, input, _zero(input.dtype)))


@with_out
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two dims, up to `diagonal` above the main one; zeros elsewhere."""
    return _triangle("tril", input, diagonal, True)


@with_out
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two dims, from `diagonal` above the main one; zeros elsewhere."""
    return _triangle("triu", input, diagonal, False)


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: DType = dtypes.int64, device: Any = None, **_: Any
) -> Tensor:
    """Rows and columns, 2 x n, of the lower triangle."""
    return from_array(np.array(np.tril_indices(row, offset, col), dtype.numpy), dtype, device)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: DType = dtypes.int64, device: Any = None, **_: Any
) -> Tensor:
    """Rows and columns, 2 x n, of the upper triangle."""
    return from_array(np.array(np.triu_indices(row, offset, col), dtype.numpy), dtype, device)


@with_out
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last dim of `input` on a diagonal."""
    check_tensor("diag_embed", input=input)
    ndim = input.dim() + 1
    first, second = (d + ndim if d < 0 else d for d in (dim1, dim2))
    for given, d in ((dim1, first), (dim2, second)):
        if not 0 <= d < ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {given})"
            )
    if first == second:
        raise RuntimeError(f"diag_embed: diagonal dimensions cannot be identical {dim1}, {dim2}")
    n = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for d in sorted((first, second)):
        shape.insert(d, n)
    out = input.new_zeros(shape)
    with_history = state.grad and input.requires_grad
    out.diagonal(offset, first, second).copy_(input.detach() if not with_history else input)
    return out


def diag(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
    """A vector's matrix with it on a diagonal, or a matrix's diagonal."""
    check_tensor("diag", input=input)
    if input.dim() not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.dim()}D")
    found = diag_embed(input, diagonal) if input.dim() == 1 else input.diagonal(diagonal).clone()
    return found if out is None else store_out("diag", out, found.detach())


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with the flattened input on a diagonal."""
    check_tensor("diagflat", input=input)
    return diag_embed(input.reshape(-1), offset)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of x as columns."""
    check_tensor("vander", x=x)
    if x.dim() != 1:
        raise RuntimeError(f"vander: x must be a one-dimensional tensor, got {x.dim()} dimensions")
    count = x.shape[0] if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    powers = [x.new_ones(x.shape)]
    for _ in _py_range(1, count):
        powers.append(powers[-1] * x)
    powers = powers[:count]
    if not powers:
        return x.new_empty((x.shape[0], 0))
    return Tensor.stack(powers if increasing else powers[::-1], 1)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the class, 0 elsewhere, int64, in a new last dim.

    **Raises** RuntimeError for dtypes other than int64 and, where `num_classes` is -1, for an empty tensor. Classes
    are not checked
    against `num_classes`: a class beyond it gives a row of zeros.
    """
    check_tensor("one_hot", tensor=tensor)
    if tensor.dtype is not dtypes.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}")
    if num_classes == -1:
        if tensor.numel() == 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        if int(tensor.min().item()) < 0:
            raise RuntimeError("Class values must be non-negative.")
        num_classes = int(tensor.max().item()) + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    classes = counted((num_classes,), dtypes.int64, tensor._storage.device)
    return cast(tensor.unsqueeze(-1) == classes, dtypes.int64)


# ---- grids


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinate grids of vectors; `indexing` 'ij' (the default) or 'xy'."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if not tensors:
        raise ValueError("meshgrid expects a non-empty TensorList")
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for x in tensors:
        check_tensor("meshgrid", tensors=x)
        if x.dim() > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x.dim()}")
        if x.dtype is not tensors[0].dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    vectors = [x.reshape(-1) for x in tensors]
    swap = indexing == "xy" and len(vectors) > 1
    if swap:
        vectors[0], vectors[1] = vectors[1], vectors[0]
    shape = tuple(v.shape[0] for v in vectors)
    grids = [
        v.reshape(tuple(-1 if i == d else 1 for i in _py_range(len(vectors)))).expand(shape)
        for d, v in enumerate(vectors)
    ]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one element of each vector, as rows."""
    if len(tensors) == 1:
        return tensors[0]
    return Tensor.stack([g.reshape(-1) for g in meshgrid(*tensors)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All combinations of `r` elements of a vector, as rows."""
    check_tensor("combinations", input=input)
    if input.dim() != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty((0,))
    pick = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(pick(_py_range(input.shape[0]), r)), np.int64).reshape(-1, r)
    return input[from_array(rows, device=input.device)]


METHODS: dict[str, Any] = {
    "tril": tril,
    "triu": triu,
    "diag": diag,
    "diag_embed": diag_embed,
    "diagflat": diagflat,
    "new_empty_strided": _new_empty_strided,
}
