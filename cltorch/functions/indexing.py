"""Reads and writes at positions: `x[key]`, `x[key] = value`, gather, scatter, index_*, masked_*, nonzero.

Floor 6. A key is taken apart from left to right: ints, slices, None and Ellipsis make views; masks, tensors and lists
become index tensors for the INDEX and INDEX_PUT records. Positions that the host knows (Python ints, lists, arrays)
are checked at the call; those in tensors are not: a read outside gives NaN or 0, a write outside is skipped.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd import history
from ..autograd.modes import no_grad, state
from ..autograd.probe import MISSING, Probe
from ..copies import number_for
from ..dispatch import apply, cast, clone_plain, copy_into, find_plan, make_node, save_results
from ..dtypes import BOOL
from ..engine import Storage, make_spec, record
from ..ops import indexing as records
from ..shapes import broadcast, wrap_dim
from ..tensor import Tensor, from_array, make
from .derive import check_tensor, with_out

__all__ = [
    "gather",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "index_select",
    "index_add",
    "index_copy",
    "index_fill",
    "index_reduce",
    "index_put",
    "index_put_",
    "masked_select",
    "masked_scatter",
    "nonzero",
    "argwhere",
    "take",
    "take_along_dim",
    "put",
    "searchsorted",
    "bucketize",
    "select_scatter",
    "slice_scatter",
    "diagonal_scatter",
    "embedding",
]

# ---- records that write into a copy of their first operand, or into itself


def write_fresh(op: Any, x: Tensor, others: Sequence[Tensor], attrs: tuple) -> Tensor:
    """The result of a writing record on a copy of `x`, with its node."""
    plan, given = find_plan(op, (x, *others), attrs)
    storage = Storage(x._storage.device, plan.nbytes)
    copy_into(storage, plan.out, given[0])
    record(plan.spec, tuple([t._storage for t in given]), (storage,))
    made = make(storage, plan.out)
    if plan.differentiable and state.grad and any(t._requires_grad for t in given):
        node = make_node(plan, given)
        made._requires_grad, made._node = True, node
        save_results(node, (made,))
    return made


def write_in_place(op: Any, t: Tensor, others: Sequence[Tensor], attrs: tuple) -> Tensor:
    """A writing record on `t` itself; returns `t`."""
    gradient = state.grad and any(x._requires_grad for x in (t, *others))
    history.check_in_place(op.name + "_", t, gradient)
    others = [clone_plain(x) if x._storage is t._storage and not x._requires_grad else x for x in others]
    plan, given = find_plan(op, (t, *others), attrs)
    node = None
    if gradient and plan.differentiable:
        mask = sum(1 << i for i, x in enumerate(given) if x._requires_grad)
        keep = plan.keep(mask)
        if keep is not None and keep[0]:  # backward needs the value that is about to be overwritten
            kept = clone_plain(t)
            kept._requires_grad, kept._node, kept._output_number = t._requires_grad, t._node, t._output_number
            given[0] = kept
        node = make_node(plan, given)
    spec = make_spec(op, plan.spec.ins, (t._layout,), plan.attrs)
    record(spec, (t._storage, *[x._storage for x in given[1:]]), (t._storage,))
    t._bump()
    if node is not None:
        t._rebase(node, 0)
        save_results(node, (t,))
    return t


# ---- keys


def _host_index(values: Any, size: int, dim: int, like: Tensor) -> Tensor:
    """An index tensor of values that the host knows, checked."""
    array = np.asarray(values, np.int64)
    if array.size:
        low, high = int(array.min()), int(array.max())
        if low < -size or high >= size:
            raise IndexError(
                f"index {high if high >= size else low} is out of bounds for dimension {dim} with size {size}"
            )
    return from_array(array, dtypes.int64, like.device)


def _consumed(item: Any) -> int:
    """How many dims of the tensor an item of a key stands for."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    if isinstance(item, Tensor):
        return item.dim() if item.dtype in (dtypes.bool_, dtypes.uint8) else 1
    if isinstance(item, np.ndarray):
        return item.ndim if item.dtype == bool else 1
    return 1


def _items(x: Tensor, key: Any) -> list[Any]:
    """The key as a list without Ellipsis, lists as arrays. Raises IndexError and TypeError."""
    parts = list(key) if isinstance(key, tuple) else [key]
    found: list[Any] = []
    for item in parts:
        if isinstance(item, (list, tuple, range)):
            item = _sequence(item)
        elif isinstance(item, np.bool_):
            item = bool(item)
        found.append(item)
    used = sum(_consumed(i) for i in found)
    if used > x.dim():
        raise IndexError(f"too many indices for tensor of dimension {x.dim()}")
    dots = [i for i, item in enumerate(found) if item is Ellipsis]
    if dots:
        first = dots[0]
        rest = [item for item in found[first + 1 :] if item is not Ellipsis]
        found = found[:first] + [slice(None)] * (x.dim() - used) + rest
    return found


def _sequence(item: Any) -> Any:
    """A list in a key: an array of integers or bools, or a tensor if it holds tensors."""
    if any(isinstance(v, Tensor) for v in item):
        return Tensor.stack([v if isinstance(v, Tensor) else from_array(np.asarray(v)) for v in item])
    array = np.asarray(item)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "biu":
        raise TypeError(
            f"only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
            f"{type(item).__name__} of "
            f"{array.dtype})"
        )
    return array


def _bound(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError("slice indices must be integers or None or have an __index__ method") from None


class _Key:
    """A key taken apart: `view` is the tensor after its basic parts, `index[d]` the index tensor or mask of dim d of
    the view.
    """

    __slots__ = ("view", "index")

    def __init__(self, x: Tensor, key: Any):
        self.view = x
        self.index: dict[int, Tensor] = {}
        d = 0
        place = 0  # number of the item's dim in x, for messages
        for item in _items(x, key):
            step = self._take(x, item, d, place)
            d += step
            place += _consumed(item)

    def _take(self, x: Tensor, item: Any, d: int, place: int) -> int:
        """Apply one item at dim `d` of the view; returns by how many dims to move on."""
        kind = type(item)
        if kind is slice:
            if item.start is not None or item.stop is not None or item.step is not None:
                step = 1 if item.step is None else _bound(item.step)
                assert step is not None
                if step <= 0:
                    raise ValueError("step must be greater than zero")
                self.view = self.view._slice(d, _bound(item.start), _bound(item.stop), step)
            return 1
        if item is None:
            self.view = self.view.unsqueeze(d)
            return 1
        if kind is bool:
            self.view = self.view.unsqueeze(d)
            self.index[d] = from_array(np.zeros(1 if item else 0, np.int64), device=x.device)
            return 1
        if isinstance(item, Tensor):
            if item.dim() == 0 and item.dtype.category == dtypes.INTEGER and item.dtype is not dtypes.uint8:
                return self._select(item.item(), d, place)
            return self._tensor(x, item, d, place)
        if isinstance(item, np.ndarray) and item.ndim:
            if item.dtype == bool:
                return self._tensor(x, from_array(item, device=x.device), d, place)
            if item.dtype.kind not in "iu":
                raise IndexError(
                    f"tensors used as indices must be long, int, byte or bool tensors, got an array of {item.dtype}"
                )
            self.index[d] = _host_index(item, self.view.shape[d], place, x)
            return 1
        if isinstance(item, str) or not hasattr(item, "__index__"):
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                f"(got {type(item).__name__})"
            )
        return self._select(operator.index(item), d, place)

    def _select(self, i: int, d: int, place: int) -> int:
        n = self.view.shape[d]
        if not -n <= i < n:
            raise IndexError(f"index {i} is out of bounds for dimension {place} with size {n}")
        self.view = self.view.select(d, i)
        return 0

    def _tensor(self, x: Tensor, item: Tensor, d: int, place: int) -> int:
        if item.device != x.device:
            item = item.to(x.device)
        if item.dtype in (dtypes.bool_, dtypes.uint8):
            for k, n in enumerate(item.shape):
                if n != self.view.shape[d + k]:
                    raise IndexError(
                        f"The shape of the mask {list(item.shape)} at index {k} does not match the shape of the "
                        "indexed tensor "
                        f"{list(self.view.shape)} at index {d + k}"
                    )
            mask = item if item.dtype is dtypes.bool_ else item != 0
            if mask.dim() == 0:
                self.view = self.view.unsqueeze(d)
                self.index[d] = mask
                return 1
            self.index[d] = mask
            return mask.dim()
        if item.dtype.category != dtypes.INTEGER:
            raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, got {item.dtype}")
        self.index[d] = item
        return 1

    def mask(self) -> Tensor | None:
        """The mask, if the key holds one and nothing else that is advanced."""
        if len(self.index) == 1:
            (found,) = self.index.values()
            if found.dtype.category == BOOL and found.dim():
                return found
        return None

    def tensors(self) -> tuple[tuple[int, ...], list[Tensor]]:
        """Dims and integer index tensors; masks become the coordinates of their True elements (waits for their
        number).
        """
        dims: list[int] = []
        found: list[Tensor] = []
        for d, item in sorted(self.index.items()):
            if item.dtype.category == BOOL:
                columns = nonzero(item.reshape(1) if not item.dim() else item)
                for k in range(max(item.dim(), 1)):
                    dims.append(d + k)
                    found.append(columns.select(1, k))
            else:
                dims.append(d)
                found.append(item)
        return tuple(dims), found


def _getitem(self: Tensor, key: Any) -> Tensor:
    """`x[key]` with ints, slices, None, Ellipsis, masks, index tensors and lists, as in PyTorch and NumPy."""
    if type(key) is int:
        shape = self._layout.shape
        if not shape:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
                "convert a 0-dim tensor to a number"
            )
        if not -shape[0] <= key < shape[0]:
            raise IndexError(f"index {key} is out of bounds for dimension 0 with size {shape[0]}")
        return self.select(0, key)
    parts = _Key(self, key)
    view = parts.view
    if not parts.index:
        return view.alias() if view is self else view
    mask = parts.mask()
    if mask is not None and mask.dim() == view.dim():
        return masked_select(view, mask)
    dims, indices = parts.tensors()
    if len(dims) == 1 and indices[0].dim() == 1:
        return apply(records.INDEX_SELECT, (view, indices[0]), dims)
    return apply(records.INDEX, (view, *indices), (dims,))


def _setitem(self: Tensor, key: Any, value: Any) -> None:
    """`x[key] = value`; `value` broadcasts to `x[key]` and is converted to x's dtype."""
    parts = _Key(self, key)
    view = parts.view
    if not parts.index:
        if not isinstance(value, Tensor):
            if isinstance(value, (bool, int, float)):
                view.fill_(value)
                return
            value = _value(self, value)
        view.copy_(_without_leading_ones(value, view.dim()))
        return
    mask = parts.mask()
    if mask is not None and (
        not isinstance(value, Tensor) and np.ndim(value) == 0 or isinstance(value, Tensor) and value.dim() == 0
    ):
        mask = mask.reshape((1,) * _place(parts) + tuple(mask.shape) + (1,) * (view.dim() - mask.dim() - _place(parts)))
        if isinstance(value, Tensor):
            value = value.to(view.device)
            value = cast(value, view.dtype) if value.dtype is not view.dtype else value
            view.copy_(
                (view.clone() if state.grad and (view.requires_grad or value.requires_grad) else view).masked_fill(
                    mask, value
                )
            )
        else:
            with_number = view.clone() if state.grad and view.requires_grad else view
            view.copy_(with_number.masked_fill(mask, number_for(view.dtype, value)))
        return
    dims, indices = parts.tensors()
    value = _value(self, value)
    put_in_place(view, dims, indices, value, False)


def _place(parts: _Key) -> int:
    return next(iter(parts.index))


def _value(x: Tensor, value: Any) -> Tensor:
    """What is written into `x`, as a tensor of its dtype on its device."""
    if isinstance(value, Tensor):
        if value.device != x.device:
            value = value.to(x.device)
        return cast(value, x.dtype) if value.dtype is not x.dtype else value
    if isinstance(value, (bool, int, float)):
        return x.new_full((), value)
    return cast(from_array(np.asarray(value), device=x.device), x.dtype)


def _without_leading_ones(value: Tensor, ndim: int) -> Tensor:
    while value.dim() > ndim and value.shape[0] == 1:
        value = value.squeeze(0)
    return value


def put_in_place(
    x: Tensor, dims: tuple[int, ...], indices: Sequence[Tensor], values: Tensor, accumulate: bool
) -> Tensor:
    """`x[indices over dims] = values`, or +=."""
    return write_in_place(records.INDEX_PUT, x, (_fitted(x, dims, indices, values), *indices), (dims, accumulate))


def _fitted(x: Tensor, dims: tuple[int, ...], indices: Sequence[Tensor], values: Tensor) -> Tensor:
    """`values` without leading dims of size 1 beyond those of the indexed shape."""
    index_dims = max(i.dim() for i in indices)
    return _without_leading_ones(values, x.dim() - len(dims) + index_dims)


def _index_tuple(op: str, x: Tensor, indices: Any) -> tuple[tuple[int, ...], list[Tensor]]:
    """Dims and tensors of `index_put`'s tuple, in which None stands for a whole dim."""
    parts = _Key(x, tuple(slice(None) if i is None else i for i in indices))
    if parts.view is not x and parts.view.dim() != x.dim():
        raise IndexError(f"{op}: indices: got items other than tensors and None")
    return parts.tensors()


def index_put_(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """`input[indices] = values` (or += with `accumulate`) in place."""
    check_tensor("index_put_", input=input)
    dims, found = _index_tuple("index_put_", input, indices)
    return put_in_place(input, dims, found, values, bool(accumulate))


def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of input with `copy[indices] = values`, or += with `accumulate`."""
    if _probing(input, values, *indices):
        return MISSING
    check_tensor("index_put", input=input, values=values)
    dims, found = _index_tuple("index_put", input, indices)
    return write_fresh(
        records.INDEX_PUT, input, (_fitted(input, dims, found, values), *found), (dims, bool(accumulate))
    )


def _probing(*operands: Any) -> bool:
    return any(isinstance(x, Probe) for x in operands)


# ---- gather and scatter


@with_out
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j] = input[index[i][j]][j] along dim 0, and likewise along other dims."""
    if _probing(input, index):
        return MISSING
    check_tensor("gather", input=input, index=index)
    return apply(records.GATHER, (input, index), (wrap_dim("gather", dim, input.dim()),))


def _source(x: Tensor, src: Any) -> Tensor:
    return src if isinstance(src, Tensor) else x.new_full((), src)


_OLD_REDUCE = {"add": "sum", "multiply": "prod"}


def _scatter(
    write: Any, op: str, x: Tensor, dim: int, index: Tensor, src: Any, reduce: str | None, value: Any
) -> Tensor:
    if _probing(x, index, src):
        return MISSING
    check_tensor(op, input=x, index=index)
    d = wrap_dim(op, dim, x.dim())
    source = _source(x, value if src is None else src)
    if reduce is not None:
        if reduce not in _OLD_REDUCE:
            raise RuntimeError(f"reduce argument must be either add or multiply, got {reduce}")
        if not source.dim() and index.dim():
            source = source.expand(index.shape)
        return write(records.SCATTER_REDUCE, x, (index, source), (d, _OLD_REDUCE[reduce], True))
    return write(records.SCATTER, x, (index, source), (d,))


@with_out
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, reduce: str | None = None, value: Any = None
) -> Tensor:
    """A copy of input with copy[index[i][j]][j] = src[i][j] along dim 0, and likewise along other dims; src may be a
    number.
    """
    return _scatter(write_fresh, "scatter", input, dim, index, src, reduce, value)


def _scatter_(
    self: Tensor, dim: int, index: Tensor, src: Any = None, *, reduce: str | None = None, value: Any = None
) -> Tensor:
    """`scatter` in place."""
    return _scatter(write_in_place, "scatter_", self, dim, index, src, reduce, value)


@with_out
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """As `scatter`, adding; deterministic."""
    if _probing(input, index, src):
        return MISSING
    check_tensor("scatter_add", input=input, index=index, src=src)
    return write_fresh(records.SCATTER_ADD, input, (index, src), (wrap_dim("scatter_add", dim, input.dim()),))


def _scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`scatter_add` in place."""
    return write_in_place(records.SCATTER_ADD, self, (index, src), (wrap_dim("scatter_add_", dim, self.dim()),))


@with_out
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """As `scatter`, combining with 'sum', 'prod', 'mean', 'amax' or 'amin'; input takes part if `include_self`."""
    if _probing(input, index, src):
        return MISSING
    check_tensor("scatter_reduce", input=input, index=index, src=src)
    return write_fresh(
        records.SCATTER_REDUCE,
        input,
        (index, src),
        (wrap_dim("scatter_reduce", dim, input.dim()), reduce, bool(include_self)),
    )


def _scatter_reduce_(
    self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`scatter_reduce` in place."""
    attrs = (wrap_dim("scatter_reduce_", dim, self.dim()), reduce, bool(include_self))
    return write_in_place(records.SCATTER_REDUCE, self, (index, src), attrs)


# ---- slices by number


@with_out
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices along `dim` that a vector of indices names."""
    if _probing(input, index):
        return MISSING
    check_tensor("index_select", input=input, index=index)
    return apply(records.INDEX_SELECT, (input, index), (wrap_dim("index_select", dim, input.dim()),))


def _scaled(source: Tensor, alpha: Any) -> Tensor:
    return source if alpha == 1 else source * alpha


@with_out
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """A copy of input with slice index[i] along `dim` += alpha * slice i of source; deterministic."""
    if _probing(input, index, source):
        return MISSING
    check_tensor("index_add", input=input, index=index, source=source)
    return write_fresh(
        records.INDEX_ADD, input, (index, _scaled(source, alpha)), (wrap_dim("index_add", dim, input.dim()),)
    )


def _index_add_(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """`index_add` in place."""
    return write_in_place(
        records.INDEX_ADD, self, (index, _scaled(source, alpha)), (wrap_dim("index_add_", dim, self.dim()),)
    )


@with_out
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of input with slice index[i] along `dim` = slice i of source."""
    if _probing(input, index, source):
        return MISSING
    check_tensor("index_copy", input=input, index=index, source=source)
    return write_fresh(records.INDEX_COPY, input, (index, source), (wrap_dim("index_copy", dim, input.dim()),))


def _index_copy_(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """`index_copy` in place."""
    return write_in_place(records.INDEX_COPY, self, (index, source), (wrap_dim("index_copy_", dim, self.dim()),))


def _spread(op: str, input: Tensor, dim: int, index: Tensor, source: Tensor) -> tuple[int, Tensor]:
    """The dim counted from the front, and `index` repeated for all elements of the slices."""
    d = wrap_dim(op, dim, input.dim())
    if index.dim() > 1:
        raise IndexError(f"{op}(): Index is supposed to be a vector, but got dim: {index.dim()}")
    if not source.dim():
        return d, index.reshape(())
    return d, index.reshape([-1 if k == d else 1 for k in range(source.dim())]).expand(source.shape)


@with_out
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """As `index_add`, combining with 'prod', 'mean', 'amax' or 'amin'; input takes part if `include_self`."""
    check_tensor("index_reduce", input=input, index=index, source=source)
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    d, wide = _spread("index_reduce", input, dim, index, source)
    return scatter_reduce(input, d, wide, source, reduce, include_self=include_self)


def _index_reduce_(
    self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`index_reduce` in place."""
    d, wide = _spread("index_reduce_", self, dim, index, source)
    return _scatter_reduce_(self, d, wide, source, reduce, include_self=include_self)


def _fill_value(x: Tensor, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        if value.dim():
            raise RuntimeError(
                f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.dim()} "
                "dimension(s)."
            )
        return cast(value, x.dtype) if value.dtype is not x.dtype else value
    return x.new_full((), value)


@with_out
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of input with slices index[i] along `dim` filled with `value`."""
    if _probing(input, index, value):
        return MISSING
    check_tensor("index_fill", input=input, index=index)
    return write_fresh(
        records.INDEX_FILL, input, (index, _fill_value(input, value)), (wrap_dim("index_fill", dim, input.dim()),)
    )


def _index_fill_(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """`index_fill` in place."""
    return write_in_place(
        records.INDEX_FILL, self, (index, _fill_value(self, value)), (wrap_dim("index_fill_", dim, self.dim()),)
    )


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of `weight` by number; row `padding_idx` gets no gradient."""
    check_tensor("embedding", input=input, weight=weight)
    return apply(records.EMBEDDING, (weight, input), (padding_idx,))


# ---- masks


def _count(mask: Tensor) -> int:
    return int(apply(records.NONZERO_COUNT, (mask,)).item())


@with_out
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements at which mask is set, in C order. Waits for their number."""
    if _probing(input, mask):
        return MISSING
    check_tensor("masked_select", input=input, mask=mask)
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_select: expected BoolTensor for mask, got {mask.dtype}")
    shape = broadcast("masked_select", tuple(input.shape), tuple(mask.shape))
    with no_grad():
        whole = mask.expand(shape) if tuple(mask.shape) != shape else mask
        count = _count(whole)
    return apply(records.MASKED_SELECT, (input, mask), (count,))


@with_out
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy of input whose elements at which mask is set are those of source, in C order."""
    if _probing(input, mask, source):
        return MISSING
    check_tensor("masked_scatter", input=input, mask=mask, source=source)
    shape = broadcast("masked_scatter", tuple(input.shape), tuple(mask.shape))
    return write_fresh(records.MASKED_SCATTER, input.expand(shape), (mask, source), ())


def _masked_scatter_(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """`masked_scatter` in place."""
    return write_in_place(records.MASKED_SCATTER, self, (mask, source), ())


def nonzero(input: Tensor, *, out: Tensor | None = None, as_tuple: bool = False) -> Any:
    """Coordinates, one row each, of the elements that are not 0; with `as_tuple` one vector per dim. Waits for their
    number.
    """
    check_tensor("nonzero", input=input)
    with no_grad():
        x = input.detach()
        if as_tuple and not x.dim():
            x = x.reshape(1)
        n = _count(x) if x.numel() else 0
        found = (
            apply(records.NONZERO_WRITE, (x,), (n,)) if n and x.dim() else x.new_empty((n, x.dim()), dtype=dtypes.int64)
        )
    if as_tuple:
        return found.unbind(1)
    return found if out is None else out.resize_(found.shape).copy_(found)


def argwhere(input: Tensor) -> Tensor:
    """Coordinates, one row each, of the elements that are not 0."""
    return nonzero(input)


# ---- by flat position


@with_out
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements of the flattened input."""
    check_tensor("take", input=input, index=index)
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype}")
    if not index.dim():
        return apply(records.INDEX, (input.reshape(-1), index.reshape(1)), ((0,),)).reshape(())
    return apply(records.INDEX, (input.reshape(-1), index), ((0,),))


@with_out
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` with broadcasting; of the flattened input if `dim` is None."""
    check_tensor("take_along_dim", input=input, indices=indices)
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    if input.dim() != indices.dim():
        raise RuntimeError(
            f"torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.dim()} dimensions for input, and "
            f"{indices.dim()} dimensions for indices"
        )
    d = wrap_dim("take_along_dim", dim, input.dim())
    shape = list(
        broadcast(
            "take_along_dim", *(tuple(1 if k == d else n for k, n in enumerate(x.shape)) for x in (input, indices))
        )
    )
    wide, at = list(shape), list(shape)
    wide[d], at[d] = input.shape[d], indices.shape[d]
    return gather(input.expand(wide), d, indices.expand(at))


@with_out
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of input whose flattened elements at `index` are those of source, or have them added."""
    check_tensor("put", input=input, index=index, source=source)
    flat = input.reshape(-1)
    return index_put(flat, (index.reshape(-1),), source.reshape(-1), accumulate).reshape(input.shape)


def _put_(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """`put` in place."""
    return self.copy_(put(self.clone() if self.requires_grad else self, index, source, accumulate))


# ---- positions by value


def _ordered(op: str, sequence: Tensor, values: Any, out_int32: bool, right: bool, side: str | None) -> Tensor:
    if side is not None:
        if side not in ("left", "right"):
            raise RuntimeError(f"torch.{op}(): side can only be 'left' or 'right' but got {side}")
        if side == "left" and right:
            raise RuntimeError(
                f"torch.{op}(): side and right can't be set to opposites, got side of left while right was True"
            )
        right = side == "right"
    if not isinstance(values, Tensor):
        values = from_array(np.asarray(values), device=sequence.device).to(sequence.dtype)
    if not values.dim():
        return apply(records.SEARCHSORTED, (sequence, values.reshape(1)), (right, out_int32)).reshape(())
    return apply(records.SEARCHSORTED, (sequence, values), (right, out_int32))


@with_out
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where in the sorted rows each value would be inserted: before equal ones, or behind with `right`."""
    check_tensor("searchsorted", sorted_sequence=sorted_sequence)
    if sorter is not None:
        if sorter.shape != sorted_sequence.shape:
            raise RuntimeError(
                f"torch.searchsorted(): boundary and sorter must have the same size, but got "
                f"{list(sorted_sequence.shape)} and {list(sorter.shape)}"
            )
        sorted_sequence = sorted_sequence.gather(-1, sorter)
    return _ordered("searchsorted", sorted_sequence, input, out_int32, right, side)


@with_out
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The bucket between `boundaries` into which each value falls."""
    check_tensor("bucketize", boundaries=boundaries)
    if boundaries.dim() != 1:
        raise RuntimeError(f"bucketize: boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})")
    return _ordered("bucketize", boundaries, input, out_int32, right, None)


# ---- a copy with a view of it replaced


def _embedded(op: str, input: Tensor, src: Tensor, view: Any) -> Tensor:
    out = input.clone()
    part = view(out)
    if part.shape != src.shape:
        raise RuntimeError(
            f"{op}: expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size "
            f"= {list(part.shape)}"
        )
    part.copy_(src)
    return out


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of input with `copy.select(dim, index)` replaced by src."""
    return _embedded("select_scatter", input, src, lambda t: t.select(dim, index))


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of input with a slice of it replaced by src."""
    return _embedded("slice_scatter", input, src, lambda t: t._slice(dim, start, end, step))


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of input with a diagonal replaced by src."""
    return _embedded("diagonal_scatter", input, src, lambda t: t.diagonal(offset, dim1, dim2))


METHODS: dict[str, Any] = {
    "__getitem__": _getitem,
    "__setitem__": _setitem,
    "gather": gather,
    "scatter": scatter,
    "scatter_": _scatter_,
    "scatter_add": scatter_add,
    "scatter_add_": _scatter_add_,
    "scatter_reduce": scatter_reduce,
    "scatter_reduce_": _scatter_reduce_,
    "index_select": index_select,
    "index_add": index_add,
    "index_add_": _index_add_,
    "index_copy": index_copy,
    "index_copy_": _index_copy_,
    "index_fill": index_fill,
    "index_fill_": _index_fill_,
    "index_reduce": index_reduce,
    "index_reduce_": _index_reduce_,
    "index_put": index_put,
    "index_put_": index_put_,
    "masked_select": masked_select,
    "masked_scatter": masked_scatter,
    "masked_scatter_": _masked_scatter_,
    "nonzero": nonzero,
    "argwhere": argwhere,
    "take": take,
    "take_along_dim": take_along_dim,
    "put": put,
    "put_": _put_,
    "select_scatter": select_scatter,
    "slice_scatter": slice_scatter,
    "diagonal_scatter": diagonal_scatter,
}
