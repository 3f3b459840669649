"""Reductions: sums, means, variances, norms, extrema, softmax; composites of the reduction records that fuse into
row-wise kernels.

Floor 6.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from .. import dtypes, fast
from ..autograd.modes import no_grad
from ..direct import run
from ..dispatch import cast
from ..dtypes import DType
from ..ops import reductions as records
from ..ops.layers import SHIFTED_EXP
from ..ops.pointwise import LOG, MUL, RECIPROCAL, SUB
from ..shapes import broadcast, wrap_dim, wrap_dims
from ..tensor import Tensor
from .derive import check_tensor, with_out
from .nodes import differentiates, give_backward

__all__ = [
    "sum",
    "mean",
    "prod",
    "amax",
    "amin",
    "aminmax",
    "max",
    "min",
    "argmax",
    "argmin",
    "any",
    "all",
    "var",
    "std",
    "var_mean",
    "std_mean",
    "norm",
    "logsumexp",
    "softmax",
    "log_softmax",
    "nansum",
    "nanmean",
    "count_nonzero",
    "median",
    "nanmedian",
    "frobenius_norm",
    "vector_norm",
    "cosine_similarity",
    "dist",
    "mode",
    "kthvalue",
    "quantile",
    "nanquantile",
]

Dims = int | Sequence[int] | None
_py_max = max  # this room's own max shadows it


def _type(name: str, *fields: str) -> Any:
    return namedtuple(name, fields)


MaxResult, MinResult = _type("max", "values", "indices"), _type("min", "values", "indices")
MedianResult, NanMedianResult = _type("median", "values", "indices"), _type("nanmedian", "values", "indices")
ModeResult, KthResult = _type("mode", "values", "indices"), _type("kthvalue", "values", "indices")
AMinMaxResult = _type("aminmax", "min", "max")


def _kept(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if d in dims else n for d, n in enumerate(shape))


_quick: dict[Any, Any] = {}


def reduce(op: Any, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """Record one reduction. A 0-d tensor is its own sum, product and extremum."""
    if not x._layout.shape:
        x, dims, keepdim = x.reshape(1), (0,), False
    quick = _quick.get(op)
    if quick is None:
        quick = _quick[op] = fast.reduction(op)
    return quick(x, dims, bool(keepdim))


def _count(x: Tensor, dims: tuple[int, ...]) -> int:
    return math.prod(x._layout.shape[d] for d in dims)


# ---- sums and products


def _summed(x: Tensor, dtype: DType | None) -> Tensor:
    """`x` in the dtype in which it is summed: integers and bools in int64."""
    if dtype is not None:
        return cast(x, dtype)
    return x if x._layout.dtype.category == dtypes.FLOAT else cast(x, dtypes.int64)


@with_out
def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Sum over `dim` (an int, several, or None for all); of integers and bools in int64.

    >>> cltorch.sum(cltorch.ones(2, 3), 0)
    tensor([2., 2., 2.])
    """
    check_tensor("sum", input=input)
    dims = wrap_dims("sum", dim, input.dim())
    return reduce(records.SUM, _summed(input, dtype), dims, keepdim)


@with_out
def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Sum with NaN counted as 0."""
    check_tensor("nansum", input=input)
    if not input.is_floating_point():
        return sum(input, dim, keepdim, dtype=dtype)
    return sum(input.masked_fill(input.isnan(), 0.0), dim, keepdim, dtype=dtype)


@with_out
def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Mean over `dim`. Raises RuntimeError for integers unless `dtype` is a floating point dtype."""
    check_tensor("mean", input=input)
    computing = dtype or input.dtype
    if computing.category != dtypes.FLOAT:
        raise RuntimeError(
            f"mean(): could not infer output dtype. {'Input' if dtype is None else 'Optional'} dtype must be either "
            "a floating point or "
            f"complex dtype. Got: {computing.name}"
        )
    dims = wrap_dims("mean", dim, input.dim())
    total = reduce(records.SUM, cast(input, computing), dims, keepdim)
    n = _count(input, dims)
    return total * (1.0 / n) if n and n & (n - 1) == 0 else total / (n or math.nan)


@with_out
def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Mean of the values that are not NaN."""
    check_tensor("nanmean", input=input)
    if not input.is_floating_point():
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {input.dtype.name}"
        )
    present = (~input.isnan()).sum(dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / present


@with_out
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Product over one dim or all; of integers and bools in int64."""
    check_tensor("prod", input=input)
    dims = wrap_dims("prod", dim, input.dim())
    return reduce(records.PROD, _summed(input, dtype), dims, keepdim)


@with_out
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements are not 0."""
    check_tensor("count_nonzero", input=input)
    return (input != 0).sum(dim)


# ---- extrema


def _check_elements(op: str, x: Tensor, dim: Any, dims: tuple[int, ...]) -> None:
    for d in dims:
        if x._layout.shape[d] == 0:
            if dim is None or (isinstance(dim, (tuple, list)) and not dim):
                raise RuntimeError(
                    f"{op}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
                    "dim with the 'dim' argument."
                )
            raise IndexError(f"{op}(): Expected reduction dim {d} to have non-zero size.")


@with_out
def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Maximum over `dim`; NaN wins; equal maxima share the gradient evenly."""
    check_tensor("amax", input=input)
    dims = wrap_dims("amax", dim, input.dim())
    _check_elements("amax", input, dim, dims)
    return reduce(records.AMAX, input, dims, keepdim)


@with_out
def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Minimum over `dim`; NaN wins; equal minima share the gradient evenly."""
    check_tensor("amin", input=input)
    dims = wrap_dims("amin", dim, input.dim())
    _check_elements("amin", input, dim, dims)
    return reduce(records.AMIN, input, dims, keepdim)


@with_out
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """(min, max) over one dim or all."""
    return AMinMaxResult(
        amin(input, () if dim is None else dim, keepdim), amax(input, () if dim is None else dim, keepdim)
    )


def _position(op: str, record: Any, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    check_tensor(op, input=input)
    if input.dtype is dtypes.bool_:
        input = cast(input, dtypes.uint8)
    if dim is None:
        dims = tuple(range(input.dim()))
    elif isinstance(dim, int):
        dims = wrap_dims(op, dim, input.dim())
    else:
        raise TypeError(f"{op}(): argument 'dim' (position 2) must be int, not {type(dim).__name__}")
    _check_elements(op, input, dim, dims)
    return reduce(record, input, dims, keepdim)


@with_out
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Position of the maximum along `dim`, or in the flattened tensor; the first of equal ones; NaN wins."""
    return _position("argmax", records.ARGMAX, input, dim, keepdim)


@with_out
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Position of the minimum along `dim`, or in the flattened tensor; the first of equal ones; NaN wins."""
    return _position("argmin", records.ARGMIN, input, dim, keepdim)


def select_values(label: str, input: Tensor, values: Tensor, indices: Tensor, dim: int, keepdim: bool) -> Tensor:
    """`values` with the gradient of `input.gather(dim, indices)`."""
    shape = tuple(input.shape)

    def backward(g: Tensor, indices: Tensor) -> Tensor:
        if not shape:
            return g.reshape(())
        at, g = (indices, g) if keepdim else (indices.unsqueeze(dim), g.unsqueeze(dim))
        return g.new_zeros(shape).scatter(dim, at, g)

    return give_backward(label, (input,), values, backward, (indices,))


def _extremum(op: str, larger: bool, input: Tensor, args: tuple, keepdim: bool, kwargs: dict[str, Any]) -> Any:
    check_tensor(op, input=input)
    other = kwargs.pop("other", args[0] if args and isinstance(args[0], Tensor) else None)
    if other is not None:
        return input.maximum(other) if larger else input.minimum(other)
    dim = kwargs.pop("dim", args[0] if args else None)
    if kwargs:
        raise TypeError(f"{op}() got an unexpected keyword argument '{next(iter(kwargs))}'")
    if dim is None:
        dims = tuple(range(input.dim()))
        _check_elements(op, input, None, dims)
        return reduce(records.AMAX if larger else records.AMIN, input, dims, False)
    if not isinstance(dim, int):
        raise TypeError(f"{op}(): argument 'dim' (position 2) must be int, not {type(dim).__name__}")
    keepdim = args[1] if len(args) > 1 else keepdim
    at = wrap_dim(op, dim, input.dim())
    dims = wrap_dims(op, dim, input.dim())
    _check_elements(op, input, dim, dims)
    with no_grad():
        values = reduce(records.AMAX if larger else records.AMIN, input, dims, keepdim)
        indices = _position(op, records.ARGMAX if larger else records.ARGMIN, input, dim, keepdim)
    values = select_values(f"{op.capitalize()}Backward0", input, values, indices, at, keepdim)
    return (MaxResult if larger else MinResult)(values, indices)


@with_out
def max(input: Tensor, *args: Any, keepdim: bool = False, **kwargs: Any) -> Any:
    """`max(input)`: the maximum; `max(input, dim, keepdim=False)`: (values, indices) along dim; `max(input, other)`:
    the larger of the two.
    """
    return _extremum("max", True, input, args, keepdim, kwargs)


@with_out
def min(input: Tensor, *args: Any, keepdim: bool = False, **kwargs: Any) -> Any:
    """`min(input)`: the minimum; `min(input, dim, keepdim=False)`: (values, indices) along dim; `min(input, other)`:
    the smaller of the two.
    """
    return _extremum("min", False, input, args, keepdim, kwargs)


# ---- truth


def _truth(op: str, record: Any, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    check_tensor(op, input=input)
    dims = wrap_dims(op, dim, input.dim())
    found = reduce(record, cast(input, dtypes.bool_), dims, keepdim)
    return cast(found, dtypes.uint8) if input.dtype is dtypes.uint8 else found


@with_out
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether one element along `dim` is true (not 0)."""
    return _truth("any", records.ANY, input, dim, keepdim)


@with_out
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether all elements along `dim` are true (not 0)."""
    return _truth("all", records.ALL, input, dim, keepdim)


# ---- spread


def _moments(op: str, input: Tensor, dim: Any, unbiased: Any, correction: Any, keepdim: bool) -> tuple[Tensor, Tensor]:
    """Variance with dims as asked, and mean with kept dims."""
    check_tensor(op, input=input)
    if isinstance(dim, bool):  # var(input, unbiased)
        dim, unbiased = None, dim
    if not input.is_floating_point():
        raise RuntimeError(f"{op} only support floating point and complex dtypes, got {input.dtype.name}")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    dims = wrap_dims(op, dim, input.dim())
    n = _count(input, dims)
    middle = reduce(records.SUM, input, dims, True) / n if n else mean(input, dims, True)
    away = input - middle
    total = reduce(records.SUM, away * away, dims, keepdim)
    return total / _py_max(n - correction, 0) if n > correction else total * math.nan if n == 0 else total / 0.0, middle


@with_out
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Variance: sum of squared distances from the mean over (n - correction)."""
    return _moments("var", input, dim, unbiased, correction, keepdim)[0]


@with_out
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Square root of the variance."""
    return _std(_moments("std", input, dim, unbiased, correction, keepdim)[0])


def _std(variance: Tensor) -> Tensor:
    """sqrt with gradient 0, not NaN, where the variance is 0."""
    if not differentiates(variance):
        return variance.sqrt()
    with no_grad():
        root = variance.sqrt()
    return give_backward(
        "StdBackward0", (variance,), root, lambda g, root: (g / (root * 2)).masked_fill(root == 0, 0.0), keep_out=True
    )


def _means(x: Tensor, middle: Tensor, dim: Any, keepdim: bool) -> Tensor:
    if keepdim or not x.dim():
        return middle
    dims = wrap_dims("mean", None if isinstance(dim, bool) else dim, x.dim())
    return middle.reshape(tuple(n for d, n in enumerate(x.shape) if d not in dims))


@with_out
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """(variance, mean)."""
    spread, middle = _moments("var_mean", input, dim, unbiased, correction, keepdim)
    return spread, _means(input, middle, dim, keepdim)


@with_out
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """(standard deviation, mean)."""
    spread, middle = _moments("std_mean", input, dim, unbiased, correction, keepdim)
    return _std(spread), _means(input, middle, dim, keepdim)


# ---- norms


@with_out
def vector_norm(
    x: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """(sum |x|^ord)^(1/ord); inf and -inf: extrema of |x|; 0: number of nonzero elements. Gradients at 0 are 0."""
    check_tensor("linalg.vector_norm", x=x)
    if not x.is_floating_point() and dtype is None:
        raise RuntimeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {x.dtype.name.capitalize()}"
        )
    if dtype is not None:
        x = cast(x, dtype)
    dims = wrap_dims("linalg.vector_norm", dim, x.dim())
    if ord == math.inf or ord == -math.inf:
        if ord < 0 or _count(x, dims) == 0:
            _check_elements("linalg.vector_norm", x, dim, dims)
        size = x.abs()
        return amax(size, dims, keepdim) if ord > 0 else amin(size, dims, keepdim)
    if ord == 0:
        count = sum(cast(x != 0, x.dtype), dims, keepdim)
        return give_backward("LinalgVectorNormBackward0", (x,), count, lambda g, x: x.new_zeros(x.shape), (x,))
    if ord == 1:
        return sum(x.abs(), dims, keepdim)
    if ord == 2:
        return _root(x, dims, keepdim)
    return _power_norm(x, ord, dims, keepdim)


def _root(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """Euclidean norm with backward g * x / norm, 0 where the norm is 0."""
    with no_grad():
        out = reduce(records.SUM, x * x, dims, keepdim).sqrt()
    full = _kept(x.shape, dims)

    def backward(g: Tensor, x: Tensor, norm: Tensor) -> Tensor:
        return x * (g / norm).masked_fill(norm == 0, 0.0).reshape(full)

    return give_backward("LinalgVectorNormBackward0", (x,), out, backward, (x,), keep_out=True)


def _power_norm(x: Tensor, p: float, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """The p-norm with backward g * sign(x) (|x| / norm)^(p-1), 0 where x or the norm is 0, as PyTorch masks it."""
    with no_grad():
        out = reduce(records.SUM, x.abs().pow(p), dims, keepdim).pow(1.0 / p)
    full = _kept(x.shape, dims)

    def backward(g: Tensor, x: Tensor, norm: Tensor) -> Tensor:
        scale = (g * norm.pow(1 - p)).masked_fill(norm == 0, 0.0).reshape(full)
        return x * x.abs().pow(p - 2).masked_fill(x == 0, 0.0) * scale

    return give_backward("LinalgVectorNormBackward0", (x,), out, backward, (x,), keep_out=True)


@with_out
def frobenius_norm(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Square root of the sum of squares."""
    return vector_norm(input, 2, dim, keepdim)


@with_out
def norm(input: Tensor, p: Any = "fro", dim: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """Vector norm over `dim` (all elements if None): p a number, inf, -inf or 'fro'.

    **Raises** RuntimeError for integers and for the nuclear norm, which needs a singular value decomposition
    (linalg.matrix_norm).
    """
    check_tensor("norm", input=input)
    if p == "nuc":
        raise NotImplementedError("norm: p: got 'nuc', wanted a number, inf, -inf or 'fro'")
    return vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


@with_out
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """p-norm of input - other."""
    check_tensor("dist", input=input, other=other)
    return vector_norm(input - other, p)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim`."""
    check_tensor("cosine_similarity", x1=x1, x2=x2)
    common = dtypes.promote(x1.dtype, x2.dtype)
    if common.category != dtypes.FLOAT:
        raise RuntimeError(
            f"cosine_similarity: expected common dtype to be floating point, yet common dtype is "
            f"{common.name.capitalize()}"
        )
    shape = broadcast("cosine_similarity", x1._layout.shape, x2._layout.shape)
    x1, x2 = cast(x1, common).expand(shape), cast(x2, common).expand(shape)
    n1, n2 = vector_norm(x1, 2, dim, True), vector_norm(x2, 2, dim, True)
    with no_grad():  # at the bound the norm counts as a constant
        low1, low2 = n1.detach().clamp(min=eps), n2.detach().clamp(min=eps)
    n1, n2 = n1.where(n1 >= eps, low1), n2.where(n2 >= eps, low2)
    return ((x1 / n1) * (x2 / n2)).sum(dim)


# ---- softmax and its relatives


@with_out
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log of the sum of exponentials over `dim`, shifted by the maximum so that nothing overflows."""
    check_tensor("logsumexp", input=input)
    if not input.is_floating_point():
        input = cast(input, dtypes.get_default_dtype())
    dims = wrap_dims("logsumexp", dim, input.dim())
    if _count(input, dims) == 0:
        return input.exp().sum(dims, keepdim).log()
    with no_grad():
        high = reduce(records.PEAK, input, dims, True)
        high = high.masked_fill(high.abs() == math.inf, 0.0)
        out = reduce(records.SUM, (input - high).exp(), dims, True).log() + high
    full = _kept(input.shape, dims)
    if not keepdim and input.dim():
        out = out.reshape(tuple(n for d, n in enumerate(input.shape) if d not in dims))
    return give_backward(
        "LogsumexpBackward0",
        (input,),
        out,
        lambda g, x, out: (x - out.reshape(full)).exp() * g.reshape(full),
        (input,),
        keep_out=True,
    )


def _softmax_operand(op: str, input: Tensor, dim: int, dtype: DType | None) -> tuple[Tensor, int]:
    check_tensor(op, input=input)
    if dtype is not None:
        input = cast(input, dtype)
    if not input.is_floating_point():
        raise RuntimeError(f'"{op}" not implemented for {input.dtype.name.capitalize()!r}')
    return input, wrap_dim(op, dim, input.dim())


@with_out
def softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """exp(x - max) / sum of it along `dim`; backward (g - sum(g y)) y.

    **Shape** as input. **Dtypes** floats.
    """
    x, at = _softmax_operand("softmax", input, dim, dtype)
    if not x.dim():
        return softmax(x.reshape(1), 0).reshape(())
    if x.numel() == 0:
        out = x.detach().clone()
    else:
        row = ((at,), True)
        wide = cast(x.detach(), dtypes.float32) if x.dtype.itemsize < 4 else x
        e = run(SHIFTED_EXP, (wide, run(records.PEAK, (wide,), row)))
        out = cast(run(MUL, (e, run(RECIPROCAL, (run(records.SUM, (e,), row),)))), x.dtype)
    return give_backward("SoftmaxBackward0", (x,), out, lambda g, y: (g - (g * y).sum(at, True)) * y, keep_out=True)


@with_out
def log_softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """x - max - log(sum(exp(x - max))) along `dim`; backward g - exp(y) sum(g).

    **Shape** as input. **Dtypes** floats.
    """
    x, at = _softmax_operand("log_softmax", input, dim, dtype)
    if not x.dim():
        return log_softmax(x.reshape(1), 0).reshape(())
    if x.numel() == 0:
        out = x.detach().clone()
    else:
        row = ((at,), True)
        wide = cast(x.detach(), dtypes.float32) if x.dtype.itemsize < 4 else x
        top = run(records.PEAK, (wide,), row)
        total = run(records.SUM, (run(SHIFTED_EXP, (wide, top)),), row)
        out = cast(run(SUB, (run(SUB, (wide, top)), run(LOG, (total,)))), x.dtype)
    return give_backward("LogSoftmaxBackward0", (x,), out, lambda g, y: g - y.exp() * g.sum(at, True), keep_out=True)


# ---- order statistics, by sorting


def _sorted(op: str, input: Tensor, dim: int) -> tuple[Tensor, Tensor, int]:
    at = wrap_dim(op, dim, input.dim())
    with no_grad():
        row = input.detach().reshape(1) if not input.dim() else input.detach()
        values, indices = row.sort(dim=at, stable=True)
    return values, indices, at


def _pick(op: str, kind: Any, input: Tensor, dim: int, keepdim: bool, k: int | Tensor) -> Any:
    """The k-th smallest along `dim`; `k` an int, or per row a tensor of shape with that dim 1."""
    values, indices, at = _sorted(op, input, dim)
    with no_grad():
        if isinstance(k, int):
            value, index = values.narrow(at, k, 1), indices.narrow(at, k, 1)
        else:
            value, index = values.gather(at, k), indices.gather(at, k)
        if not input.dim():
            value, index = value.reshape(()), index.reshape(())
        elif not keepdim:
            value, index = value.squeeze(at), index.squeeze(at)
        value, index = value.clone(), index.clone()
    return kind(select_values(f"{op.capitalize()}Backward0", input, value, index, at, keepdim), index)


@with_out
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the k-th smallest element along `dim`, k from 1."""
    check_tensor("kthvalue", input=input)
    n = input.shape[wrap_dim("kthvalue", dim, input.dim())] if input.dim() else 1
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}: got {k}, wanted 1 to {n}")
    return _pick("kthvalue", KthResult, input, dim, keepdim, k - 1)


def _median(op: str, kind: Any, input: Tensor, dim: int | None, keepdim: bool, ignore: bool) -> Any:
    check_tensor(op, input=input)
    if dim is None:
        if input.numel() == 0:
            return input.new_full((), math.nan if input.is_floating_point() else 0)
        return _median(op, kind, input.reshape(-1), 0, False, ignore)[0]
    at = wrap_dim(op, dim, input.dim())
    n = input.shape[at] if input.dim() else 1
    if n == 0:
        raise IndexError(f"{op}(): Expected reduction dim {at} to have non-zero size.")
    k: Any = (n - 1) // 2
    if input.is_floating_point():
        with no_grad():
            nans = input.detach().isnan().reshape(input.shape or (1,)).sum(at, True)
            k = (n - 1 - nans).clamp(min=0) // 2 if ignore else (nans > 0) * (n - 1 - k) + k  # NaN sorts last
    return _pick(op, kind, input, at, keepdim, k)


@with_out
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Lower median: of all elements, or (values, indices) along `dim`; NaN wins."""
    return _median("median", MedianResult, input, dim, keepdim, False)


@with_out
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Lower median of the elements that are not NaN."""
    return _median("nanmedian", NanMedianResult, input, dim, keepdim, True)


@with_out
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """(values, indices) of the most frequent value along `dim`, the smallest of equally frequent ones; the last of
    its positions.
    """
    check_tensor("mode", input=input)
    values, indices, at = _sorted("mode", input, dim)
    with no_grad():
        n = values.shape[at]
        same = values.unsqueeze(at) == values.unsqueeze(at + 1)  # (…, n, n, …)
        counts = same.sum(at)
        best = counts.argmax(at, True)
        value = values.gather(at, best)
        row = input.detach().reshape(1) if not input.dim() else input.detach()
        last = n - 1 - (row.flip(at) == value).to(dtypes.uint8).argmax(at, True)
        del indices
        if not input.dim():
            value, last = value.reshape(()), last.reshape(())
        elif not keepdim:
            value, last = value.squeeze(at), last.squeeze(at)
        value, last = value.clone(), last.clone()
    return ModeResult(select_values("ModeBackward0", input, value, last, at, keepdim), last)


_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    op: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignore: bool
) -> Tensor:
    check_tensor(op, input=input)
    if not input.is_floating_point() or input.dtype.itemsize < 4:
        raise RuntimeError(f"{op}() input tensor must be either float or double dtype")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{op}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if isinstance(q, Tensor) and q.dtype is not input.dtype:
        raise RuntimeError(f"{op}() q tensor must be same dtype as the input tensor")
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{op}() q must be in the range [0, 1] but got {q}")
        q = input.new_full((), float(q))
    if q.dim() > 1:
        raise RuntimeError(f"{op}() q must be a scalar or 1D tensor")
    rank, out_shape = input.dim(), list(input.shape)
    if dim is None:
        x, at = input.reshape(-1), 0
        out_shape = [1] * rank if keepdim else []
    else:
        at = wrap_dim(op, dim, rank)
        x = input if rank else input.reshape(1)
        if rank:
            out_shape[at : at + 1] = [1] if keepdim else []
    n = x.shape[at]
    if n == 0:
        raise RuntimeError(f"{op}() input tensor must be non-empty")
    rows, _ = x.movedim(at, -1).sort(dim=-1)  # (…, n)
    if ignore:
        last = (n - 1 - rows.isnan().sum(-1, True)).clamp(min=0)
        ranks = q.reshape(-1) * last.to(x.dtype)
    else:
        ranks = (q.reshape(-1) * (n - 1)).expand(*rows.shape[:-1], q.numel())
        ranks = ranks.masked_fill(rows.isnan().any(-1, True), n - 1)
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = ranks.round()
    below = ranks.floor().to(dtypes.int64)
    found = rows.gather(-1, below)
    if interpolation in ("linear", "midpoint"):
        weight = ranks - ranks.floor() if interpolation == "linear" else rows.new_full((), 0.5).expand(ranks.shape)
        found = found.lerp(rows.gather(-1, ranks.ceil().to(dtypes.int64)), weight)
    found = found.movedim(-1, 0)  # (q, …)
    return found.reshape([*q.shape, *out_shape])


@with_out
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """Values below which a share `q` of the elements lies; NaN wins."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@with_out
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """`quantile` of the elements that are not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


METHODS = (
    "sum",
    "mean",
    "prod",
    "amax",
    "amin",
    "aminmax",
    "max",
    "min",
    "argmax",
    "argmin",
    "any",
    "all",
    "var",
    "std",
    "norm",
    "logsumexp",
    "softmax",
    "log_softmax",
    "nansum",
    "nanmean",
    "count_nonzero",
    "median",
    "nanmedian",
    "dist",
    "mode",
    "kthvalue",
    "quantile",
    "nanquantile",
)
