"""Views of all elements: other shapes, orders of dims, expansion. Nothing is recorded here but in backward.

Floor 6. A view shares the storage of its tensor; its layout is derived once and kept in the memo of the layout it
came from. `make_view` gives it its node and its base. parts.py has the views of some elements, strided.py those with
any strides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from .autograd import history
from .autograd.graph import CallNode
from .autograd.modes import no_grad, state
from .dispatch import apply, copy_into, full
from .dtypes import DType
from .ops.table import TABLE
from .shapes import Layout, infer_size, layout, view_stride, wrap_dim
from .tensor import Tensor, _new, make


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


def shape_argument(name: str, shape: tuple[Any, ...]) -> tuple[int, ...]:
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    try:
        return tuple([n if type(n) is int else n.__index__() for n in shape])
    except AttributeError:
        bad = next(n for n in shape if not hasattr(n, "__index__"))
        raise TypeError(
            f"{name}(): argument 'size' must be tuple of ints, but found element of type {type(bad).__name__}"
        ) from None


def view(input: Tensor, *shape: Any, dtype: DType | None = None, size: Any = None) -> Tensor:
    """The same elements in another shape, or the same bytes as another dtype. Raises RuntimeError where that needs a
    copy.

    Args:
        shape: sizes, one of them may be -1; or a dtype.
    """
    if size is not None:
        shape = (size,)
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], DType)):
        return _view_dtype(input, dtype or shape[0])
    lay = input._layout
    given = shape_argument("view", shape)
    key = ("view", given)
    found = lay.memo.get(key)
    if found is None:
        full_shape = infer_size("view", given, lay.numel)
        stride = view_stride(lay.shape, lay.stride, full_shape)
        if stride is None:
            raise RuntimeError(
                f"view: size {list(full_shape)} is not compatible with input tensor's size {list(lay.shape)} and "
                f"stride {list(lay.stride)} (at least "
                "one dimension spans across two contiguous subspaces). Use .reshape(...) instead."
            )
        found = lay.memo[key] = layout(lay.dtype, full_shape, stride, lay.offset)
    before = lay.shape
    return make_view(input, found, "ViewBackward0", lambda g: g.reshape(before))


def _view_dtype(t: Tensor, dtype: DType) -> Tensor:
    lay = t._layout
    a, b = lay.dtype.itemsize, dtype.itemsize
    if a == b:
        found = lay.with_dtype(dtype)
    else:
        if not lay.shape:
            raise RuntimeError(
                f"input.dim() cannot be 0 to view {lay.dtype.name} as {dtype.name} (different element sizes)"
            )
        if lay.stride[-1] != 1:
            raise RuntimeError(
                f"input.stride(-1) must be 1 to view {lay.dtype.name} as {dtype.name} (different element sizes), got "
                f"{lay.stride[-1]}"
            )
        if a > b:
            r = a // b
            shape = (*lay.shape[:-1], lay.shape[-1] * r)
            found = layout(dtype, shape, (*(s * r for s in lay.stride[:-1]), 1), lay.offset * r)
        else:
            r = b // a
            if lay.shape[-1] % r or lay.offset % r or any(s % r for s in lay.stride[:-1]):
                raise RuntimeError(
                    f"view: size, strides and offset of {list(lay.shape)} must be divisible by {r} to view "
                    f"{lay.dtype.name} as {dtype.name}"
                )
            found = layout(
                dtype, (*lay.shape[:-1], lay.shape[-1] // r), (*(s // r for s in lay.stride[:-1]), 1), lay.offset // r
            )
    if t._requires_grad and state.grad:
        raise RuntimeError("view(dtype) of a tensor that requires grad is not differentiable; detach() it first")
    return make_view(t, found, "ViewDtypeBackward0", lambda g: g)


def reshape(input: Tensor, *sizes: Any, shape: Any = None) -> Tensor:
    """The same elements in another shape: a view where possible, else a copy."""
    lay = input._layout
    given = shape_argument("reshape", sizes if shape is None else (shape,))
    key = ("view", given)
    found = lay.memo.get(key)
    if found is None:
        wanted = infer_size("reshape", given, lay.numel)
        stride = view_stride(lay.shape, lay.stride, wanted)
        if stride is None:
            return input.contiguous().view(wanted)
        found = lay.memo[key] = layout(lay.dtype, wanted, stride, lay.offset)
    before = lay.shape
    return make_view(input, found, "ViewBackward0", lambda g: g.reshape(before))


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`view` in the shape of `other`."""
    return view(input, other._layout.shape)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` in the shape of `other`."""
    return reshape(input, other._layout.shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dims `start_dim` to `end_dim` as one."""
    shape = input._layout.shape
    start, end = (
        wrap_dim("flatten", start_dim, len(shape), "start_dim"),
        wrap_dim("flatten", end_dim, len(shape), "end_dim"),
    )
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return reshape(input, 1)
    if start == end:
        return input
    return reshape(input, (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :]))


def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension, in C order."""
    return reshape(input, -1)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dim `dim` as several of `sizes`, one of which may be -1."""
    shape = input._layout.shape
    d = wrap_dim("unflatten", dim, len(shape))
    if not len(sizes):
        raise RuntimeError("unflatten: sizes must be non-empty")
    try:
        sizes = infer_size("unflatten", tuple(sizes), shape[d])
    except RuntimeError:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} ({shape[d]}) in the "
            f"input tensor"
        ) from None
    return view(input, (*shape[:d], *sizes, *shape[d + 1 :]))


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without dims of size 1: all of them, or those among `dim`."""
    lay = input._layout
    n = len(lay.shape)
    if dim is None:
        drop = {d for d in range(n) if lay.shape[d] == 1}
    else:
        drop = {wrap_dim("squeeze", d, n) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))}
        drop = {d for d in drop if n and lay.shape[d] == 1}
    keep = [d for d in range(n) if d not in drop]
    found = layout(lay.dtype, tuple(lay.shape[d] for d in keep), tuple(lay.stride[d] for d in keep), lay.offset)
    before = lay.shape
    return make_view(input, found, "SqueezeBackward0", lambda g: g.reshape(before))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a dim of size 1 put in at `dim`."""
    lay = input._layout
    d = wrap_dim("unsqueeze", dim, len(lay.shape) + 1)
    key = ("unsqueeze", d)
    found = lay.memo.get(key)
    if found is None:
        step = lay.shape[d] * lay.stride[d] if d < len(lay.shape) else 1
        found = layout(
            lay.dtype, (*lay.shape[:d], 1, *lay.shape[d:]), (*lay.stride[:d], step, *lay.stride[d:]), lay.offset
        )
        lay.memo[key] = found
    return make_view(input, found, "UnsqueezeBackward0", lambda g: g.squeeze(d))


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Dims `dim0` and `dim1` exchanged."""
    lay = input._layout
    n = len(lay.shape)
    a, b = wrap_dim("transpose", dim0, n, "dim0"), wrap_dim("transpose", dim1, n, "dim1")
    key = ("transpose", a, b)
    found = lay.memo.get(key)
    if found is None:
        order = list(range(n))
        if n:
            order[a], order[b] = b, a
        found = lay.memo[key] = _permuted(lay, order)
    return make_view(input, found, "TransposeBackward0", lambda g: g.transpose(a, b))


def _permuted(lay: Layout, order: Sequence[int]) -> Layout:
    return layout(lay.dtype, tuple(lay.shape[d] for d in order), tuple(lay.stride[d] for d in order), lay.offset)


def permute(input: Tensor, *order: Any, dims: Any = None) -> Tensor:
    """Dims in another order: `permute(2, 0, 1)` or `permute(dims=(2, 0, 1))`."""
    lay = input._layout
    given = shape_argument("permute", order if dims is None else (dims,))
    n = len(lay.shape)
    if len(given) != n:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. "
            f"input.dim() = {n} is not equal to len(dims) = {len(given)}".replace("permute(sparse_coo)", "permute")
        )
    places = tuple([wrap_dim("permute", d, n) for d in given])
    if len(set(places)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    key = ("permute", places)
    found = lay.memo.get(key)
    if found is None:
        found = lay.memo[key] = _permuted(lay, places)
    inverse = tuple([places.index(d) for d in range(n)])
    return make_view(input, found, "PermuteBackward0", lambda g: g.permute(inverse))


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dims `source` moved to the places `destination`; the others keep their order."""
    n = len(input._layout.shape)
    src = [wrap_dim("movedim", d, n, "source") for d in (source if isinstance(source, (tuple, list)) else (source,))]
    dst = [
        wrap_dim("movedim", d, n, "destination")
        for d in (destination if isinstance(destination, (tuple, list)) else (destination,))
    ]
    if len(src) != len(dst):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({src} dims) should contain the same number of dims "
            f"as destination ({dst} dims)"
        )
    for name, found in (("source", src), ("destination", dst)):
        if len(set(found)) != len(found):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({found})")
    rest = iter([d for d in range(n) if d not in src])
    placed = dict(zip(dst, src))
    return permute(input, tuple(placed[d] if d in placed else next(rest) for d in range(n))) if n else same_view(input)


def same_view(input: Tensor) -> Tensor:
    """The same view once more."""
    return make_view(input, input._layout, "AliasBackward0", lambda g: g)


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a tensor of less dims as it is."""
    n = len(input._layout.shape)
    if n > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but input is {n}D")
    return transpose(input, 0, 1) if n == 2 else same_view(input)


def _reversed_dims(input: Tensor) -> Tensor:
    """All dims in reverse order."""
    return permute(input, tuple(range(input.ndim))[::-1])


def _last_two(input: Tensor) -> Tensor:
    """The last two dims exchanged."""
    if input.ndim < 2:
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {input.ndim}-D tensor."
        )
    return transpose(input, -2, -1)


def _adjoint(input: Tensor) -> Tensor:
    """The transpose of a matrix (dtypes are real)."""
    if input.ndim not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {input.ndim}-D tensor.")
    return _reversed_dims(input)


def adjoint(input: Tensor) -> Tensor:
    """The last two dims exchanged (dtypes are real)."""
    return _last_two(input) if input.ndim else same_view(input)


def expand(input: Tensor, *sizes: Any, size: Any = None, implicit: bool = False) -> Tensor:
    """Dims of size 1 repeated to `sizes` without a copy; -1 leaves a dim as it is."""
    lay = input._layout
    given = shape_argument("expand", sizes if size is None else (size,))
    key = ("expand", given)
    found = lay.memo.get(key)
    if found is None:
        pad = len(given) - len(lay.shape)
        if pad < 0:
            raise RuntimeError(
                f"expand({input.type()}{{{list(lay.shape)}}}, size={list(given)}): the number of sizes provided "
                f"({len(given)}) must be greater or "
                f"equal to the number of dimensions in the tensor ({len(lay.shape)})"
            )
        shape = []
        for d, n in enumerate(given):
            have = lay.shape[d - pad] if d >= pad else None
            if n == -1:
                if have is None:
                    raise RuntimeError(
                        f"expand({input.type()}{{{list(lay.shape)}}}, size={list(given)}): the expanded size of the "
                        f"tensor (-1) isn't allowed in a leading, "
                        f"non-existing dimension {d}"
                    )
                n = have
            elif have is not None and have != n and have != 1:
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) must match the existing size ({have}) at non-singleton "
                    f"dimension {d}.  Target sizes: "
                    f"{list(given)}.  Tensor sizes: {list(lay.shape)}"
                )
            shape.append(n)
        found = lay.memo[key] = lay.broadcast_to(tuple(shape))
    before = lay.shape
    return make_view(input, found, "ExpandBackward0", lambda g: g.sum_to_size(before))


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of `other`."""
    return expand(input, other._layout.shape)


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Summed over the dims that broadcasting from `size` would add or repeat."""
    lay = input._layout
    shape = shape_argument("sum_to_size", size)
    if shape == lay.shape:
        return input
    pad = len(lay.shape) - len(shape)
    if pad < 0 or any(a != b and a != 1 for a, b in zip(shape, lay.shape[pad:])):
        raise RuntimeError(f"size {{{list(shape)}}} is not expandable to size {{{list(lay.shape)}}}.")
    dims = tuple(d for d in range(len(lay.shape)) if d < pad or (shape[d - pad] == 1 and lay.shape[d] != 1))
    found = apply(TABLE["_sum"], (input,), (dims, True)) if dims else input
    return found.reshape(shape) if pad else found


def real(input: Tensor) -> Tensor:
    """The tensor itself: dtypes are real."""
    return input


METHODS = {
    f.__name__: f
    for f in (
        view, reshape, view_as, reshape_as, flatten, ravel, unflatten, squeeze, unsqueeze, transpose, permute, movedim,
        t, adjoint, expand, expand_as, sum_to_size,
    )
}  # fmt: skip
METHODS |= {
    "swapaxes": transpose, "swapdims": transpose, "moveaxis": movedim, "broadcast_to": expand, "conj": real,
    "resolve_conj": real, "resolve_neg": real, "alias": same_view,
}  # fmt: skip
for _name, _function in METHODS.items():
    setattr(Tensor, _name, _function)
for _name, _function in {"T": _reversed_dims, "mT": _last_two, "H": _adjoint, "mH": adjoint, "real": real}.items():
    setattr(Tensor, _name, property(_function))


def in_place_form(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(input: Tensor, *args: Any, **named: Any) -> Tensor:
        history.check_in_place(name, input, input._requires_grad)
        with no_grad():
            lay = function(make(input._storage, input._layout), *args, **named)._layout
        if input._requires_grad and state.grad:
            changed = function(
                make(input._storage, input._layout, True, input._node, input._output_number), *args, **named
            )
            input._node, input._output_number = changed._node, 0
        input._layout = lay
        input._bump()
        return input

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`{name[:-1]}` of the tensor itself."
    return method


for _name in ("transpose", "squeeze", "unsqueeze", "t", "swapaxes", "swapdims"):
    setattr(Tensor, _name + "_", in_place_form(_name + "_", METHODS[_name]))
