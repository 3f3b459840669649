"""Reductions and normalizations that leave masked-out elements out: `torch.masked`.

Floor 6, above functions. A mask is True where an element counts and broadcasts to the input; masked-out elements are
replaced by the identity of the operation in the input's dtype, so each function is a composite that fuses, and its
gradient is 0 there. There is no MaskedTensor class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import dtypes
from . import functions as _f
from .dispatch import cast
from .dtypes import FLOAT, DType
from .tensor import Tensor

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean", "median",
    "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip

Dims = int | Sequence[int] | None
_all: dict[str, Any] = _f.FUNCTIONS


def __getattr__(name: str) -> Any:
    if name in ("MaskedTensor", "as_masked_tensor", "masked_tensor", "is_masked_tensor"):
        raise NotImplementedError(f"masked.{name}: cltorch has no MaskedTensor; give the functions of masked a mask=")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _dims(dim: Dims, rank: int) -> tuple[int, ...]:
    """`dim` counted from the front, in order; None and () are all dims."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return tuple(range(rank))
    found: list[int] = []
    limit = max(rank, 1)
    for d in (dim,) if isinstance(dim, int) else dim:
        if d in found:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        if not -limit <= d < limit:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {d})"
            )
        found.append(d % limit)
    return tuple(sorted(found))


def _mask(input: Tensor, mask: Tensor) -> Tensor:
    """`mask` as bools of the input's shape."""
    if mask.dim() > input.dim():
        raise IndexError("_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)")
    return cast(mask if mask.shape == input.shape else mask.broadcast_to(input.shape), dtypes.bool_)


def _extreme(dtype: DType, largest: bool, operation: str) -> float | int:
    if dtype.category == FLOAT:
        return math.inf if largest else -math.inf
    if dtype is dtypes.bool_:
        raise NotImplementedError(f"identity of {operation} on {dtype} input")
    limits = np.iinfo(dtype.numpy)
    return int(limits.max if largest else limits.min)


def _filled(input: Tensor, mask: Tensor | None, value: Any) -> Tensor:
    """`input`, with `value` where the mask is False."""
    return input if mask is None else _all["where"](_mask(input, mask), input, value)


def _lowest(operation: str, input: Tensor, mask: Tensor | None, largest: bool = False) -> Tensor:
    """`input` with the identity of maxima (or, if `largest`, of minima) where the mask is False."""
    return input if mask is None else _filled(input, mask, _extreme(input.dtype, largest, operation))


def _summed(input: Tensor, dtype: DType | None) -> DType:
    if dtype is not None:
        return dtype
    return input.dtype if input.dtype.category == FLOAT else dtypes.int64


# ---- reductions


def sum(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Sum of the elements that count; of integers and bools in int64."""
    filled = _filled(input, mask, False if input.dtype is dtypes.bool_ else 0)
    return _all["sum"](filled, _dims(dim, input.dim()), bool(keepdim), dtype=_summed(input, dtype))


def prod(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Product of the elements that count; of integers and bools in int64."""
    found = cast(_filled(input, mask, True if input.dtype is dtypes.bool_ else 1), _summed(input, dtype))
    for d in reversed(_dims(dim, input.dim())):
        found = _all["prod"](found, d, bool(keepdim))
    return found


def amax(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Maximum of the elements that count; the least value of the dtype where none does."""
    found = _all["amax"](_lowest("amax", input, mask), _dims(dim, input.dim()), bool(keepdim))
    return cast(found, dtype or input.dtype)


def amin(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Minimum of the elements that count; the greatest value of the dtype where none does."""
    found = _all["amin"](_lowest("amin", input, mask, True), _dims(dim, input.dim()), bool(keepdim))
    return cast(found, dtype or input.dtype)


def argmax(
    input: Tensor, dim: int | None = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Position of the maximum of the elements that count, in the input's dtype (as in PyTorch) or `dtype`."""
    return cast(_all["argmax"](_lowest("argmax", input, mask), dim, bool(keepdim)), dtype or input.dtype)


def argmin(
    input: Tensor, dim: int | None = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Position of the minimum of the elements that count, in the input's dtype (as in PyTorch) or `dtype`."""
    return cast(_all["argmin"](_lowest("argmin", input, mask, True), dim, bool(keepdim)), dtype or input.dtype)


def _counted(input: Tensor, dim: Dims, keepdim: bool, mask: Tensor | None) -> Any:
    """How many elements count: a number without a mask."""
    if mask is None:
        return math.prod(input.shape[d] for d in _dims(dim, input.dim())) if input.dim() else 1
    return _all["sum"](_mask(input, mask), _dims(dim, input.dim()), keepdim)


def mean(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Mean of the elements that count, NaN where none does. **Raises** ValueError for integers."""
    if (dtype or input.dtype).category != FLOAT:
        raise ValueError(
            f"mean(): Could not infer output dtype. {'Input' if dtype is None else 'Optional'} dtype must be either a "
            f"floating point or complex dtype. Got: {dtype or input.dtype}"
        )
    total = sum(input, dim, keepdim=keepdim, dtype=dtype, mask=mask)
    return total / _counted(input, dim, bool(keepdim), mask)


def median(
    input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """Lower median along `dim` of the elements that count and are not NaN; NaN where there are none, which integers
    cannot show: ValueError.
    """
    floats = input.dtype.category == FLOAT
    given = input if floats else cast(input, dtypes.float32)
    found = _all["nanmedian"](_filled(given, mask, math.nan), _dims(dim, input.dim())[0], keepdim)[0]
    if floats:
        return found
    if bool(found.isnan().any()):
        raise ValueError("masked median expects no fully masked out rows if dtype is not floating point")
    return cast(found, dtype or input.dtype)


def norm(
    input: Tensor, ord: float | None = 2.0, dim: Dims = None, *, keepdim: bool | None = False,
    dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The vector norm of order `ord` of the elements that count."""
    order = 2.0 if ord is None else ord
    filled = _filled(input, mask, math.inf if order == -math.inf else 0)
    return _all["vector_norm"](filled, order, _dims(dim, input.dim()), bool(keepdim), dtype=dtype or input.dtype)


def logsumexp(
    input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """log of the sum of exp of the elements that count."""
    found = _all["logsumexp"](_lowest("logsumexp", input, mask), _dims(dim, input.dim()), keepdim)
    return cast(found, dtype or input.dtype)


def logaddexp(
    input: Tensor, other: Tensor, *, dtype: DType | None = None, input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """log(exp(input) + exp(other)), each with its own mask."""
    a, b = _lowest("logaddexp", input, input_mask), _lowest("logaddexp", other, other_mask)
    return cast(_all["logaddexp"](a, b), dtype or input.dtype)


def _variance(
    input: Tensor, dim: Dims, unbiased: bool | None, correction: float | None, keepdim: bool, dtype: DType | None,
    mask: Tensor | None,
) -> Tensor:  # fmt: skip
    if unbiased is not None and correction is not None:
        raise AssertionError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 1.0 if unbiased is None or unbiased else 0.0
    if dtype is None:
        dtype = input.dtype if input.dtype.category == FLOAT else dtypes.float32
    computing = dtype if dtype.category == FLOAT else dtypes.float32
    middle = sum(input, dim, keepdim=True, dtype=dtype, mask=mask) / _counted(input, dim, True, mask)
    away = input - middle
    total = sum(away * away, dim, keepdim=keepdim, dtype=computing, mask=mask)
    count = _counted(input, dim, keepdim, mask)
    if mask is None:
        found = total / max(count - correction, 0)
    elif correction != 0:
        found = total / (cast(count, computing) - correction).clamp(min=0)
    else:
        found = total / count
    return cast(found, dtype)


def var(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
    keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Variance of the elements that count: squared distances from their mean over (their number - correction)."""
    return _variance(input, dim, unbiased, correction, bool(keepdim), dtype, mask)


def std(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
    keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Square root of the variance of the elements that count."""
    return _variance(input, dim, unbiased, correction, bool(keepdim), dtype, mask).sqrt()


# ---- along one dim, shape kept


def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """Running sum along `dim` of the elements that count."""
    kind = dtype or input.dtype
    return cast(_all["cumsum"](_filled(input, mask, 0), _dims(dim, input.dim())[0], dtype=kind), kind)


def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """Running product along `dim` of the elements that count."""
    kind = dtype or input.dtype
    return cast(_all["cumprod"](_filled(input, mask, 1), _dims(dim, input.dim())[0], dtype=kind), kind)


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """Softmax along `dim` of the elements that count, 0 elsewhere; NaN in a row where none does."""
    filled = _lowest("amax", input, mask)
    return _all["softmax"](filled, _dims(dim, input.dim())[0], dtype=dtype or input.dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """log of softmax along `dim` of the elements that count."""
    filled = _lowest("amax", input, mask)
    return _all["log_softmax"](filled, _dims(dim, input.dim())[0], dtype=dtype or input.dtype)


def softmin(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """Softmax of -input along `dim` of the elements that count."""
    filled = _lowest("amin", input, mask, True)
    return _all["softmax"](-filled, _dims(dim, input.dim())[0], dtype=dtype or input.dtype)


def normalize(
    input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """Elements that count over max(their norm along `dim`, eps); 0 elsewhere."""
    size = norm(input, ord, dim, keepdim=True, dtype=dtype or input.dtype, mask=mask)
    return _filled(input, mask, 0) / _all["maximum"](size, size.new_full((), eps))
