"""Shapes, strides and interned layouts.

Floor 0. A `Layout` says how a view lies in its storage: dtype, shape, stride and offset, both in elements. Layouts are
interned, so equal layouts are the same object: they compare by identity, serve as dictionary keys for nothing, and
carry a memo of what was derived from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from math import prod

from .dtypes import DType

_interned: dict[tuple, Layout] = {}
_numbers = count()


class Layout:
    """dtype, shape, stride (elements), offset (elements); `contiguous` is C order, whatever the offset.

    `memo` holds what other floors derive from the layout (views by their parameters), so that a training loop derives
    once. `id` is a small integer, unique in the process. Make one with `layout()`.
    """

    __slots__ = ("dtype", "shape", "stride", "offset", "numel", "contiguous", "id", "memo", "nbytes")

    dtype: DType
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    numel: int
    contiguous: bool
    id: int
    memo: dict
    nbytes: int

    def __repr__(self) -> str:
        where = "" if self.contiguous and not self.offset else f", stride={self.stride}, offset={self.offset}"
        return f"Layout({self.dtype.name}, {self.shape}{where})"

    def with_dtype(self, dtype: DType) -> Layout:
        return layout(dtype, self.shape, self.stride, self.offset)

    def broadcast_to(self, shape: tuple[int, ...]) -> Layout:
        """This layout read as `shape`: new and expanded dimensions have stride 0. The shapes must broadcast."""
        if shape == self.shape:
            return self
        key = ("broadcast", shape)
        found = self.memo.get(key)
        if found is None:
            pad = len(shape) - len(self.shape)
            stride = (0,) * pad + tuple(0 if a != b else s for a, b, s in zip(self.shape, shape[pad:], self.stride))
            found = self.memo[key] = layout(self.dtype, shape, stride, self.offset)
        return found

    def extent(self) -> tuple[int, int]:
        """First and last element of the storage that the view touches (last < first if it is empty)."""
        if not self.numel:
            return 0, -1
        low = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride) if s < 0)
        high = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride) if s > 0)
        return low, high

    def dense(self) -> bool:
        """True if the view covers each element of one gapless stretch exactly once, in any order of dimensions."""
        expected = 1
        for s, n in sorted((s, n) for s, n in zip(self.stride, self.shape) if n != 1):
            if s != expected:
                return False
            expected *= n
        return True

    def __reduce__(self):
        return layout, (self.dtype, self.shape, self.stride, self.offset)


def contiguous_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """C-order strides in elements.

    >>> contiguous_stride((2, 3, 4))
    (12, 4, 1)
    """
    stride, step = [0] * len(shape), 1
    for d in range(len(shape) - 1, -1, -1):
        stride[d] = step
        step *= max(shape[d], 1)
    return tuple(stride)


def layout(dtype: DType, shape: tuple[int, ...], stride: tuple[int, ...] | None = None, offset: int = 0) -> Layout:
    """The one Layout with these facts (C order if `stride` is not given)."""
    key = (dtype, shape, stride, offset)
    found = _interned.get(key)
    if found is not None:
        return found
    natural = contiguous_stride(shape)
    full = (dtype, shape, natural if stride is None else stride, offset)
    found = _interned.get(full)
    if found is None:
        found = Layout()
        found.dtype, found.shape, found.stride, found.offset = full
        found.numel = prod(shape)
        found.nbytes = found.numel * dtype.itemsize
        found.contiguous = found.numel == 0 or all(n == 1 or s == t for n, s, t in zip(shape, full[2], natural))
        found.id = next(_numbers)
        found.memo = {}
        _interned[full] = found
    _interned[key] = found
    return found


def broadcast(op: str, *given: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all of `given` broadcast to. Raises RuntimeError naming op, shapes and dimension.

    >>> broadcast("add", (3, 1), (4,))
    (3, 4)
    """
    longest: tuple[int, ...] = max(given, key=len)  # type: ignore[arg-type]
    out = list(longest)
    for shape in given:
        for d in range(-1, -len(shape) - 1, -1):
            n = shape[d]
            if n != out[d]:
                if out[d] == 1:
                    out[d] = n
                elif n != 1:
                    listed = " and ".join(str(s) for s in given)
                    raise RuntimeError(f"{op}: shapes {listed} do not broadcast (dim {d}: {out[d]} vs {n})")
    return tuple(out)


def wrap_dim(op: str, dim: int, ndim: int, argument: str = "dim") -> int:
    """`dim` counted from the front. Raises IndexError as PyTorch does; a 0-d tensor accepts 0 and -1."""
    bound = max(ndim, 1)
    try:
        ok = -bound <= dim < bound
    except TypeError:
        raise TypeError(f"{op}: {argument}: got {type(dim).__name__}, wanted int") from None
    if not ok:
        raise IndexError(
            f"{op}: {argument}: Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], "
            f"but got {dim})"
        )
    return dim + bound if dim < 0 else dim


def wrap_dims(op: str, dim: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Sorted distinct dims counted from the front; None and an empty list mean all of them."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(ndim))
    if isinstance(dim, int):
        return (wrap_dim(op, dim, ndim),) if ndim else (wrap_dim(op, dim, ndim),)[:0]
    wrapped = [wrap_dim(op, d, ndim) for d in dim]
    for d in wrapped:
        if wrapped.count(d) > 1:
            raise RuntimeError(f"{op}: dim: dim {d} appears multiple times in the list of dims {tuple(dim)}")
    return tuple(sorted(wrapped)) if ndim else ()


def infer_size(op: str, shape: tuple[int, ...], numel: int) -> tuple[int, ...]:
    """`shape` with its one -1, if any, resolved for `numel` elements. Raises RuntimeError where it does not fit."""
    holes = [d for d, n in enumerate(shape) if n == -1]
    if any(n < -1 for n in shape):
        raise RuntimeError(f"{op}: invalid shape dimension {min(shape)} in {list(shape)}")
    if len(holes) > 1:
        raise RuntimeError(f"{op}: only one dimension can be inferred, got {list(shape)}")
    if holes:
        rest = prod(n for n in shape if n != -1)
        if rest == 0:
            if numel == 0:
                raise RuntimeError(
                    f"{op}: cannot reshape tensor of 0 elements into shape {list(shape)} because the "
                    "unspecified dimension size -1 can be any value and is ambiguous"
                )
        if rest and numel % rest == 0:
            return tuple(numel // rest if n == -1 else n for n in shape)
    elif prod(shape) == numel:
        return tuple(shape)
    raise RuntimeError(f"{op}: shape '{list(shape)}' is invalid for input of size {numel}")


def view_stride(shape: tuple[int, ...], stride: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides with which `new` views the same elements without a copy, or None if there are none.

    >>> view_stride((2, 3, 4), (12, 4, 1), (6, 4)), view_stride((3, 2), (1, 3), (6,))
    ((4, 1), None)
    """
    if 0 in shape:
        return contiguous_stride(new)
    old = [(n, s) for n, s in zip(shape, stride) if n != 1]
    runs: list[tuple[int, int]] = []  # (elements, innermost stride) of stretches that step evenly, outermost first
    for n, s in old:
        if runs and runs[-1][1] == n * s:
            runs[-1] = (runs[-1][0] * n, s)
        else:
            runs.append((n, s))
    out = [0] * len(new)
    at = len(runs) - 1
    left, step = runs[at] if runs else (1, 1)
    for d in range(len(new) - 1, -1, -1):
        n = new[d]
        if n == 1:
            out[d] = step if d == len(new) - 1 else out[d + 1] * new[d + 1]
            continue
        if left == 1:
            at -= 1
            if at < 0:
                return None
            left, step = runs[at]
        if left % n:
            return None
        out[d] = step
        left //= n
        step *= n
    return tuple(out)
