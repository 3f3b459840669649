"""Views of some elements: select, slices, pieces, diagonals.

Floor 6. The backward of one such view is `unview`: zeros of the operand's shape with the gradient copied into the
same view of them. Pieces (split, unbind, …) are the outputs of one node, whose backward joins the gradients of all.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from .autograd import history
from .autograd.graph import ManyNode
from .autograd.modes import state
from .copies import cat, stack
from .dispatch import full
from .shapes import Layout, layout, wrap_dim
from .tensor import Tensor, make
from .views import make_view, unview

_slice = builtins.slice


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at `index` of `dim`, without that dim."""
    lay = input._layout
    if not lay.shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim("select", dim, len(lay.shape))
    index = index.__index__()
    n = lay.shape[d]
    if not -n <= index < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(lay.shape)} at dimension {d}")
    i = index + n if index < 0 else index
    key = ("select", d, i)
    found = lay.memo.get(key)
    if found is None:
        found = layout(
            lay.dtype,
            lay.shape[:d] + lay.shape[d + 1 :],
            lay.stride[:d] + lay.stride[d + 1 :],
            lay.offset + i * lay.stride[d],
        )
        lay.memo[key] = found
    before = lay.shape
    return make_view(input, found, "SelectBackward0", lambda g: unview(g, before, lambda x: x.select(d, i)))


def slice_dim(input: Tensor, dim: int, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """`start:end:step` of `dim`, bounds as in Python; `step` must be positive."""
    lay = input._layout
    if not lay.shape:
        raise RuntimeError("slice() cannot be applied to a 0-dim tensor.")
    d = wrap_dim("slice", dim, len(lay.shape))
    if step <= 0:
        raise ValueError("step must be greater than zero")
    a, b, s = _slice(start, end, step).indices(lay.shape[d])
    key = ("slice", d, a, b, s)
    found = lay.memo.get(key)
    if found is None:
        n = max(0, -(-(b - a) // s))
        shape = (*lay.shape[:d], n, *lay.shape[d + 1 :])
        stride = (*lay.stride[:d], lay.stride[d] * s, *lay.stride[d + 1 :])
        found = lay.memo[key] = layout(lay.dtype, shape, stride, lay.offset + a * lay.stride[d])
    before = lay.shape
    return make_view(input, found, "SliceBackward0", lambda g: unview(g, before, lambda x: slice_dim(x, d, a, b, s)))


def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """`length` slices of `dim` from `start` on."""
    shape = input._layout.shape
    if not shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    d = wrap_dim("narrow", dim, len(shape))
    begin = int(start)
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -shape[d] <= begin <= shape[d]:
        raise IndexError(f"start out of range (expected to be in range of [{-shape[d]}, {shape[d]}], but got {begin})")
    if begin < 0:
        begin += shape[d]
    if begin + length > shape[d]:
        raise RuntimeError(f"start ({begin}) + length ({length}) exceeds dimension size ({shape[d]}).")
    return slice_dim(input, d, begin, begin + length)


def _sections(input: Tensor, d: int, sizes: Sequence[int], label: str) -> tuple[Tensor, ...]:
    """Consecutive pieces of `d` with `sizes`, as the outputs of one node."""
    lay, device = input._layout, input._storage.device
    outs, at = [], 0
    with_grad = input._requires_grad and state.grad
    for n in sizes:
        shape = (*lay.shape[:d], n, *lay.shape[d + 1 :])
        outs.append(layout(lay.dtype, shape, lay.stride, lay.offset + at * lay.stride[d]))
        at += n
    if not with_grad:
        return tuple([_quiet_view(input, o) for o in outs])
    shapes = [o.shape for o in outs]

    def backward(*grads: Any) -> tuple[Tensor]:
        dtype = next(g for g in grads if g is not None)._layout.dtype
        return (cat([full(s, 0, dtype, device) if g is None else g for g, s in zip(grads, shapes)], d),)

    return _many_views(input, outs, ManyNode(label, (input,), backward, len(outs)))


def _quiet_view(t: Tensor, lay: Layout) -> Tensor:
    made = make_view(t, lay, "", lambda g: g)
    if state.grad:
        made._more.kind = "multiple"
    return made


def _many_views(t: Tensor, outs: Sequence[Layout], node: ManyNode) -> tuple[Tensor, ...]:
    found = []
    base = t if t._base is None else t._base
    for i, lay in enumerate(outs):
        made = make(t._storage, lay, True, node, i)
        made._base = base
        made._more.kind = "multiple"
        history.watch(base, made)
        found.append(made)
    return tuple(found)


def split(input: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of `split_size` slices of `dim` each, the last may be shorter; or of the sizes in a list."""
    shape = input._layout.shape
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = wrap_dim("split", dim, len(shape))
    n = shape[d]
    if isinstance(split_size, (tuple, list)):
        if sum(split_size) != n or any(s < 0 for s in split_size):
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), "
                f"but got split_sizes={list(split_size)}"
            )
        return _sections(input, d, split_size, "SplitWithSizesBackward0")
    if split_size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={split_size}")
    if split_size == 0:
        if n:
            raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
        return _sections(input, d, (0,), "SplitBackward0")
    sizes = [min(split_size, n - at) for at in range(0, n, split_size)] or [0]
    return _sections(input, d, sizes, "SplitBackward0")


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of the given sizes along `dim`."""
    return split(input, list(split_sizes), dim)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size along `dim`; the last may be shorter."""
    shape = input._layout.shape
    if not shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    d = wrap_dim("chunk", dim, len(shape))
    size = -(-shape[d] // chunks)
    return split(input, size, d) if size else _sections(input, d, [0] * chunks, "SplitBackward0")


def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of nearly equal size, or cut before the given indices."""
    shape = input._layout.shape
    if not shape:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    d = wrap_dim("tensor_split", dim, len(shape))
    n = shape[d]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        count = indices_or_sections
        if count <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {count}")
        sizes = [n // count + (i < n % count) for i in range(count)]
        cuts = [sum(sizes[:i]) for i in range(1, count)]
    else:
        cuts = list(indices_or_sections)
    edges = [None, *cuts, None]
    return tuple(slice_dim(input, d, a, b) for a, b in zip(edges, edges[1:]))


def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along columns (dim 1, or 0 of a vector)."""
    if not input.ndim:
        raise RuntimeError(
            "torch.hsplit requires a tensor with at least 1 dimension, but got a tensor with 0 dimensions!"
        )
    return _even_split(input, indices_or_sections, 0 if input.ndim == 1 else 1, "hsplit")


def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along rows (dim 0)."""
    if input.ndim < 2:
        raise RuntimeError(
            f"torch.vsplit requires a tensor with at least 2 dimension, but got a tensor with {input.ndim} dimensions!"
        )
    return _even_split(input, indices_or_sections, 0, "vsplit")


def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along dim 2."""
    if input.ndim < 3:
        raise RuntimeError(
            f"torch.dsplit requires a tensor with at least 3 dimension, but got a tensor with {input.ndim} dimensions!"
        )
    return _even_split(input, indices_or_sections, 2, "dsplit")


def _even_split(t: Tensor, sections: Any, d: int, name: str) -> tuple[Tensor, ...]:
    if isinstance(sections, int) and (sections == 0 or t._layout.shape[d] % sections):
        raise RuntimeError(
            f"torch.{name} attempted to split along dimension {d}, but the size of the dimension {t._layout.shape[d]} "
            f"is not divisible by the "
            f"split_size {sections}!"
        )
    return tensor_split(t, sections, d)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All slices of `dim`, without that dim."""
    lay, device = input._layout, input._storage.device
    if not lay.shape:
        raise RuntimeError("Dimension specified as 0 but tensor has no dimensions")
    d = wrap_dim("unbind", dim, len(lay.shape))
    shape, stride = lay.shape[:d] + lay.shape[d + 1 :], lay.stride[:d] + lay.stride[d + 1 :]
    outs = [layout(lay.dtype, shape, stride, lay.offset + i * lay.stride[d]) for i in range(lay.shape[d])]
    if not (input._requires_grad and state.grad):
        return tuple([_quiet_view(input, o) for o in outs])

    def backward(*grads: Any) -> tuple[Tensor]:
        dtype = next(g for g in grads if g is not None)._layout.dtype
        return (stack([full(shape, 0, dtype, device) if g is None else g for g in grads], d),)

    return _many_views(input, outs, ManyNode("UnbindBackward0", (input,), backward, len(outs)))


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of dims `dim1` and `dim2` as the last dim; `offset` > 0 is above the main one."""
    lay = input._layout
    n = len(lay.shape)
    a, b = wrap_dim("diagonal", dim1, n, "dim1"), wrap_dim("diagonal", dim2, n, "dim2")
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if offset >= 0:
        length, shift = max(min(lay.shape[a], lay.shape[b] - offset), 0), offset * lay.stride[b]
    else:
        length, shift = max(min(lay.shape[a] + offset, lay.shape[b]), 0), -offset * lay.stride[a]
    rest = [d for d in range(n) if d not in (a, b)]
    shape, stride = (
        (*(lay.shape[d] for d in rest), length),
        (*(lay.stride[d] for d in rest), lay.stride[a] + lay.stride[b]),
    )
    found = layout(lay.dtype, shape, stride, lay.offset + (shift if length else 0))
    before = lay.shape
    return make_view(input, found, "DiagonalBackward0", lambda g: unview(g, before, lambda x: x.diagonal(offset, a, b)))


METHODS: dict[str, Any] = {
    f.__name__: f
    for f in (
        select, narrow, split, split_with_sizes, chunk, tensor_split, hsplit, vsplit, dsplit, unbind, diagonal,
    )
}  # fmt: skip
METHODS["_slice"] = slice_dim
for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
