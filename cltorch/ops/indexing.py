"""Records of reads and writes at computed positions.

Floor 2. Attributes are those of codegen/indexing.py. **Out-of-range indices never touch memory**: reads give NaN (0
where the dtype has none) and writes are skipped; dispatch checks indices that the host knows. Negative indices count
from the end in every op here; dispatch rejects them where PyTorch does.

`WRITING` names the ops that work in place: the output's storage must already hold the values of operand 0 (its copy,
or for in-place forms itself). PyTorch's own names have other argument orders than (operands, attributes), so methods
and functions are written by hand above.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codegen import indexing as lowering
from ..dtypes import BOOL, FLOAT, DType, int32, int64
from ..shapes import Layout, broadcast
from .table import CUSTOM, Op, register

Shape = tuple[int, ...]
Result = tuple[tuple[DType, Shape], ...]

_INDEXING: dict[str, Any] = {"kind": CUSTOM, "inplace": False, "method": False, "function": False, "promote": "none"}


# ---- checks and shapes


def _index_dtype(op: str, index: Layout) -> None:
    if index.dtype.category in (BOOL, FLOAT):
        raise RuntimeError(f"{op}(): Expected dtype int32/int64 for index, but got: {index.dtype}")


def _same_dtype(op: str, x: Layout, src: Layout, argument: str) -> None:
    if src.dtype is not x.dtype:
        raise RuntimeError(
            f"{op}(): Expected self.dtype to be equal to {argument}.dtype, but got: {x.dtype} and {src.dtype}"
        )


def _fits(op: str, index: Layout, x: Layout, skip: int, what: str) -> None:
    if max(len(index.shape), 1) != max(len(x.shape), 1):
        raise RuntimeError(
            f"{op}: Index tensor must have the same number of dimensions as {what} tensor, got {index.shape} and "
            f"{x.shape}"
        )
    for d, (n, m) in enumerate(zip(index.shape, x.shape)):
        if n > m and d != skip:
            raise RuntimeError(
                f"{op}: Size does not match at dimension {d}: expected index {list(index.shape)} to be no larger than "
                f"{what} "
                f"{list(x.shape)} apart from dimension {skip}"
            )


def _infer_gather(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    x, index = layouts
    _index_dtype("gather", index)
    if index.numel:
        _fits("gather", index, x, attrs[0], "input")
    return ((x.dtype, index.shape),)


def _vector(op: str, index: Layout) -> None:
    _index_dtype(op, index)
    if len(index.shape) > 1:
        raise IndexError(f"{op}(): Index is supposed to be a vector, but got dim: {len(index.shape)}")


def _infer_index_select(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    x, index = layouts
    _vector("index_select", index)
    if not x.shape:
        if index.numel != 1:
            raise RuntimeError(f"index_select(): Index to scalar can have only 1 value, got {index.numel} value(s)")
        return ((x.dtype, ()),)
    return ((x.dtype, (*x.shape[: attrs[0]], index.numel, *x.shape[attrs[0] + 1 :])),)


def _infer_embedding(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    weight, index = layouts
    _index_dtype("embedding", index)
    if len(weight.shape) != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got {weight.shape}")
    return ((weight.dtype, (*index.shape, weight.shape[1])),)


def _advanced_shape(op: str, x: Layout, indices: tuple[Layout, ...], dims: Shape) -> Shape:
    for index in indices:
        if index.dtype.category in (BOOL, FLOAT):
            raise IndexError(
                f"{op}: tensors used as indices must be long, int, byte or bool tensors, got {index.dtype}"
            )
    try:
        index_shape = broadcast(op, *(i.shape for i in indices))
    except RuntimeError:
        listed = ", ".join(str(list(i.shape)) for i in indices)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {listed}"
        ) from None
    return lowering.indexed_shape(x.shape, dims, index_shape)[0]


def _infer_index(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    return ((layouts[0].dtype, _advanced_shape("index", layouts[0], layouts[1:], attrs[0])),)


def _infer_index_put(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    x, values, *indices = layouts
    if values.dtype is not x.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {x.dtype} for the destination and "
            f"{values.dtype} for the source."
        )
    shape = _advanced_shape("index_put", x, tuple(indices), attrs[0])
    fits = len(values.shape) <= len(shape) and all(n in (1, m) for n, m in zip(values.shape[::-1], shape[::-1]))
    if not fits:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(values.shape)} cannot be broadcast to indexing result "
            f"of shape {list(shape)}"
        )
    return ((x.dtype, x.shape),)


def _infer_scatter_named(op: str) -> Any:
    def infer(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
        x, index, src = layouts
        _index_dtype(op, index)
        _same_dtype(op, x, src, "src")
        if index.numel:
            _fits(op, index, x, attrs[0], "self")
            if src.shape or x.shape:
                if src.shape:
                    _fits(op, index, src, -1, "src")
                elif op != "scatter":
                    raise RuntimeError(
                        f"{op}: src: got a tensor of no dims, wanted one with the dims of index {index.shape}"
                    )
        if op == "scatter_reduce" and attrs[1] not in lowering.REDUCTIONS:
            raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {attrs[1]}.")
        return ((x.dtype, x.shape),)

    return infer


def _infer_slices(op: str) -> Any:
    def infer(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
        x, index, source = layouts
        _vector(op, index)
        _same_dtype(op, x, source, "source")
        if op == "index_fill":
            if source.shape:
                raise RuntimeError(
                    f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {len(source.shape)} "
                    f"dimension(s)."
                )
        elif x.shape:
            wanted = tuple(index.numel if d == attrs[0] else n for d, n in enumerate(x.shape))
            if source.shape != wanted:
                raise RuntimeError(
                    f"{op}(): source: got shape {source.shape}, wanted {wanted}, that of self with index's length"
                )
        return ((x.dtype, x.shape),)

    return infer


def _infer_count(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    return ((int64, ()),)


def _infer_nonzero(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    return ((int64, (attrs[0], len(layouts[0].shape))),)


def _mask_dtype(op: str, mask: Layout) -> None:
    if mask.dtype.category != BOOL:
        raise RuntimeError(f"{op}: expected BoolTensor for mask, got {mask.dtype}")


def _infer_masked_select(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    _mask_dtype("masked_select", layouts[1])
    broadcast("masked_select", layouts[0].shape, layouts[1].shape)
    return ((layouts[0].dtype, (attrs[0],)),)


def _infer_masked_scatter(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    x, mask, source = layouts
    _mask_dtype("masked_scatter", mask)
    if source.dtype is not x.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {x.dtype} and {source.dtype}"
        )
    if broadcast("masked_scatter", x.shape, mask.shape) != x.shape:
        raise RuntimeError(f"masked_scatter: mask: got shape {mask.shape}, wanted one that broadcasts to {x.shape}")
    return ((x.dtype, x.shape),)


def _infer_searchsorted(layouts: tuple[Layout, ...], attrs: tuple) -> Result:
    ordered, values = layouts
    if ordered.dtype is not values.dtype:
        raise RuntimeError(
            f"torch.searchsorted(): boundary tensor and input value tensor should have same dtype, got "
            f"{ordered.dtype} and {values.dtype}"
        )
    if not ordered.shape:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension"
        )
    if len(ordered.shape) > 1 and ordered.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of "
            "boundaries tensor and input "
            f"value tensor must match, but got {list(ordered.shape)} and {list(values.shape)}"
        )
    return ((int32 if attrs[1] else int64, values.shape),)


# ---- gradients


def _gather_grad(ctx: Any, g: Any) -> tuple:
    return g.new_zeros(ctx.shapes[0]).scatter_add(ctx.attrs[0], ctx.inputs[1], g), None


def _index_select_grad(ctx: Any, g: Any) -> tuple:
    return g.new_zeros(ctx.shapes[0]).index_add(ctx.attrs[0], ctx.inputs[1], g), None


def _embedding_grad(ctx: Any, g: Any) -> tuple:
    index, (padding,) = ctx.inputs[1], ctx.attrs
    if padding is not None and padding >= 0:
        g = g.masked_fill((index == padding).unsqueeze(-1), 0)
    return g.new_zeros(ctx.shapes[0]).index_add(0, index.reshape(-1), g.reshape(-1, ctx.shapes[0][1])), None


def _key(ndim: int, dims: Shape, indices: tuple, missing: Any) -> tuple:
    placed = dict(zip(dims, indices))
    return tuple(placed.get(d, missing) for d in range(ndim))


def _index_grad(ctx: Any, g: Any) -> tuple:
    shape, indices = ctx.shapes[0], ctx.inputs[1:]
    key = _key(len(shape), ctx.attrs[0], indices, None)
    return g.new_zeros(shape).index_put(key, g, accumulate=True), *(None for _ in indices)


def _index_put_grad(ctx: Any, g: Any) -> tuple:
    dims, accumulate = ctx.attrs
    indices = ctx.inputs[2:]
    ndim = len(ctx.shapes[0])
    into_self, values = g, None
    if ctx.needs[0] and not accumulate:
        into_self = g.index_put(_key(ndim, dims, indices, None), g.new_zeros(()))
    if ctx.needs[1]:
        values = g[_key(ndim, dims, indices, slice(None))].sum_to_size(ctx.shapes[1])
    return into_self, values, *(None for _ in indices)


def _scatter_grad(ctx: Any, g: Any) -> tuple:
    (dim,), index = ctx.attrs, ctx.inputs[1]
    source = None
    if ctx.needs[2]:
        source = g.gather(dim, index)
        source = source.sum() if ctx.shapes[2] == () and ctx.shapes[1] != () else source
    return g.scatter(dim, index, 0) if ctx.needs[0] else None, None, source


def _scatter_add_grad(ctx: Any, g: Any) -> tuple:
    return g, None, g.gather(ctx.attrs[0], ctx.inputs[1]) if ctx.needs[2] else None


def _scatter_reduce_grad(ctx: Any, g: Any) -> tuple:
    (x, index, src), (dim, reduce, include_self) = ctx.inputs, ctx.attrs
    zeros = g.new_zeros(ctx.shapes[0])
    if reduce == "sum":
        for_self, for_src = g, g.gather(dim, index)
    elif reduce == "mean":
        counts = (g.new_ones(ctx.shapes[0]) if include_self else zeros).scatter_add(dim, index, g.new_ones(index.shape))
        for_self = g / counts.masked_fill(counts == 0, 1)
        for_src = for_self.gather(dim, index)
    elif reduce == "prod":
        # the product of the others: x is left out by a 1 in its place, a src element by dividing, unless it is zero
        for_self = g * x.new_ones(x.shape).scatter_reduce(dim, index, src, "prod", include_self=True)
        is_zero = src == 0
        zero_count = zeros.scatter_add(dim, index, is_zero.to(g.dtype)).gather(dim, index)
        alone = is_zero & (zero_count == 1)
        without = x.scatter_reduce(dim, index, src.masked_fill(is_zero, 1), "prod", include_self=include_self)
        others = (g * without).gather(dim, index)
        for_src = (others / src.masked_fill(is_zero, 1)).masked_fill(zero_count > 0, 0) + others.masked_fill(~alone, 0)
    else:
        winner = ctx.out
        from_src = (src == winner.gather(dim, index)).to(g.dtype)
        from_self = (x == winner).to(g.dtype) if include_self else zeros
        share = g / from_self.scatter_add(dim, index, from_src).clamp(min=1)
        # a place that no index names keeps its value, whatever include_self says
        for_self, for_src = share * (x == winner).to(g.dtype), share.gather(dim, index) * from_src
    if not include_self:
        for_self = for_self.scatter(dim, index, 0)
    return for_self, None, for_src


def _index_add_grad(ctx: Any, g: Any) -> tuple:
    return g, None, g.index_select(ctx.attrs[0], ctx.inputs[1]).reshape(ctx.shapes[2]) if ctx.needs[2] else None


def _index_copy_grad(ctx: Any, g: Any) -> tuple:
    (dim,), index = ctx.attrs, ctx.inputs[1]
    return (
        g.index_fill(dim, index, 0) if ctx.needs[0] else None,
        None,
        g.index_select(dim, index).reshape(ctx.shapes[2]) if ctx.needs[2] else None,
    )


def _index_fill_grad(ctx: Any, g: Any) -> tuple:
    (dim,), index = ctx.attrs, ctx.inputs[1]
    return (
        g.index_fill(dim, index, 0) if ctx.needs[0] else None,
        None,
        (g * g.new_zeros(ctx.shapes[0]).index_fill(dim, index, 1)).sum()
        if ctx.needs[2]
        else None,  # repeated slices once
    )


def _masked_select_grad(ctx: Any, g: Any) -> tuple:
    mask = ctx.inputs[1]
    shape = broadcast("masked_select", ctx.shapes[0], ctx.shapes[1])
    return g.new_zeros(shape).masked_scatter(mask.expand(shape), g).sum_to_size(ctx.shapes[0]), None


def _masked_scatter_grad(ctx: Any, g: Any) -> tuple:
    mask = ctx.inputs[1]
    source = None
    if ctx.needs[2]:
        taken = g.masked_select(mask)
        size = 1
        for n in ctx.shapes[2]:
            size *= n
        source = g.new_zeros((size,))
        source[: taken.shape[0]] = taken
        source = source.reshape(ctx.shapes[2])
    return g.masked_fill(mask, 0) if ctx.needs[0] else None, None, source


# ---- references


def _poisoned(taken: np.ndarray, bad: np.ndarray) -> np.ndarray:
    missing = np.nan if taken.dtype.kind == "f" else 0
    return np.where(bad, np.array(missing, taken.dtype), taken)


def _wrapped(index: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    index = index.astype(np.int64)
    index = np.where(index < 0, index + size, index)
    bad = (index < 0) | (index >= size)
    return np.where(bad, 0, index), bad


def gather_reference(x: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
    """Element by element."""
    if not x.ndim:
        return gather_reference(x[None], index.reshape(-1), 0).reshape(index.shape)
    safe, bad = _wrapped(index, x.shape[dim])
    where: list[np.ndarray] = list(np.indices(index.shape))
    where[dim] = safe
    return _poisoned(x[tuple(where)], bad)


def index_select_reference(x: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
    """np.take, with poison for bad indices."""
    if not x.ndim:
        return index_select_reference(x[None], index.reshape(-1), 0).reshape(())
    safe, bad = _wrapped(index.reshape(-1), x.shape[dim])
    shape = [1] * x.ndim
    shape[dim] = -1
    return _poisoned(np.take(x, safe, dim), bad.reshape(shape))


def embedding_reference(weight: np.ndarray, index: np.ndarray, padding_idx: int | None = None) -> np.ndarray:
    """Rows by number."""
    safe, bad = _wrapped(index, weight.shape[0])
    return _poisoned(weight[safe], bad[..., None])


def _checked_key(x: np.ndarray, indices: tuple[np.ndarray, ...], dims: Shape) -> tuple[tuple, np.ndarray]:
    pairs = [_wrapped(i, x.shape[d]) for i, d in zip(indices, dims)]
    shape = np.broadcast_shapes(*(i.shape for i in indices))
    bad = np.zeros(shape, bool)
    for _, one in pairs:
        bad = bad | one
    return _key(x.ndim, dims, tuple(np.broadcast_to(i, shape) for i, _ in pairs), slice(None)), bad


def index_reference(x: np.ndarray, *indices: np.ndarray, dims: Shape) -> np.ndarray:
    """NumPy's advanced indexing."""
    key, bad = _checked_key(x, indices, dims)
    taken = x[key]
    _, first = lowering.indexed_shape(x.shape, dims, bad.shape)
    return _poisoned(taken, bad.reshape((*bad.shape, *(1,) * (taken.ndim - first - bad.ndim))))


def index_put_reference(
    x: np.ndarray, values: np.ndarray, *indices: np.ndarray, dims: Shape, accumulate: bool
) -> np.ndarray:
    """One index after the other."""
    out = x.copy()
    key, bad = _checked_key(x, indices, dims)
    shape, first = lowering.indexed_shape(x.shape, dims, bad.shape)
    spread = np.moveaxis(np.broadcast_to(values, shape), range(first, first + bad.ndim), range(bad.ndim))
    for at in np.ndindex(*bad.shape):
        if not bad[at]:
            one = tuple(int(k[at]) if isinstance(k, np.ndarray) else k for k in key)
            out[one] = out[one] + spread[at] if accumulate else spread[at]
    return out


def scatter_reference(x: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int) -> np.ndarray:
    """One element after the other."""
    return _scattered(x, index, src, dim, lambda a, v: v)


def scatter_add_reference(x: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int) -> np.ndarray:
    """One element after the other."""
    return _scattered(x, index, src, dim, lambda a, v: a + v)


def _scattered(x: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int, combine: Any) -> np.ndarray:
    if not x.ndim:
        return _scattered(x[None], index.reshape(-1), src.reshape(-1), 0, combine).reshape(())
    out = x.copy()
    safe, bad = _wrapped(index, x.shape[dim])
    for at in np.ndindex(*index.shape):
        if not bad[at]:
            to = (*at[:dim], int(safe[at]), *at[dim + 1 :])
            out[to] = combine(out[to], src[at] if src.ndim else src[()])
    return out


def scatter_reduce_reference(
    x: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int, reduce: str, include_self: bool
) -> np.ndarray:
    """One element after the other."""
    combine = {"sum": np.add, "mean": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}[reduce]
    base = x
    counts = _scattered(np.zeros(x.shape, np.int64), index, np.ones(index.shape, np.int64), dim, np.add)
    if not include_self:
        if x.dtype.kind == "f":
            low, high = -np.inf, np.inf
        elif x.dtype.kind == "b":
            low, high = False, True
        else:
            low, high = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
        neutral = {"sum": 0, "mean": 0, "prod": 1, "amax": low, "amin": high}[reduce]
        base = np.where(counts > 0, np.array(neutral, x.dtype), x)
    out = _scattered(base, index, src, dim, combine)
    if reduce == "mean":
        by = np.maximum(counts + include_self, 1)
        mean = out / by if x.dtype.kind == "f" else out // by
        out = np.where(counts > 0, mean, out).astype(x.dtype)
    return out


def _by_slices(x: np.ndarray, index: np.ndarray, source: np.ndarray, dim: int, combine: Any) -> np.ndarray:
    if not x.ndim:
        return _by_slices(x[None], index.reshape(-1), source.reshape(-1), 0, combine).reshape(())
    out = x.copy()
    safe, bad = _wrapped(index.reshape(-1), x.shape[dim])
    into = np.moveaxis(out, dim, 0)
    given = (
        np.moveaxis(source, dim, 0) if source.ndim == x.ndim else np.broadcast_to(source, (len(safe), *into.shape[1:]))
    )
    for i, to in enumerate(safe):
        if not bad[i]:
            into[to] = combine(into[to], given[i])
    return out


def index_add_reference(x: np.ndarray, index: np.ndarray, source: np.ndarray, dim: int) -> np.ndarray:
    """One slice after the other."""
    return _by_slices(x, index, source, dim, lambda a, v: a + v)


def index_copy_reference(x: np.ndarray, index: np.ndarray, source: np.ndarray, dim: int) -> np.ndarray:
    """One slice after the other."""
    return _by_slices(x, index, source, dim, lambda a, v: v)


def nonzero_count_reference(x: np.ndarray) -> np.ndarray:
    """np.count_nonzero."""
    return np.array(np.count_nonzero(x), np.int64)


def nonzero_write_reference(x: np.ndarray, count: int) -> np.ndarray:
    """np.argwhere."""
    return np.argwhere(x)[:count].astype(np.int64)


def masked_select_reference(x: np.ndarray, mask: np.ndarray, count: int) -> np.ndarray:
    """NumPy's boolean indexing of the broadcast operands."""
    x, mask = np.broadcast_arrays(x, mask)
    return x[mask][:count]


def masked_scatter_reference(x: np.ndarray, mask: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The masked elements in C order."""
    out = x.copy()
    where = np.argwhere(np.broadcast_to(mask, x.shape))
    for at, value in zip(where, source.reshape(-1)):
        out[tuple(at)] = value
    return out


def searchsorted_reference(ordered: np.ndarray, values: np.ndarray, right: bool, out_int32: bool) -> np.ndarray:
    """np.searchsorted row by row."""
    side: Any = "right" if right else "left"
    if ordered.ndim == 1:
        found = np.searchsorted(ordered, values, side)
    else:
        rows = zip(ordered.reshape(-1, ordered.shape[-1]), values.reshape(-1, values.shape[-1]))
        found = np.array([np.searchsorted(o, v, side) for o, v in rows]).reshape(values.shape)
    return np.asarray(found).astype(np.int32 if out_int32 else np.int64)


# ---- the records

_RANGE = " Out-of-range indices: reads give NaN (0 for integers), writes are skipped, memory outside is never touched."

GATHER = register(
    Op(
        "gather",
        **_INDEXING,
        arity=2,
        infer=_infer_gather,
        lower=lowering.lower_gather,
        grad=_gather_grad,
        saves=(1,),
        reference=gather_reference,
        names=("input", "index", "third"),
        doc="out[.., i, ..] = input[.., index[.., i, ..], ..]. Attribute: dim." + _RANGE,
    )
)
INDEX_SELECT = register(
    Op(
        "index_select",
        **_INDEXING,
        arity=2,
        infer=_infer_index_select,
        lower=lowering.lower_index_select,
        grad=_index_select_grad,
        saves=(1,),
        reference=index_select_reference,
        names=("input", "index", "third"),
        doc="The slices of input that a vector index names. Attribute: dim." + _RANGE,
    )
)
EMBEDDING = register(
    Op(
        "embedding",
        **_INDEXING,
        arity=2,
        infer=_infer_embedding,
        lower=lowering.lower_embedding,
        grad=_embedding_grad,
        saves=(1,),
        reference=embedding_reference,
        names=("weight", "index", "third"),
        doc="out[i] = weight[index[i]] for an index of any shape. Attribute: padding_idx, a row that gets no "
        "gradient, or None." + _RANGE,
    )
)
INDEX = register(
    Op(
        "index",
        **_INDEXING,
        arity=-1,
        infer=_infer_index,
        lower=lowering.lower_index,
        grad=_index_grad,
        saves=tuple(range(1, 9)),
        reference=index_reference,
        names=("input", "index", "third"),
        doc="input[indices]: index tensor k over dims[k], broadcast together; adjacent dims are replaced in "
        "place, separated ones by "
        "new dims in front. Operands: input, indices. Attribute: dims." + _RANGE,
    )
)
INDEX_PUT = register(
    Op(
        "index_put",
        **_INDEXING,
        arity=-1,
        infer=_infer_index_put,
        lower=lowering.lower_index_put,
        grad=_index_put_grad,
        saves=tuple(range(2, 10)),
        reference=index_put_reference,
        names=("input", "values", "index"),
        doc="self[indices] = values, or += with accumulate; collisions in C order of the indices. Operands: "
        "self, values, indices. "
        "Attributes: dims, accumulate." + _RANGE,
    )
)
SCATTER = register(
    Op(
        "scatter",
        **_INDEXING,
        arity=3,
        infer=_infer_scatter_named("scatter"),
        lower=lowering.lower_scatter,
        grad=_scatter_grad,
        saves=(1,),
        reference=scatter_reference,
        names=("input", "index", "src"),
        doc="self[.., index[.., i, ..], ..] = src[.., i, ..]; the last of colliding writes stays. src may be a "
        "value of no dims. "
        "Attribute: dim." + _RANGE,
    )
)
SCATTER_ADD = register(
    Op(
        "scatter_add",
        **_INDEXING,
        arity=3,
        infer=_infer_scatter_named("scatter_add"),
        lower=lowering.lower_scatter_add,
        grad=_scatter_add_grad,
        saves=(1,),
        reference=scatter_add_reference,
        names=("input", "index", "src"),
        doc="self[.., index[.., i, ..], ..] += src[.., i, ..], in the order of i: deterministic. Attribute: dim."
        + _RANGE,
    )
)
SCATTER_REDUCE = register(
    Op(
        "scatter_reduce",
        **_INDEXING,
        arity=3,
        infer=_infer_scatter_named("scatter_reduce"),
        lower=lowering.lower_scatter_reduce,
        grad=_scatter_reduce_grad,
        saves=(0, 1, 2, "out"),
        reference=scatter_reduce_reference,
        names=("input", "index", "src"),
        doc="As scatter_add with sum, prod, mean, amax or amin; self takes part if include_self. Attributes: "
        "dim, reduce, "
        "include_self." + _RANGE,
    )
)
INDEX_ADD = register(
    Op(
        "index_add",
        **_INDEXING,
        arity=3,
        infer=_infer_slices("index_add"),
        lower=lowering.lower_index_add,
        grad=_index_add_grad,
        saves=(1,),
        reference=index_add_reference,
        names=("input", "index", "source"),
        doc="Slice index[i] of self += slice i of source, in order. Attribute: dim." + _RANGE,
    )
)
INDEX_COPY = register(
    Op(
        "index_copy",
        **_INDEXING,
        arity=3,
        infer=_infer_slices("index_copy"),
        lower=lowering.lower_index_copy,
        grad=_index_copy_grad,
        saves=(1,),
        reference=index_copy_reference,
        names=("input", "index", "source"),
        doc="Slice index[i] of self = slice i of source; the last stays. Attribute: dim." + _RANGE,
    )
)
INDEX_FILL = register(
    Op(
        "index_fill",
        **_INDEXING,
        arity=3,
        infer=_infer_slices("index_fill"),
        lower=lowering.lower_index_fill,
        grad=_index_fill_grad,
        saves=(1,),
        reference=index_copy_reference,
        names=("input", "index", "value"),
        doc="Slice index[i] of self = value, a tensor of no dims. Attribute: dim." + _RANGE,
    )
)
NONZERO_COUNT = register(
    Op(
        "nonzero_count",
        **_INDEXING,
        infer=_infer_count,
        lower=lowering.lower_nonzero_count,
        why="the result is an integer",
        reference=nonzero_count_reference,
        doc="How many elements are not zero: an int64 of no dims. NaN is not zero.",
    )
)
NONZERO_WRITE = register(
    Op(
        "nonzero_write",
        **_INDEXING,
        infer=_infer_nonzero,
        lower=lowering.lower_nonzero_write,
        why="the result is an integer",
        reference=nonzero_write_reference,
        doc="Coordinates, int64 [count, ndim] in C order, of the elements that are not zero. Attribute: count, "
        "from nonzero_count; if "
        "it is smaller than that, the first ones; it must not be larger.",
    )
)
MASKED_SELECT = register(
    Op(
        "masked_select",
        **_INDEXING,
        arity=2,
        infer=_infer_masked_select,
        lower=lowering.lower_masked_select,
        grad=_masked_select_grad,
        saves=(1,),
        reference=masked_select_reference,
        names=("input", "mask", "third"),
        doc="The elements at which mask is set, in C order of the broadcast shape. Attribute: count, from "
        "nonzero_count of the "
        "broadcast mask.",
    )
)
MASKED_SCATTER = register(
    Op(
        "masked_scatter",
        **_INDEXING,
        arity=3,
        infer=_infer_masked_scatter,
        lower=lowering.lower_masked_scatter,
        grad=_masked_scatter_grad,
        saves=(1,),
        reference=masked_scatter_reference,
        names=("input", "mask", "source"),
        doc="The elements of self at which mask is set become those of source, in C order; what source does not "
        "reach stays.",
    )
)
SEARCHSORTED = register(
    Op(
        "searchsorted",
        **_INDEXING,
        arity=2,
        infer=_infer_searchsorted,
        lower=lowering.lower_searchsorted,
        why="the result is an integer",
        reference=searchsorted_reference,
        names=("sorted_sequence", "input", "third"),
        doc="First position of a sorted row whose element is >= the value (right: > it). A sequence of one dim "
        "serves all values. "
        "Attributes: right, out_int32.",
    )
)

WRITING = frozenset(
    (
        INDEX_PUT,
        SCATTER,
        SCATTER_ADD,
        SCATTER_REDUCE,
        INDEX_ADD,
        INDEX_COPY,
        INDEX_FILL,
        MASKED_SCATTER,
    )
)
