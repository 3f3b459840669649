"""Comparing tensors, padding, scans, sorting wrappers, histograms, unique values.

Floor 6.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from .. import dtypes
from ..dispatch import apply, cast
from ..dtypes import BOOL, FLOAT, DType
from ..ops import scan, sorting
from ..ops.indexing import SEARCHSORTED
from ..shapes import broadcast, wrap_dim
from ..tensor import Size, Tensor
from .creation import counted
from .derive import check_tensor, in_place, with_out

__all__ = [
    "equal",
    "allclose",
    "isclose",
    "isin",
    "diff",
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "logcumsumexp",
    "sort",
    "argsort",
    "topk",
    "msort",
    "unique",
    "unique_consecutive",
    "bincount",
    "histc",
    "trapezoid",
    "trapz",
    "cumulative_trapezoid",
    "broadcast_tensors",
    "broadcast_shapes",
    "renorm",
    "repeat_interleave",
    "cov",
    "corrcoef",
    "gradient",
]

# ---- equality


def equal(input: Tensor, other: Tensor) -> bool:
    """True if shapes and all elements are equal; waits for the device."""
    check_tensor("equal", input=input, other=other)
    if input.shape != other.shape:
        return False
    return input.numel() == 0 or bool((input == other).all().item())


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """|input - other| <= atol + rtol |other|, or equal; NaN equals NaN with `equal_nan`."""
    check_tensor("isclose", input=input, other=other)
    if input.dtype is not other.dtype:
        raise RuntimeError(f"isclose: {input.dtype.name.capitalize()} did not match {other.dtype.name.capitalize()}")
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"isclose: rtol and atol must be greater than or equal to zero, but got {rtol} and {atol}")
    close = input == other
    if equal_nan and input.is_floating_point():
        close = close | (input.isnan() & other.isnan())
    if rtol == 0 and atol == 0:
        return close
    if not input.is_floating_point():
        a, b = cast(input, dtypes.float64), cast(other, dtypes.float64)
        return close | ((a - b).abs() <= b.abs() * rtol + atol)
    allowed = other.abs() * rtol + atol
    distance = (input - other).abs()
    return close | (distance.isfinite() & (distance <= allowed))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """True if all elements are close; waits for the device."""
    found = isclose(input, other, rtol, atol, equal_nan)
    return found.numel() == 0 or bool(found.all().item())


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Which of `elements` occur among `test_elements`."""
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin(): at least one of elements and test_elements must be a Tensor")
    like = elements if isinstance(elements, Tensor) else test_elements
    x = elements if isinstance(elements, Tensor) else like.new_full((), elements)
    tests = test_elements.reshape(-1) if isinstance(test_elements, Tensor) else like.new_full((1,), test_elements)
    found = (x.unsqueeze(-1) == tests).any(-1) if tests.numel() else x.new_zeros(x.shape, dtype=dtypes.bool_)
    return ~found if invert else found


# ---- along a dim


@with_out
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """n-th differences of neighbours along `dim`."""
    check_tensor("diff", input=input)
    if not input.dim():
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    d = wrap_dim("diff", dim, input.dim())
    if n == 0:
        return input.clone()
    parts = [p for p in (prepend, input, append) if p is not None]
    x = Tensor.cat(parts, d) if len(parts) > 1 else input
    for _ in range(min(n, x.shape[d])):
        low, high = x.narrow(d, 0, max(x.shape[d] - 1, 0)), x.narrow(d, min(1, x.shape[d]), max(x.shape[d] - 1, 0))
        x = high ^ low if x.dtype.category == BOOL else high - low
    return x


def _scan(op: Any, input: Tensor, dim: int, dtype: DType | None) -> Any:
    check_tensor(op.name, input=input)
    x = input if dtype is None else cast(input, dtype)
    if not x.dim():
        wrap_dim(op.name, dim, 0)
        found = _scan(op, x.reshape(1), 0, None)
        return tuple(f.reshape(()) for f in found) if isinstance(found, tuple) else found.reshape(())
    return apply(op, (x,), (wrap_dim(op.name, dim, x.dim()), False))


@with_out
def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running sums along `dim`; of integers and bools in int64."""
    return _scan(scan.CUMSUM, input, dim, dtype)


@with_out
def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running products along `dim`; of integers and bools in int64."""
    return _scan(scan.CUMPROD, input, dim, dtype)


CumMax, CumMin = namedtuple("cummax", "values indices"), namedtuple("cummin", "values indices")


@with_out
def cummax(input: Tensor, dim: int) -> Any:
    """(values, indices) of the running maximum along `dim`."""
    return CumMax(*_scan(scan.CUMMAX, input, dim, None))


@with_out
def cummin(input: Tensor, dim: int) -> Any:
    """(values, indices) of the running minimum along `dim`."""
    return CumMin(*_scan(scan.CUMMIN, input, dim, None))


@with_out
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """Running logarithm of the sum of exponentials along `dim`."""
    return _scan(scan.LOGCUMSUMEXP, input, dim, None)


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """Integral along `dim` by the trapezoidal rule."""
    return _trapezoids("trapezoid", y, x, dx, dim).sum(dim)


trapz = trapezoid


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """Running integral along `dim` by the trapezoidal rule."""
    return _trapezoids("cumulative_trapezoid", y, x, dx, dim).cumsum(dim)


def _trapezoids(op: str, y: Tensor, x: Tensor | None, dx: float, dim: int) -> Tensor:
    check_tensor(op, y=y)
    d = wrap_dim(op, dim, y.dim())
    n = y.shape[d]
    if n == 0:
        return y.new_zeros([0 if k == d else m for k, m in enumerate(y.shape)])
    middle = (y.narrow(d, 0, n - 1) + y.narrow(d, 1, n - 1)) / 2
    if x is None:
        return middle * dx
    if x.dim() == 1:
        if x.shape[0] != n:
            raise RuntimeError(f"{op}: There must be one `x` value for each sample point, got {x.shape[0]} for {n}")
        x = x.reshape([n if k == d else 1 for k in range(y.dim())])
        return middle * diff(x, dim=d)
    return middle * diff(x, dim=dim)


# ---- order

SortResult: Any = namedtuple("sort", "values indices")  # type: ignore[name-match]
TopkResult: Any = namedtuple("topk", "values indices")  # type: ignore[name-match]


@with_out
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """(values, indices) sorted along `dim`, stably; NaN counts as largest."""
    check_tensor("sort", input=input)
    if not input.dim():
        wrap_dim("sort", dim, 0)
        return SortResult(input.clone(), input.new_zeros((), dtype=dtypes.int64))
    values, indices = apply(sorting.SORT, (input,), (wrap_dim("sort", dim, input.dim()), bool(descending)))
    return SortResult(values, indices)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort `input` along `dim`."""
    return sort(input.detach(), dim, descending, stable).indices


@with_out
def msort(input: Tensor) -> Tensor:
    """Values sorted along the first dim."""
    return sort(input, 0).values


@with_out
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """(values, indices) of the `k` largest (or smallest) along `dim`, in order."""
    check_tensor("topk", input=input)
    d = wrap_dim("topk", dim, input.dim())
    n = input.shape[d] if input.dim() else 1
    if not 0 <= k <= n:
        raise RuntimeError("selected index k out of range")
    if not input.dim():
        return (
            TopkResult(input.clone(), input.new_zeros((), dtype=dtypes.int64))
            if k
            else TopkResult(input.new_empty((0,)), input.new_empty((0,), dtype=dtypes.int64))
        )
    values, indices = apply(sorting.TOPK, (input,), (k, d, bool(largest)))
    return TopkResult(values, indices)


# ---- unique values, counts


def _changes(rows: Tensor) -> Tensor:
    """Which rows of a matrix differ from the one before (the first does)."""
    n = rows.shape[0]
    differs = (
        (rows.narrow(0, 1, n - 1) != rows.narrow(0, 0, n - 1)).any(1)
        if n > 1
        else rows.new_zeros((0,), dtype=dtypes.bool_)
    )
    return Tensor.cat([rows.new_ones((min(n, 1),), dtype=dtypes.bool_), differs])


def _grouped(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positions of the first row of each run of equal rows, each row's run, lengths of the runs. Waits for the number
    of runs.
    """
    new = _changes(rows)
    first = new.nonzero().reshape(-1)
    run = new.cumsum(0) - 1
    ends = Tensor.cat([first, first.new_full((1,), rows.shape[0])])
    return first, run, diff(ends)


def _answers(values: Tensor, inverse: Tensor, counts: Tensor, return_inverse: bool, return_counts: bool) -> Any:
    found = [values]
    if return_inverse:
        found.append(inverse)
    if return_counts:
        found.append(counts)
    return found[0] if len(found) == 1 else tuple(found)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements (or slices along `dim`), in order; with where each came from and how often. Waits for
    their number.
    """
    check_tensor("unique", input=input)
    x = input.detach()
    rows = x.reshape(-1, 1) if dim is None else _rows(x, dim)
    if dim is None:
        order = sort(rows.reshape(-1)).indices
    else:
        order = counted((rows.shape[0],), dtypes.int64, x._storage.device)
        for column in range(rows.shape[1] - 1, -1, -1):  # stable sorts from the last column to the first
            order = order[sort(rows.select(1, column)[order], stable=True).indices]
    arranged = rows[order]
    first, run, counts = _grouped(arranged)
    inverse = run.new_empty(run.shape)
    inverse = inverse.scatter(0, order, run)
    picked = arranged[first]
    if dim is None:
        return _answers(picked.reshape(-1), inverse.reshape(x.shape), counts, return_inverse, return_counts)
    return _answers(_unrows(picked, x, dim), inverse, counts, return_inverse, return_counts)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Elements (or slices along `dim`) without those equal to the one before. Waits for their number."""
    check_tensor("unique_consecutive", input=input)
    x = input.detach()
    rows = x.reshape(-1, 1) if dim is None else _rows(x, dim)
    first, run, counts = _grouped(rows)
    picked = rows[first]
    if dim is None:
        return _answers(picked.reshape(-1), run.reshape(x.shape), counts, return_inverse, return_counts)
    return _answers(_unrows(picked, x, dim), run, counts, return_inverse, return_counts)


def _rows(x: Tensor, dim: int) -> Tensor:
    d = wrap_dim("unique", dim, x.dim())
    width = math.prod(n for k, n in enumerate(x.shape) if k != d)
    return x.movedim(d, 0).reshape(x.shape[d], width)


def _unrows(rows: Tensor, x: Tensor, dim: int) -> Tensor:
    d = wrap_dim("unique", dim, x.dim())
    shape = [n for k, n in enumerate(x.shape) if k != d]
    return rows.reshape([rows.shape[0], *shape]).movedim(0, d)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs, or the sum of its weights. Waits for the largest."""
    check_tensor("bincount", input=input)
    if input.dim() != 1 or input.dtype.category == FLOAT:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError(f"minlength should be >= 0, got {minlength}")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    size = minlength
    if input.numel():
        if int(input.min().item()) < 0:
            raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
        size = max(minlength, int(input.max().item()) + 1)
    if weights is None:
        found = input.new_zeros((size,), dtype=dtypes.int64)
        return found.index_add(0, cast(input, dtypes.int64), found.new_ones(input.shape))
    weights = weights.detach() if weights.dtype in (dtypes.float32, dtypes.float64) else cast(weights, dtypes.float64)
    return weights.new_zeros((size,)).index_add(0, cast(input, dtypes.int64), weights)


@with_out
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall in each of `bins` equal bins between `min` and `max` (those of the data if equal)."""
    check_tensor("histc", input=input)
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    x = input.detach().reshape(-1)
    low, high = float(min), float(max)
    if low == high and x.numel():
        low, high = float(x.min().item()), float(x.max().item())
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError("max must be larger than min")
    where = cast(((x - low) / (high - low) * bins).floor(), dtypes.int64).clamp(0, bins - 1)
    inside = cast((x >= low) & (x <= high), x.dtype)
    return x.new_zeros((bins,)).index_add(0, where, inside)


# ---- shapes


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that all shapes broadcast to."""
    return Size(broadcast("broadcast_shapes", *((s,) if isinstance(s, int) else tuple(s) for s in shapes or ((),))))


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    shape = broadcast("broadcast_tensors", *(tuple(t.shape) for t in tensors))
    return tuple(t.expand(shape) for t in tensors)


def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element (or slice along `dim`) repeated; `repeats` an int or a vector of ints."""
    check_tensor("repeat_interleave", input=input)
    if repeats is None:  # repeat_interleave(repeats): the numbers 0, 1, … themselves
        return repeat_interleave(counted((input.shape[0],), dtypes.int64, input._storage.device), input, 0)
    if dim is None:
        input, dim = input.reshape(-1), 0
    d = wrap_dim("repeat_interleave", dim, input.dim())
    x = input.reshape(1) if not input.dim() else input
    n = x.shape[d]
    if isinstance(repeats, int) or (isinstance(repeats, Tensor) and repeats.numel() == 1):
        times = repeats if isinstance(repeats, int) else int(repeats.item())
        if times < 0:
            raise RuntimeError("Repeats must be non-negative")
        wide = x.unsqueeze(d + 1).expand(*x.shape[: d + 1], times, *x.shape[d + 1 :])
        return wide.reshape(*x.shape[:d], n * times, *x.shape[d + 1 :])
    counts = repeats if isinstance(repeats, Tensor) else x.new_tensor(list(repeats), dtype=dtypes.int64)
    if counts.dim() != 1 or counts.shape[0] != n:
        raise RuntimeError(
            f"repeats must have the same size as input along dim, but got repeats.size(0) = {counts.shape[0]} and "
            f"input.size({d}) = {n}"
        )
    ends = counts.cumsum(0)
    total = output_size if output_size is not None else int(ends[-1].item()) if n else 0
    places = counted((total,), dtypes.int64, x._storage.device)
    return x.index_select(d, apply(SEARCHSORTED, (ends, places), (True, False)))


# ---- statistics


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along `dim` scaled down to p-norm `maxnorm` where theirs is larger."""
    check_tensor("renorm", input=input)
    d = wrap_dim("renorm", dim, input.dim())
    others = [k for k in range(input.dim()) if k != d]
    size = input.norm(p, others, True)
    factor = (maxnorm / (size + 1e-7)).where(size > maxnorm, 1.0)
    return input * factor


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """Covariance matrix of variables in rows and observations in columns."""
    check_tensor("cov", input=input)
    if input.dim() > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    x = input.reshape(1, -1) if input.dim() < 2 else input
    if not x.is_floating_point():
        x = cast(x, dtypes.get_default_dtype())
    n = x.shape[1]
    if fweights is None and aweights is None:
        away = x - x.mean(1, True)
        found = away @ away.t() / max(n - correction, 0) if n > correction else away @ away.t() * math.nan
        return found.squeeze()
    w = cast(fweights, x.dtype) if fweights is not None else x.new_ones((n,))
    if aweights is not None:
        w = w * cast(aweights, x.dtype)
    total = w.sum()
    away = x - (x * w).sum(1, True) / total
    if correction == 0 or aweights is None:
        divisor = total - correction
    else:
        divisor = total - correction * (w * cast(aweights, x.dtype)).sum() / total
    return ((away * w) @ away.t() / divisor.clamp(min=0)).squeeze()


def corrcoef(input: Tensor) -> Tensor:
    """Correlation coefficients of variables in rows."""
    c = cov(input)
    if not c.dim():
        return c / c
    spread = c.diagonal().sqrt()
    return (c / spread.unsqueeze(1) / spread.unsqueeze(0)).clamp(-1, 1)


def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Slopes by central differences, one-sided at the ends, along each `dim`.

    Args:
        spacing: distance between samples, one per dim, or per dim a vector of the samples' coordinates.
        edge_order: 1 or 2, the order of the differences at the ends.

    **Source** Fornberg, 'Generation of finite difference formulas on arbitrarily spaced grids', 1988.
    """
    check_tensor("gradient", input=input)
    dims = list(range(input.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    spacing = 1 if spacing is None else spacing
    steps = list(spacing) if isinstance(spacing, (tuple, list)) else [spacing] * len(dims)
    if len(steps) == 1:
        steps = steps * len(dims)
    if len(steps) != len(dims):
        raise RuntimeError(
            f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length {len(dims)}, got "
            f"{len(steps)}"
        )
    if edge_order not in (1, 2):
        raise RuntimeError(f"torch.gradient only supports edge_order=1 and edge_order=2, got {edge_order}")
    found = []
    for given, step in zip(dims, steps):
        d = wrap_dim("gradient", given, input.dim())
        if input.shape[d] <= edge_order:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
        found.append(_slope(input, d, step, edge_order))
    return tuple(found)


def _slope(x: Tensor, d: int, spacing: Any, edge_order: int) -> Tensor:
    n = x.shape[d]

    def part(start: int, length: int) -> Tensor:
        return x.narrow(d, start, length)

    def width(start: int, length: int) -> Any:
        """Distances from samples start .. to the next ones."""
        if not isinstance(spacing, Tensor):
            return spacing
        step = spacing.narrow(0, start + 1, length) - spacing.narrow(0, start, length)
        return step.reshape([length if k == d else 1 for k in range(x.dim())])

    def three(start: int, length: int, weights: Any) -> Tensor:
        h, k = width(start, length), width(start + 1, length)
        a, b, c = weights(h, k)
        return part(start, length) * a + part(start + 1, length) * b + part(start + 2, length) * c

    parts = []
    if edge_order == 1:
        parts.append((part(1, 1) - part(0, 1)) / width(0, 1))
    else:
        parts.append(three(0, 1, lambda h, k: (-(2 * h + k) / (h * (h + k)), (h + k) / (h * k), -h / (k * (h + k)))))
    if n > 2:
        parts.append(three(0, n - 2, lambda h, k: (-k / (h * (h + k)), (k - h) / (h * k), h / (k * (h + k)))))
    if edge_order == 1:
        parts.append((part(n - 1, 1) - part(n - 2, 1)) / width(n - 2, 1))
    else:
        parts.append(three(n - 3, 1, lambda h, k: (k / (h * (h + k)), -(h + k) / (h * k), (h + 2 * k) / (k * (h + k)))))
    return Tensor.cat(parts, d)


METHODS: dict[str, Any] = {
    "equal": equal,
    "allclose": allclose,
    "isclose": isclose,
    "isin": isin,
    "diff": diff,
    "cumsum": cumsum,
    "cumsum_": in_place(cumsum),
    "cumprod": cumprod,
    "cumprod_": in_place(cumprod),
    "cummax": cummax,
    "cummin": cummin,
    "logcumsumexp": logcumsumexp,
    "sort": sort,
    "argsort": argsort,
    "topk": topk,
    "msort": msort,
    "unique": unique,
    "unique_consecutive": unique_consecutive,
    "bincount": bincount,
    "histc": histc,
    "renorm": renorm,
    "renorm_": in_place(renorm),
    "repeat_interleave": repeat_interleave,
    "cov": cov,
    "corrcoef": corrcoef,
}
