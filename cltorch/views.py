"""View operations: other layouts of the same storage, with the node that maps gradients back. Nothing is recorded here but in backward.

Floor 6. A view's layout is derived once and kept in the memo of the layout it came from. Views that pick elements (select, slice,
diagonal, unfold, as_strided) have one backward, `unview`: zeros of the operand's shape with the gradient copied into the same view of them.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from .autograd import history
from .autograd.graph import CallNode, ManyNode
from .autograd.modes import state
from .dispatch import apply, copy_into, full
from .dtypes import DType
from .engine import Storage
from .ops.table import TABLE
from .shapes import Layout, infer_size, layout, view_stride, wrap_dim
from .tensor import Tensor, _new, make

_slice = builtins.slice


def make_view(t: Tensor, lay: Layout, label: str, backward: Callable[[Tensor], Tensor]) -> Tensor:
    """`t` seen as `lay`; `backward` maps the view's gradient to that of `t`."""
    out = _new(Tensor)
    out._storage, out._layout = t._storage, lay
    base = t._base
    if base is None:
        base = t
    out._base, out._extra, out._output_number = base, None, 0
    if t._requires_grad and state.grad:
        out._requires_grad, out._node = True, CallNode(label, t, backward)
    else:
        out._requires_grad, out._node = False, None
        if not state.grad and base._requires_grad:
            out._more.kind = "no_grad"
    extra = t._extra
    if extra is not None and (extra.quiet or extra.inference):
        out._more.quiet, out._more.inference = extra.quiet, extra.inference
    elif state.inference:
        out._more.inference = True
    history.watch(base, out)
    return out


def unview(g: Tensor, shape: tuple[int, ...], view: Callable[[Tensor], Tensor]) -> Tensor:
    """Zeros of `shape` with `g` in `view` of them; its own gradient is `view` of the gradient."""
    out = full(shape, 0, g._layout.dtype, g._storage.device)
    copy_into(out._storage, view(out)._layout, g)
    if g._requires_grad and state.grad:
        out._set_history(CallNode("UnviewBackward0", g, view), 0)
    return out


# ---- shape


def _shape_argument(name: str, shape: tuple[Any, ...]) -> tuple[int, ...]:
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    try:
        return tuple([n if type(n) is int else n.__index__() for n in shape])
    except AttributeError:
        bad = next(n for n in shape if not hasattr(n, "__index__"))
        raise TypeError(f"{name}(): argument 'size' must be tuple of ints, but found element of type {type(bad).__name__}") from None


def view(self: Tensor, *shape: Any, dtype: DType | None = None, size: Any = None) -> Tensor:
    """The same elements in another shape, or the same bytes as another dtype. Raises RuntimeError where that needs a copy.

    Args:
        shape: sizes, one of them may be -1; or a dtype.
    """
    if size is not None:
        shape = (size,)
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], DType)):
        return _view_dtype(self, dtype or shape[0])
    lay = self._layout
    given = _shape_argument("view", shape)
    key = ("view", given)
    found = lay.memo.get(key)
    if found is None:
        full_shape = infer_size("view", given, lay.numel)
        stride = view_stride(lay.shape, lay.stride, full_shape)
        if stride is None:
            raise RuntimeError(
                f"view: size {list(full_shape)} is not compatible with input tensor's size {list(lay.shape)} and stride {list(lay.stride)} (at least "
                "one dimension spans across two contiguous subspaces). Use .reshape(...) instead."
            )
        found = lay.memo[key] = layout(lay.dtype, full_shape, stride, lay.offset)
    before = lay.shape
    return make_view(self, found, "ViewBackward0", lambda g: g.reshape(before))


def _view_dtype(t: Tensor, dtype: DType) -> Tensor:
    lay = t._layout
    a, b = lay.dtype.itemsize, dtype.itemsize
    if a == b:
        found = lay.with_dtype(dtype)
    else:
        if not lay.shape:
            raise RuntimeError("self.dim() cannot be 0 to view {} as {} (different element sizes)".format(lay.dtype.name, dtype.name))
        if lay.stride[-1] != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 to view {lay.dtype.name} as {dtype.name} (different element sizes), got {lay.stride[-1]}")
        if a > b:
            r = a // b
            shape = (*lay.shape[:-1], lay.shape[-1] * r)
            found = layout(dtype, shape, (*(s * r for s in lay.stride[:-1]), 1), lay.offset * r)
        else:
            r = b // a
            if lay.shape[-1] % r or lay.offset % r or any(s % r for s in lay.stride[:-1]):
                raise RuntimeError(f"view: size, strides and offset of {list(lay.shape)} must be divisible by {r} to view {lay.dtype.name} as {dtype.name}")
            found = layout(dtype, (*lay.shape[:-1], lay.shape[-1] // r), (*(s // r for s in lay.stride[:-1]), 1), lay.offset // r)
    if t._requires_grad and state.grad:
        raise RuntimeError("view(dtype) of a tensor that requires grad is not differentiable; detach() it first")
    return make_view(t, found, "ViewDtypeBackward0", lambda g: g)


def reshape(self: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape: a view where possible, else a copy."""
    lay = self._layout
    if not (len(shape) == 1 and isinstance(shape[0], DType)):
        given = _shape_argument("reshape", shape)
        found = lay.memo.get(("view", given))
        if found is None:
            wanted = infer_size("reshape", given, lay.numel)
            stride = view_stride(lay.shape, lay.stride, wanted)
            if stride is None:
                return self.contiguous().view(wanted)
            found = lay.memo[("view", given)] = layout(lay.dtype, wanted, stride, lay.offset)
        before = lay.shape
        return make_view(self, found, "ViewBackward0", lambda g: g.reshape(before))
    raise TypeError("reshape(): argument 'shape' must be tuple of ints, not a dtype")


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """`view` in the shape of `other`."""
    return view(self, other._layout.shape)


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """`reshape` in the shape of `other`."""
    return reshape(self, other._layout.shape)


def flatten(self: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dims `start_dim` to `end_dim` as one."""
    shape = self._layout.shape
    start, end = wrap_dim("flatten", start_dim, len(shape), "start_dim"), wrap_dim("flatten", end_dim, len(shape), "end_dim")
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return reshape(self, 1)
    if start == end:
        return self
    return reshape(self, (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :]))


def ravel(self: Tensor) -> Tensor:
    """All elements in one dimension, in C order."""
    return reshape(self, -1)


def unflatten(self: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dim `dim` as several of `sizes`, one of which may be -1."""
    shape = self._layout.shape
    d = wrap_dim("unflatten", dim, len(shape))
    if not len(sizes):
        raise RuntimeError("unflatten: sizes must be non-empty")
    try:
        sizes = infer_size("unflatten", tuple(sizes), shape[d])
    except RuntimeError:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} ({shape[d]}) in the input tensor"
        ) from None
    return view(self, (*shape[:d], *sizes, *shape[d + 1 :]))


def squeeze(self: Tensor, dim: Any = None) -> Tensor:
    """Without dims of size 1: all of them, or those among `dim`."""
    lay = self._layout
    n = len(lay.shape)
    if dim is None:
        drop = {d for d in range(n) if lay.shape[d] == 1}
    else:
        drop = {wrap_dim("squeeze", d, n) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))}
        drop = {d for d in drop if n and lay.shape[d] == 1}
    keep = [d for d in range(n) if d not in drop]
    found = layout(lay.dtype, tuple(lay.shape[d] for d in keep), tuple(lay.stride[d] for d in keep), lay.offset)
    before = lay.shape
    return make_view(self, found, "SqueezeBackward0", lambda g: g.reshape(before))


def unsqueeze(self: Tensor, dim: int) -> Tensor:
    """With a dim of size 1 put in at `dim`."""
    lay = self._layout
    d = wrap_dim("unsqueeze", dim, len(lay.shape) + 1)
    key = ("unsqueeze", d)
    found = lay.memo.get(key)
    if found is None:
        step = lay.shape[d] * lay.stride[d] if d < len(lay.shape) else 1
        found = layout(lay.dtype, (*lay.shape[:d], 1, *lay.shape[d:]), (*lay.stride[:d], step, *lay.stride[d:]), lay.offset)
        lay.memo[key] = found
    return make_view(self, found, "UnsqueezeBackward0", lambda g: g.squeeze(d))


# ---- order of dims


def transpose(self: Tensor, dim0: int, dim1: int) -> Tensor:
    """Dims `dim0` and `dim1` exchanged."""
    lay = self._layout
    n = len(lay.shape)
    a, b = wrap_dim("transpose", dim0, n, "dim0"), wrap_dim("transpose", dim1, n, "dim1")
    key = ("transpose", a, b)
    found = lay.memo.get(key)
    if found is None:
        order = list(range(n))
        if n:
            order[a], order[b] = b, a
        found = lay.memo[key] = _permuted(lay, order)
    return make_view(self, found, "TransposeBackward0", lambda g: g.transpose(a, b))


def _permuted(lay: Layout, order: Sequence[int]) -> Layout:
    return layout(lay.dtype, tuple(lay.shape[d] for d in order), tuple(lay.stride[d] for d in order), lay.offset)


def permute(self: Tensor, *dims: Any) -> Tensor:
    """Dims in another order."""
    lay = self._layout
    given = _shape_argument("permute", dims)
    n = len(lay.shape)
    if len(given) != n:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering of dimensions i.e. "
            f"input.dim() = {n} is not equal to len(dims) = {len(given)}".replace("permute(sparse_coo)", "permute")
        )
    order = tuple([wrap_dim("permute", d, n) for d in given])
    if len(set(order)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    key = ("permute", order)
    found = lay.memo.get(key)
    if found is None:
        found = lay.memo[key] = _permuted(lay, order)
    inverse = tuple([order.index(d) for d in range(n)])
    return make_view(self, found, "PermuteBackward0", lambda g: g.permute(inverse))


def movedim(self: Tensor, source: Any, destination: Any) -> Tensor:
    """Dims `source` moved to the places `destination`; the others keep their order."""
    n = len(self._layout.shape)
    src = [wrap_dim("movedim", d, n, "source") for d in (source if isinstance(source, (tuple, list)) else (source,))]
    dst = [wrap_dim("movedim", d, n, "destination") for d in (destination if isinstance(destination, (tuple, list)) else (destination,))]
    if len(src) != len(dst):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({src} dims) should contain the same number of dims as destination ({dst} dims)"
        )
    for name, found in (("source", src), ("destination", dst)):
        if len(set(found)) != len(found):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({found})")
    rest = iter([d for d in range(n) if d not in src])
    placed = dict(zip(dst, src))
    return permute(self, tuple(placed[d] if d in placed else next(rest) for d in range(n))) if n else make_view_of(self)


def make_view_of(self: Tensor) -> Tensor:
    """The same view once more."""
    return make_view(self, self._layout, "AliasBackward0", lambda g: g)


def t(self: Tensor) -> Tensor:
    """The transpose of a matrix; a tensor of less dims as it is."""
    n = len(self._layout.shape)
    if n > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {n}D")
    return transpose(self, 0, 1) if n == 2 else make_view_of(self)


def _reversed_dims(self: Tensor) -> Tensor:
    """All dims in reverse order."""
    return permute(self, tuple(range(self.ndim))[::-1])


def _last_two(self: Tensor) -> Tensor:
    """The last two dims exchanged."""
    if self.ndim < 2:
        raise RuntimeError(f"tensor.mT is only supported on matrices or batches of matrices. Got {self.ndim}-D tensor.")
    return transpose(self, -2, -1)


def _adjoint(self: Tensor) -> Tensor:
    """The transpose of a matrix (dtypes are real)."""
    if self.ndim not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {self.ndim}-D tensor.")
    return _reversed_dims(self)


def adjoint(self: Tensor) -> Tensor:
    """The last two dims exchanged (dtypes are real)."""
    return _last_two(self) if self.ndim else make_view_of(self)


# ---- expansion


def expand(self: Tensor, *sizes: Any, implicit: bool = False) -> Tensor:
    """Dims of size 1 repeated to `sizes` without a copy; -1 leaves a dim as it is."""
    lay = self._layout
    given = _shape_argument("expand", sizes)
    key = ("expand", given)
    found = lay.memo.get(key)
    if found is None:
        pad = len(given) - len(lay.shape)
        if pad < 0:
            raise RuntimeError(
                f"expand({self.type()}{{{list(lay.shape)}}}, size={list(given)}): the number of sizes provided ({len(given)}) must be greater or "
                f"equal to the number of dimensions in the tensor ({len(lay.shape)})"
            )
        shape = []
        for d, n in enumerate(given):
            have = lay.shape[d - pad] if d >= pad else None
            if n == -1:
                if have is None:
                    raise RuntimeError(
                        f"expand({self.type()}{{{list(lay.shape)}}}, size={list(given)}): the expanded size of the tensor (-1) isn't allowed in a leading, "
                        f"non-existing dimension {d}"
                    )
                n = have
            elif have is not None and have != n and have != 1:
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) must match the existing size ({have}) at non-singleton dimension {d}.  Target sizes: "
                    f"{list(given)}.  Tensor sizes: {list(lay.shape)}"
                )
            shape.append(n)
        found = lay.memo[key] = lay.broadcast_to(tuple(shape))
    before = lay.shape
    return make_view(self, found, "ExpandBackward0", lambda g: g.sum_to_size(before))


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of `other`."""
    return expand(self, other._layout.shape)


broadcast_to = expand

# ---- parts


def select(self: Tensor, dim: int, index: int) -> Tensor:
    """The slice at `index` of `dim`, without that dim."""
    lay = self._layout
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
        found = layout(lay.dtype, lay.shape[:d] + lay.shape[d + 1 :], lay.stride[:d] + lay.stride[d + 1 :], lay.offset + i * lay.stride[d])
        lay.memo[key] = found
    before = lay.shape
    return make_view(self, found, "SelectBackward0", lambda g: unview(g, before, lambda x: x.select(d, i)))


def slice_dim(self: Tensor, dim: int, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """`start:end:step` of `dim`, bounds as in Python; `step` must be positive."""
    lay = self._layout
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
    return make_view(self, found, "SliceBackward0", lambda g: unview(g, before, lambda x: slice_dim(x, d, a, b, s)))


def narrow(self: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """`length` slices of `dim` from `start` on."""
    shape = self._layout.shape
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
    return slice_dim(self, d, begin, begin + length)


def _sections(self: Tensor, d: int, sizes: Sequence[int], label: str) -> tuple[Tensor, ...]:
    """Consecutive pieces of `d` with `sizes`, as the outputs of one node."""
    lay, device = self._layout, self._storage.device
    outs, at = [], 0
    with_grad = self._requires_grad and state.grad
    for n in sizes:
        shape = (*lay.shape[:d], n, *lay.shape[d + 1 :])
        outs.append(layout(lay.dtype, shape, lay.stride, lay.offset + at * lay.stride[d]))
        at += n
    if not with_grad:
        return tuple([_quiet_view(self, o) for o in outs])
    shapes = [o.shape for o in outs]

    def backward(*grads: Any) -> tuple[Tensor]:
        dtype = next(g for g in grads if g is not None)._layout.dtype
        return (Tensor.cat([full(s, 0, dtype, device) if g is None else g for g, s in zip(grads, shapes)], d),)

    return _many_views(self, outs, ManyNode(label, (self,), backward, len(outs)))


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


def split(self: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of `split_size` slices of `dim` each, the last may be shorter; or of the sizes in a list."""
    shape = self._layout.shape
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = wrap_dim("split", dim, len(shape))
    n = shape[d]
    if isinstance(split_size, (tuple, list)):
        if sum(split_size) != n or any(s < 0 for s in split_size):
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), but got split_sizes={list(split_size)}"
            )
        return _sections(self, d, split_size, "SplitWithSizesBackward0")
    if split_size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={split_size}")
    if split_size == 0:
        if n:
            raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
        return _sections(self, d, (0,), "SplitBackward0")
    sizes = [min(split_size, n - at) for at in range(0, n, split_size)] or [0]
    return _sections(self, d, sizes, "SplitBackward0")


def split_with_sizes(self: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of the given sizes along `dim`."""
    return split(self, list(split_sizes), dim)


def chunk(self: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size along `dim`; the last may be shorter."""
    shape = self._layout.shape
    if not shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    d = wrap_dim("chunk", dim, len(shape))
    size = -(-shape[d] // chunks)
    return split(self, size, d) if size else _sections(self, d, [0] * chunks, "SplitBackward0")


def tensor_split(self: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of nearly equal size, or cut before the given indices."""
    shape = self._layout.shape
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
    return tuple(slice_dim(self, d, a, b) for a, b in zip(edges, edges[1:]))


def hsplit(self: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along columns (dim 1, or 0 of a vector)."""
    if not self.ndim:
        raise RuntimeError("torch.hsplit requires a tensor with at least 1 dimension, but got a tensor with 0 dimensions!")
    return _even_split(self, indices_or_sections, 0 if self.ndim == 1 else 1, "hsplit")


def vsplit(self: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along rows (dim 0)."""
    if self.ndim < 2:
        raise RuntimeError(f"torch.vsplit requires a tensor with at least 2 dimension, but got a tensor with {self.ndim} dimensions!")
    return _even_split(self, indices_or_sections, 0, "vsplit")


def dsplit(self: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """`tensor_split` along dim 2."""
    if self.ndim < 3:
        raise RuntimeError(f"torch.dsplit requires a tensor with at least 3 dimension, but got a tensor with {self.ndim} dimensions!")
    return _even_split(self, indices_or_sections, 2, "dsplit")


def _even_split(t: Tensor, sections: Any, d: int, name: str) -> tuple[Tensor, ...]:
    if isinstance(sections, int) and (sections == 0 or t._layout.shape[d] % sections):
        raise RuntimeError(
            f"torch.{name} attempted to split along dimension {d}, but the size of the dimension {t._layout.shape[d]} is not divisible by the "
            f"split_size {sections}!"
        )
    return tensor_split(t, sections, d)


def unbind(self: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All slices of `dim`, without that dim."""
    lay, device = self._layout, self._storage.device
    if not lay.shape:
        raise RuntimeError("Dimension specified as 0 but tensor has no dimensions")
    d = wrap_dim("unbind", dim, len(lay.shape))
    shape, stride = lay.shape[:d] + lay.shape[d + 1 :], lay.stride[:d] + lay.stride[d + 1 :]
    outs = [layout(lay.dtype, shape, stride, lay.offset + i * lay.stride[d]) for i in range(lay.shape[d])]
    if not (self._requires_grad and state.grad):
        return tuple([_quiet_view(self, o) for o in outs])

    def backward(*grads: Any) -> tuple[Tensor]:
        dtype = next(g for g in grads if g is not None)._layout.dtype
        return (Tensor.stack([full(shape, 0, dtype, device) if g is None else g for g in grads], d),)

    return _many_views(self, outs, ManyNode("UnbindBackward0", (self,), backward, len(outs)))


def diagonal(self: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of dims `dim1` and `dim2` as the last dim; `offset` > 0 is above the main one."""
    lay = self._layout
    n = len(lay.shape)
    a, b = wrap_dim("diagonal", dim1, n, "dim1"), wrap_dim("diagonal", dim2, n, "dim2")
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if offset >= 0:
        length, shift = max(min(lay.shape[a], lay.shape[b] - offset), 0), offset * lay.stride[b]
    else:
        length, shift = max(min(lay.shape[a] + offset, lay.shape[b]), 0), -offset * lay.stride[a]
    rest = [d for d in range(n) if d not in (a, b)]
    shape, stride = (*(lay.shape[d] for d in rest), length), (*(lay.stride[d] for d in rest), lay.stride[a] + lay.stride[b])
    found = layout(lay.dtype, shape, stride, lay.offset + (shift if length else 0))
    before = lay.shape
    return make_view(self, found, "DiagonalBackward0", lambda g: unview(g, before, lambda x: x.diagonal(offset, a, b)))


# ---- overlapping views


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
        return unview(g, before, lambda x: unfold(x, d, size, step)) if step >= size else fold_windows(g, before, d, size, step)

    return make_view(self, found, "UnfoldBackward0", backward)


def fold_windows(g: Tensor, shape: tuple[int, ...], d: int, size: int, step: int) -> Tensor:
    """Backward of overlapping windows: adds window element i to the slices i, i + step, … of zeros."""
    out = full(shape, 0, g._layout.dtype, g._storage.device)
    last = g.ndim - 1
    with _no_grad():
        count = g._layout.shape[d]
        for i in range(size):
            slice_dim(out, d, i, i + (count - 1) * step + 1, step).add_(select(g, last, i))
    out._storage.version = 0
    if g._requires_grad and state.grad:
        out._set_history(CallNode("UnfoldBackwardBackward0", g, lambda x: unfold(x, d, size, step)), 0)
    return out


class _no_grad:
    def __enter__(self) -> None:
        self.before, state.grad = state.grad, False

    def __exit__(self, *exception: object) -> None:
        state.grad = self.before


def as_strided(self: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """Any view of the storage: sizes, strides and offset in elements. Raises RuntimeError where it would leave the storage."""
    lay = self._layout
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
    if found.numel and end > self._storage.nbytes:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize {lay.dtype.itemsize} requiring a storage size "
            f"of {end} are out of bounds for storage of size {self._storage.nbytes}"
        )
    return make_view(self, found, "AsStridedBackward0", lambda g: strided_gradient(g, lay, found))


def strided_gradient(g: Tensor, source: Layout, found: Layout) -> Tensor:
    """The gradient of a tensor that lies as `source`, given that of its as_strided view `found` (both from the storage's begin)."""
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
        with _no_grad():
            flat = flat / counts.clamp_min(1)
    out = make(flat._storage, there)
    if g._requires_grad and state.grad:

        def backward(gg: Tensor) -> Tensor:
            storage = Storage(device, extent * dtype.itemsize)
            copy_into(storage, layout(dtype, (extent,)), full((extent,), 0, dtype, device))
            copy_into(storage, there, gg)
            made = make(storage, here)
            if gg._requires_grad and state.grad:
                made._set_history(CallNode("AsStridedBackwardBackward0", gg, lambda x: strided_gradient(x, there, here)), 0)
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
    with _no_grad():
        _add_windows(out, g.detach(), lay, sorted(outer), 0)
    return out


def _add_windows(out: Tensor, g: Tensor, lay: Layout, outer: list[int], dropped: int) -> None:
    if not outer:
        make(out._storage, lay).add_(g)
        return
    d = outer[0] - dropped
    shape, stride = lay.shape[:d] + lay.shape[d + 1 :], lay.stride[:d] + lay.stride[d + 1 :]
    for i in range(lay.shape[d]):
        _add_windows(out, select(g, d, i), layout(lay.dtype, shape, stride, lay.offset + i * lay.stride[d]), outer[1:], dropped + 1)


def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Summed over the dims that broadcasting from `size` would add or repeat."""
    lay = self._layout
    shape = _shape_argument("sum_to_size", size)
    if shape == lay.shape:
        return self
    pad = len(lay.shape) - len(shape)
    if pad < 0 or any(a != b and a != 1 for a, b in zip(shape, lay.shape[pad:])):
        raise RuntimeError(f"size {{{list(shape)}}} is not expandable to size {{{list(lay.shape)}}}.")
    dims = tuple(d for d in range(len(lay.shape)) if d < pad or (shape[d - pad] == 1 and lay.shape[d] != 1))
    found = apply(TABLE["_sum"], (self,), (dims, True)) if dims else self
    return found.reshape(shape) if pad else found


def real(self: Tensor) -> Tensor:
    """The tensor itself: dtypes are real."""
    return self


METHODS = {
    f.__name__: f
    for f in (
        view, reshape, view_as, reshape_as, flatten, ravel, unflatten, squeeze, unsqueeze, transpose, permute, movedim, t, adjoint, expand,
        expand_as, select, narrow, split, split_with_sizes, chunk, tensor_split, hsplit, vsplit, dsplit, unbind, diagonal, unfold, as_strided,
        sum_to_size,
    )
}  # fmt: skip
METHODS |= {
    "swapaxes": transpose, "swapdims": transpose, "moveaxis": movedim, "broadcast_to": expand, "_slice": slice_dim, "conj": real,
    "resolve_conj": real, "resolve_neg": real, "alias": make_view_of, "_strided_gradient": strided_gradient,
}  # fmt: skip
for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
for _name, _function in {"T": _reversed_dims, "mT": _last_two, "H": _adjoint, "mH": adjoint, "real": real}.items():
    setattr(Tensor, _name, property(_function))


def _in_place(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, **named: Any) -> Tensor:
        history.check_in_place(name, self, self._requires_grad)
        with _no_grad():
            lay = function(make(self._storage, self._layout), *args, **named)._layout
        if self._requires_grad and state.grad:
            changed = function(make(self._storage, self._layout, True, self._node, self._output_number), *args, **named)
            self._node, self._output_number = changed._node, 0
        self._layout = lay
        self._bump()
        return self

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`{name[:-1]}` of the tensor itself."
    return method


for _name in ("transpose", "squeeze", "unsqueeze", "t", "swapaxes", "swapdims", "as_strided"):
    setattr(Tensor, _name + "_", _in_place(_name + "_", METHODS[_name]))
