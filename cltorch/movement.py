"""Repetition and order: repeat, tile, roll, flip, rot90; and new tensors like a given one.

Floor 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes
from .copies import cat, number_for
from .device import storage_device
from .dispatch import cast, empty, full
from .engine import Storage
from .formats import clone, copied
from .shapes import layout, wrap_dim
from .tensor import Tensor, from_array, make
from .views import shape_argument


def repeat(input: Tensor, *times: Any, repeats: Any = None) -> Tensor:
    """The tensor `repeats[d]` times along each dim d; more repeats than dims add dims in front."""
    times = shape_argument("repeat", times if repeats is None else (repeats,))
    shape = input._layout.shape
    if len(times) < len(shape):
        raise RuntimeError(
            f"Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: got "
            f"{len(times)} and {len(shape)}"
        )
    if any(n < 0 for n in times):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(times)}: {list(times)}")
    padded = (1,) * (len(times) - len(shape)) + shape
    between = tuple(n for pair in zip((1,) * len(padded), padded) for n in pair)
    spread = tuple(n for pair in zip(times, padded) for n in pair)
    view = input.reshape(between).expand(spread)  # type: ignore[attr-defined]
    return copied(view, input._layout.dtype, None, "RepeatBackward0").view(tuple(a * b for a, b in zip(times, padded)))  # type: ignore[attr-defined]


def tile(input: Tensor, *times: Any, dims: Any = None) -> Tensor:
    """As `repeat`, with missing repeats taken as 1."""
    times = shape_argument("tile", times if dims is None else (dims,))
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved by `shifts` along `dims`, those beyond the end to the begin; without dims, of the flattened
    tensor."""
    moves = tuple(shifts) if isinstance(shifts, (tuple, list)) else (shifts,)
    if dims is None or dims == ():
        if len(moves) != 1:
            raise RuntimeError(f"roll: shifts and dimensions must align. shifts: {len(moves)}, dims:0")
        return roll(input.reshape(-1), moves, (0,)).view(input._layout.shape)  # type: ignore[attr-defined]
    places = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    if len(places) != len(moves):
        raise RuntimeError(f"roll: shifts and dimensions must align. shifts: {len(moves)}, dims:{len(places)}")
    found = input
    for shift, dim in zip(moves, places):
        shape = found._layout.shape
        d = wrap_dim("roll", dim, len(shape), "dims")
        n = shape[d] if shape else 1
        k = shift % n if n else 0
        found = cat([found.narrow(d, n - k, k), found.narrow(d, 0, n - k)], d) if k else clone(found)  # type: ignore[attr-defined]
    return found


def flip(input: Tensor, *places: Any, dims: Any = None) -> Tensor:
    """The order of elements reversed along `dims`."""
    given = shape_argument("flip", places if dims is None else (dims,))
    shape = input._layout.shape
    wrapped = [wrap_dim("flip", d, len(shape), "dims") for d in given]
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(
            f"dim {next(d for d in wrapped if wrapped.count(d) > 1)} appears multiple times in the list of dims"
        )
    found = input
    for d in wrapped:
        if shape and shape[d] > 1:
            found = found.index_select(d, _descending(shape[d], input._storage.device))  # type: ignore[attr-defined]
    return clone(input) if found is input else found


def _descending(n: int, device: Any) -> Tensor:
    return make(Storage.from_numpy(device, np.arange(n - 1, -1, -1, dtype=np.int64)), layout(dtypes.int64, (n,)))


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by `k` quarters in the plane of two dims, from the first towards the second."""
    n = input.ndim
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if n < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {n}")
    a, b = (wrap_dim("rot90", d, n, "dims") for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    k %= 4
    if k == 0:
        return clone(input)
    if k == 2:
        return flip(input, a, b)
    return clone(flip(input, b).transpose(a, b) if k == 1 else flip(input, a).transpose(a, b))  # type: ignore[attr-defined]


def fliplr(input: Tensor) -> Tensor:
    """`flip` along dim 1."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """`flip` along dim 0."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


def _made(t: Tensor, size: tuple[Any, ...], value: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    shape = shape_argument("size", size)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    where = t._storage.device if device is None else storage_device(device)
    kind = dtype or t._layout.dtype
    out = empty(shape, kind, where) if value is None else full(shape, number_for(kind, value), kind, where)
    if requires_grad:
        out.requires_grad = True
    return out


def new_zeros(
    input: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """Zeros of the given size, with this tensor's dtype and device unless given."""
    return _made(input, size, 0, dtype, device, requires_grad)


def new_ones(
    input: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """Ones of the given size, with this tensor's dtype and device unless given."""
    return _made(input, size, 1, dtype, device, requires_grad)


def new_empty(
    input: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """A tensor of the given size with undefined values, with this tensor's dtype and device unless given."""
    return _made(input, size, None, dtype, device, requires_grad)


def new_full(
    input: Tensor,
    size: Any,
    fill_value: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **_: Any,
) -> Tensor:
    """A tensor of the given size filled with a number, with this tensor's dtype and device unless given."""
    return _made(input, (size,), fill_value, dtype, device, requires_grad)


def new_tensor(
    input: Tensor, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """A tensor with copied data, with this tensor's dtype and device unless given."""
    kind = dtype or input._layout.dtype
    array = data.detach().numpy() if isinstance(data, Tensor) else np.array(data)
    where = input.device if device is None else device
    if kind is dtypes.bfloat16:
        out = cast(from_array(array.astype(np.float32), device=where), kind)
    else:
        out = from_array(np.array(array, dtype=kind.numpy), kind, where)
    out.requires_grad = requires_grad
    return out


METHODS = {
    f.__name__: f
    for f in (
        repeat, tile, roll, flip, rot90, fliplr, flipud, new_zeros, new_ones, new_empty, new_full, new_tensor,
    )
}  # fmt: skip
for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
