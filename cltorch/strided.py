"""Views with any strides: as_strided and sliding windows, and the gradients of views whose elements overlap.

Floor 6.
"""

from __future__ import annotations

from typing import Any

from .autograd import history
from .autograd.graph import CallNode
from .autograd.modes import no_grad, state
from .dispatch import copy_into, full
from .engine import Storage
from .parts import select, slice_dim
from .shapes import Layout, layout, wrap_dim
from .tensor import Tensor, make
from .views import in_place_form, make_view, unview


def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` along a dim, every `step`; the window is the last dim."""
    lay = self._layout
    n = len(lay.shape)
    d = wrap_dim("unfold", dimension, n, "dimension")
    have = lay.shape[d] if n else 1
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > have:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {have} but size is {size}")
    if not n:
        found = layout(lay.dtype, (size,), (1,), lay.offset)
    else:
        count = (have - size) // step + 1
        shape = (*lay.shape[:d], count, *lay.shape[d + 1 :], size)
        stride = (*lay.stride[:d], lay.stride[d] * step, *lay.stride[d + 1 :], lay.stride[d])
        found = layout(lay.dtype, shape, stride, lay.offset)
    before = lay.shape

    def backward(g: Tensor) -> Tensor:
        if not n:
            return g.sum_to_size((1,)).reshape(()) if size else g.new_zeros(())
        return (
            unview(g, before, lambda x: unfold(x, d, size, step))
            if step >= size
            else fold_windows(g, before, d, size, step)
        )

    return make_view(self, found, "UnfoldBackward0", backward)


def fold_windows(g: Tensor, shape: tuple[int, ...], d: int, size: int, step: int) -> Tensor:
    """Backward of overlapping windows: adds window element i to the slices i, i + step, … of zeros."""
    out = full(shape, 0, g._layout.dtype, g._storage.device)
    last = g.ndim - 1
    with no_grad():
        count = g._layout.shape[d]
        for i in range(size):
            slice_dim(out, d, i, i + (count - 1) * step + 1, step).add_(select(g, last, i))
    out._storage.version = 0
    if g._requires_grad and state.grad:
        out._set_history(CallNode("UnfoldBackwardBackward0", g, lambda x: unfold(x, d, size, step)), 0)
    return out


def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """Any view of the storage: sizes, strides and offset in elements. Raises RuntimeError where it would leave the
    storage."""
    lay = input._layout
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError(f"mismatch in length of strides and shape: got {len(stride)} and {len(size)}")
    if any(s < 0 for s in stride):
        raise RuntimeError(f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    offset = lay.offset if storage_offset is None else storage_offset
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    found = layout(lay.dtype, size, stride, offset)
    end = (found.extent()[1] + 1) * lay.dtype.itemsize
    if found.numel and end > input._storage.nbytes:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize "
            f"{lay.dtype.itemsize} requiring a storage size "
            f"of {end} are out of bounds for storage of size {input._storage.nbytes}"
        )
    return make_view(input, found, "AsStridedBackward0", lambda g: strided_gradient(g, lay, found))


def as_strided_scatter(input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A copy of `input` with `src` in its `as_strided` view."""
    out = input.clone()
    out.as_strided(size, stride, storage_offset).copy_(src)
    return out


def strided_gradient(g: Tensor, source: Layout, found: Layout) -> Tensor:
    """The gradient of a tensor that lies as `source`, given that of its as_strided view `found` (both from the
    storage's begin)."""
    dtype, device = g._layout.dtype, g._storage.device
    base = min(source.offset, found.offset)
    extent = max(source.extent()[1], found.extent()[1], base) - base + 1
    here = layout(dtype, found.shape, found.stride, found.offset - base)
    there = layout(dtype, source.shape, source.stride, source.offset - base)
    flat = _accumulated(g, here, extent) if history.overlapping(here) else None
    if flat is None:
        flat = full((extent,), 0, dtype, device)
        copy_into(flat._storage, here, g)
    if history.overlapping(there):
        counts = _accumulated(full(there.shape, 1, dtype, device), there, extent)
        with no_grad():
            flat = flat / counts.clamp_min(1)
    out = make(flat._storage, there)
    if g._requires_grad and state.grad:

        def backward(gg: Tensor) -> Tensor:
            storage = Storage(device, extent * dtype.itemsize)
            copy_into(storage, layout(dtype, (extent,)), full((extent,), 0, dtype, device))
            copy_into(storage, there, gg)
            made = make(storage, here)
            if gg._requires_grad and state.grad:
                made._set_history(
                    CallNode("AsStridedBackwardBackward0", gg, lambda x: strided_gradient(x, there, here)), 0
                )
            return made

        out._set_history(CallNode("AsStridedBackwardBackward0", g, backward), 0)
    return out


def _accumulated(g: Tensor, lay: Layout, extent: int) -> Tensor:
    """A vector of `extent` elements in which every element of `g` was added at its place in `lay`."""
    out = full((extent,), 0, g._layout.dtype, g._storage.device)
    order = sorted(range(len(lay.shape)), key=lambda d: lay.stride[d])
    inner: list[int] = []  # dims that do not overlap among each other are added at once, the others one by one
    reach = 0
    outer: list[int] = []
    for d in order:
        n, s = lay.shape[d], lay.stride[d]
        if n == 1 or s > reach:
            inner.append(d)
            reach += s * (n - 1)
        else:
            outer.append(d)
    with no_grad():
        _add_windows(out, g.detach(), lay, sorted(outer), 0)
    return out


def _add_windows(out: Tensor, g: Tensor, lay: Layout, outer: list[int], dropped: int) -> None:
    if not outer:
        make(out._storage, lay).add_(g)
        return
    d = outer[0] - dropped
    shape, stride = lay.shape[:d] + lay.shape[d + 1 :], lay.stride[:d] + lay.stride[d + 1 :]
    for i in range(lay.shape[d]):
        _add_windows(
            out,
            select(g, d, i),
            layout(lay.dtype, shape, stride, lay.offset + i * lay.stride[d]),
            outer[1:],
            dropped + 1,
        )


METHODS = {
    "unfold": unfold,
    "as_strided": as_strided,
    "as_strided_scatter": as_strided_scatter,
    "_strided_gradient": strided_gradient,
}
for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
Tensor.as_strided_ = in_place_form("as_strided_", as_strided)  # type: ignore[attr-defined]
